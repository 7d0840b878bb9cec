use super::*;

/// Every message of the fixture is understood and written back exactly as it stands there.
fn check<T: Serialize + serde::de::DeserializeOwned>(messages: &serde_json::Value) -> usize {
    let messages = messages.as_array().expect("a list of messages");
    for message in messages {
        let parsed: T = serde_json::from_value(message.clone())
            .unwrap_or_else(|error| panic!("{message}: {error}"));
        assert_eq!(&serde_json::to_value(&parsed).unwrap(), message);
    }
    messages.len()
}

#[test]
fn the_fixture_shared_with_the_page_is_this_protocol() {
    let fixture: serde_json::Value =
        serde_json::from_str(include_str!("../../../../web/tests/protocol.json")).unwrap();
    assert_eq!(fixture["version"], VERSION);
    assert_eq!(fixture["client_message_bytes_max"], CLIENT_MESSAGE_BYTES_MAX);
    assert!(check::<ServerMessage>(&fixture["server"]) >= 15);
    assert!(check::<ClientMessage>(&fixture["client"]) >= 15);
    let frame = output_frame(1, 0x0102_0304_0506_0708, b"hi");
    assert_eq!(fixture["output_frame"], serde_json::json!(frame));
    let frame = picture_frame(0, 7, (80, 24), b"hi");
    assert_eq!(fixture["picture_frame"], serde_json::json!(frame));
    let input: Vec<u8> = serde_json::from_value(fixture["input_frame"].clone()).unwrap();
    let keys = Keys { console: 0, number: InputNumber(258), bytes: b"ls\r" };
    assert_eq!(parse_keys(&input), Some(keys));
}

#[test]
fn frames_without_keys_or_number_are_refused() {
    for frame in [&[][..], &[0][..], &[0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 12][..]] {
        assert_eq!(parse_keys(frame), None, "{frame:?}");
    }
}

#[test]
fn modes_of_the_keyboard_are_written_in_one_way() {
    for mode in [KeyboardMode::Auto, KeyboardMode::Open, KeyboardMode::Passed] {
        assert_eq!(serde_json::to_value(mode).unwrap(), mode.name());
        assert_eq!(KeyboardMode::named(mode.name()), Some(mode));
    }
    assert_eq!(KeyboardMode::named(""), None);
}
