use super::*;

fn room() -> Room {
    Room::new(Names { run: "r1".into(), machine: "m".into(), image: "Debian 13".into() })
}

fn attached(room: &Room) -> mpsc::Receiver<MachineCommand> {
    let (commands, receiver) = mpsc::channel(8);
    room.attach(commands);
    receiver
}

/// The bytes of one screen among `frames`.
fn output(frames: &[Frame], screen: Screen) -> Vec<u8> {
    let mut bytes = Vec::new();
    for frame in frames {
        match frame {
            Frame::Output(frame) if usize::from(frame[0]) == screen.index() => {
                bytes.extend_from_slice(&frame[crate::protocol::OUTPUT_HEADER_BYTES..]);
            }
            _ => {}
        }
    }
    bytes
}

fn sizes(frames: &[Frame]) -> Vec<(u16, u16, bool)> {
    let size = |frame: &Frame| match frame {
        Frame::Message(ServerMessage::Size { columns, rows, yours }) => {
            Some((*columns, *rows, *yours))
        }
        _ => None,
    };
    frames.iter().filter_map(size).collect()
}

const SMALL: Size = Size { columns: 80, rows: 24 };
const LARGE: Size = Size { columns: 132, rows: 43 };

#[test]
fn everybody_is_told_the_same_output_whenever_they_come() {
    let room = room();
    let _machine = attached(&room);
    let mut early = room.join(None, [0, 0]).unwrap();
    room.push_output(Screen::Terminal, b"one ");
    let mut seen = output(&early.next_frames(), Screen::Terminal);
    room.push_output(Screen::Terminal, b"two");
    let mut late = room.join(None, [0, 0]).unwrap();
    seen.extend(output(&early.next_frames(), Screen::Terminal));
    assert_eq!(seen, b"one two");
    assert_eq!(output(&late.next_frames(), Screen::Terminal), b"one two");
    assert_eq!(late.next_frames(), []);
}

#[test]
fn who_comes_back_gets_only_what_it_missed() {
    let room = room();
    room.push_output(Screen::Terminal, b"before, after");
    let mut back = room.join(Some("r1"), [8, 0]).unwrap();
    assert_eq!(output(&back.next_frames(), Screen::Terminal), b"after");
    let mut stranger = room.join(Some("r0"), [8, 0]).unwrap();
    assert_eq!(output(&stranger.next_frames(), Screen::Terminal), b"before, after");
}

#[tokio::test]
async fn the_size_is_of_whoever_typed_last() {
    let room = room();
    let mut machine = attached(&room);
    let mut first = room.join(None, [0, 0]).unwrap();
    let mut second = room.join(None, [0, 0]).unwrap();
    first.wish(LARGE).await;
    second.wish(SMALL).await;
    assert_eq!(sizes(&first.next_frames()), [(132, 43, true)]);
    assert_eq!(sizes(&second.next_frames()), [(132, 43, false)]);
    assert_eq!(machine.recv().await, Some(MachineCommand::Resize(LARGE)));

    second.type_bytes(Screen::Terminal, b"x").await;
    assert_eq!(machine.recv().await, Some(MachineCommand::Resize(SMALL)));
    let typed = MachineCommand::Input { screen: Screen::Terminal, bytes: b"x".to_vec() };
    assert_eq!(machine.recv().await, Some(typed));
    assert_eq!(sizes(&first.next_frames()), [(80, 24, false)]);
    assert_eq!(sizes(&second.next_frames()), [(80, 24, true)]);

    // When the driver leaves, the next one to say a size has it.
    drop(second);
    first.wish(LARGE).await;
    assert_eq!(sizes(&first.next_frames()), [(132, 43, true)]);
}

#[tokio::test]
async fn sizes_have_limits() {
    let room = room();
    let mut viewer = room.join(None, [0, 0]).unwrap();
    viewer.wish(Size { columns: 0, rows: u16::MAX }).await;
    assert_eq!(sizes(&viewer.next_frames()), [(2, 1000, true)]);
}

#[test]
fn a_page_that_draws_nothing_is_sent_a_window_and_no_more() {
    let room = room();
    let mut viewer = room.join(None, [0, 0]).unwrap();
    let mut sent = 0;
    for _ in 0..100 {
        room.push_output(Screen::Terminal, &[b'x'; OUTPUT_BYTES_MAX]);
        sent += output(&viewer.next_frames(), Screen::Terminal).len() as u64;
    }
    assert_eq!(sent, WINDOW_BYTES);
    // When it has caught up it meets a gap and goes on with what is kept.
    viewer.acknowledge(Screen::Terminal, u64::MAX);
    let frames = viewer.next_frames();
    assert_eq!(frames[0], Frame::Message(ServerMessage::Gap { screen: Screen::Terminal }));
    assert!(!output(&frames, Screen::Terminal).is_empty());
}

#[test]
fn only_the_latest_status_is_sent() {
    let room = room();
    let mut viewer = room.join(None, [0, 0]).unwrap();
    viewer.next_frames();
    for done_bytes in 0..50 {
        let progress =
            Progress { phase: "p".into(), done_bytes, total_bytes: None, message: "".into() };
        room.set_status(Status::Preparing(progress));
    }
    let frames = viewer.next_frames();
    assert!(
        matches!(&frames[..], [Frame::Message(ServerMessage::Progress { done_bytes: 49, .. })]),
        "{frames:?}"
    );
}

#[test]
fn a_room_has_a_last_seat() {
    let room = room();
    let viewers: Vec<_> = (0..VIEWERS_MAX).map(|_| room.join(None, [0, 0]).unwrap()).collect();
    assert!(room.join(None, [0, 0]).is_none());
    drop(viewers);
    assert!(room.join(None, [0, 0]).is_some());
}
