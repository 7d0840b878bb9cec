use serde::de::DeserializeOwned;

use super::*;

fn hello() -> Event {
    Event::Hello(Hello {
        version: VERSION,
        name: "brave-otter".into(),
        state: State::Running,
        agent: Agent::Absent,
        consoles: vec![ConsoleId::Hvc(0), ConsoleId::Serial],
    })
}

fn events() -> Vec<Event> {
    vec![
        hello(),
        Event::Reply { tag: Tag(7), reply: Reply::Failed { message: "no".into() } },
        Event::State(State::Stopped(StopReason::PowerOff { code: 3 })),
        Event::Console { console: ConsoleId::Hvc(0), bytes: vec![0, 255, 27] },
        Event::ExecOutput { exec: ExecId(1), stream: Stream::Stderr, bytes: vec![1; 300] },
        Event::ExecExit { exec: ExecId(1), code: 137 },
    ]
}

fn requests() -> Vec<Request> {
    let spec = ExecSpec {
        argv: vec!["uname".into(), "-m".into()],
        env: vec![("TERM".into(), "xterm".into())],
        tty: Some(Size { columns: 80, rows: 24 }),
        stdin: Stdin::Stream,
    };
    [
        Command::Attach { console: ConsoleId::Serial },
        Command::Exec { exec: ExecId(9), spec },
        Command::Power(Power::Shutdown),
        Command::Save { after: AfterSave::Stop },
        Command::SetTime { unix_ns: None },
    ]
    .into_iter()
    .enumerate()
    .map(|(tag, command)| Request { tag: Tag(tag as u32), command })
    .collect()
}

/// Decodes `messages` from a stream cut into pieces of `piece` bytes.
fn check<T>(messages: &[T], piece: usize)
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut stream = Vec::new();
    for message in messages {
        encode(message, &mut stream).unwrap();
    }
    let (mut decoder, mut seen) = (Decoder::new(), Vec::<T>::new());
    for bytes in stream.chunks(piece) {
        decoder.extend(bytes);
        while let Some(message) = decoder.next_message().unwrap() {
            seen.push(message);
        }
    }
    assert_eq!(seen, messages, "in pieces of {piece} bytes");
}

#[test]
fn messages_survive_any_cutting() {
    for piece in [1, 2, 3, 5, 64, 100_000] {
        check(&events(), piece);
        check(&requests(), piece);
    }
}

#[test]
fn the_version_of_a_hello_is_where_every_version_finds_it() {
    let mut frame = Vec::new();
    encode(&hello(), &mut frame).unwrap();
    // Variant 0, then the version as a variable-length integer.
    assert_eq!(&frame[4..6], &[0, VERSION as u8]);
}

#[test]
fn limits_hold_in_both_directions() {
    let long = Event::Notice { message: "x".repeat(FRAME_BYTES_MAX) };
    let mut out = vec![1, 2];
    assert!(matches!(encode(&long, &mut out), Err(CodecError::TooLong { .. })));
    assert_eq!(out, [1, 2]);

    let mut decoder = Decoder::new();
    decoder.extend(&(FRAME_BYTES_MAX as u32 + 1).to_be_bytes());
    assert!(matches!(decoder.next_message::<Event>(), Err(CodecError::TooLong { .. })));
}

#[test]
fn leftovers_in_a_frame_are_an_error() {
    let mut body = postcard::to_stdvec(&hello()).unwrap();
    body.push(0);
    assert!(matches!(decode::<Event>(&body), Err(CodecError::Trailing { bytes: 1 })));
}

/// Whatever arrives, decoding ends with messages or an error and holds no more than it was given.
#[test]
fn hostile_bytes_never_panic() {
    let mut good = Vec::new();
    for request in requests() {
        encode(&request, &mut good).unwrap();
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut errors = 0;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..=random() % 4 {
            let at = (random() % bytes.len() as u64) as usize;
            bytes[at] = random() as u8;
        }
        bytes.truncate((random() % (good.len() as u64 + 1)) as usize);
        let mut decoder = Decoder::new();
        decoder.extend(&bytes);
        loop {
            match decoder.next_message::<Request>() {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => {
                    errors += 1;
                    break;
                }
            }
        }
        assert!(decoder.bytes.len() <= bytes.len());
    }
    assert!(errors > 100, "the damage was not noticed: {errors}");
}
