use std::path::PathBuf;

use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::*;

/// The lab's end of a connection, played by a test.
struct FakeLab {
    stream: UnixStream,
    decoder: Decoder,
}

impl FakeLab {
    async fn request(&mut self) -> Request {
        let mut buffer = [0; 4096];
        loop {
            if let Some(request) = self.decoder.next_message().unwrap() {
                return request;
            }
            let count = self.stream.read(&mut buffer).await.unwrap();
            assert!(count > 0, "the server hung up");
            self.decoder.extend(&buffer[..count]);
        }
    }

    async fn say(&mut self, event: &Event) {
        let mut frame = Vec::new();
        lab::encode(event, &mut frame).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }
}

/// A lab that says `hello`, and its socket.
fn lab_saying(hello: Hello) -> (TempDir, PathBuf, JoinHandle<FakeLab>) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("control.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let lab = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut lab = FakeLab { stream, decoder: Decoder::new() };
        lab.say(&Event::Hello(hello)).await;
        lab
    });
    (folder, path, lab)
}

fn hello(consoles: Vec<ConsoleId>) -> Hello {
    let (state, agent) = (State::Running, Agent::Absent);
    Hello { version: lab::VERSION, name: "m".into(), state, agent, consoles }
}

const SHELL: ConsoleId = ConsoleId::Hvc(0);

#[tokio::test]
async fn a_labs_words_become_the_rooms() {
    let (_folder, path, lab) = lab_saying(hello(vec![SHELL, ConsoleId::Serial]));
    let mut link = connect(&path).await.unwrap();
    let mut lab = lab.await.unwrap();
    let (terminal, log) = (lab.request().await, lab.request().await);
    assert_eq!(terminal.command, Command::Attach { console: SHELL });
    assert_eq!(log.command, Command::Attach { console: ConsoleId::Serial });

    let attached = |request: &Request, bytes: &[u8]| Event::Reply {
        tag: request.tag,
        reply: Reply::Attached {
            picture: lab::Picture {
                size: lab::Size { columns: 80, rows: 24 },
                history: Vec::new(),
                screen: bytes.to_vec(),
                instant_ticks: 0,
            },
            size: None,
        },
    };
    let output = |screen, bytes: &[u8]| MachineEvent::Output { screen, bytes: bytes.to_vec() };
    let console = |console, bytes: &[u8]| Event::Console { console, bytes: bytes.to_vec() };
    let power_off = State::Stopped(StopReason::PowerOff { code: 0 });
    let said = [
        attached(&log, b"kernel"),
        attached(&terminal, b""),
        console(ConsoleId::Hvc(1), b"nobody's"),
        console(SHELL, b"# "),
        Event::ConsoleLost { console: SHELL, bytes: 3 },
        Event::Agent(Agent::Up),
        Event::State(State::Stalled { reason: "disk full".into() }),
        Event::State(power_off),
    ];
    for event in &said {
        lab.say(event).await;
    }
    drop(lab);
    let mut heard = Vec::new();
    while let Some(event) = link.events.recv().await {
        heard.push(event);
    }
    let expected = [
        MachineEvent::Paused(None),
        output(Screen::Log, b"kernel"),
        output(Screen::Terminal, b"# "),
        MachineEvent::OutputLost { screen: Screen::Terminal },
        MachineEvent::Up,
        MachineEvent::Paused(Some("disk full".into())),
        MachineEvent::Stopped { reason: "the guest switched it off".into() },
    ];
    assert_eq!(heard, expected);
}

#[tokio::test]
async fn what_people_do_reaches_the_lab() {
    // Without a virtio terminal the serial line is the one to show.
    let (_folder, path, lab) = lab_saying(hello(vec![ConsoleId::Serial]));
    let mut link = connect(&path).await.unwrap();
    let mut lab = lab.await.unwrap();
    assert_eq!(lab.request().await.command, Command::Attach { console: ConsoleId::Serial });

    let (console, bytes) = (ConsoleId::Serial, b"ls\r".to_vec());
    let input = MachineCommand::Input { screen: Screen::Terminal, bytes: bytes.clone() };
    let resize = MachineCommand::Resize(Size { columns: 80, rows: 24 });
    for command in [input, resize, MachineCommand::Shutdown] {
        link.commands.send(command).await.unwrap();
    }
    assert_eq!(lab.request().await.command, Command::Type { console, bytes });
    let size = lab::Size { columns: 80, rows: 24 };
    assert_eq!(lab.request().await.command, Command::Resize { console, size });
    let shutdown = lab.request().await;
    assert_eq!(shutdown.command, Command::Power(Power::Shutdown));

    let reply = Reply::Failed { message: "no agent".into() };
    lab.say(&Event::Reply { tag: shutdown.tag, reply }).await;
    assert_eq!(link.events.recv().await, Some(MachineEvent::Paused(None)));
    let notice = "It cannot be asked to switch off: no agent".to_owned();
    assert_eq!(link.events.recv().await, Some(MachineEvent::Notice(notice)));
}

#[tokio::test]
async fn a_lab_of_another_version_is_refused() {
    let other = Hello { version: lab::VERSION + 1, ..hello(vec![SHELL]) };
    let (_folder, path, _lab) = lab_saying(other);
    assert!(matches!(connect(&path).await, Err(LinkError::Version)));
}
