//! A connection to a lab for a session: events come and commands go without either waiting for the
//! other. Commands that need no session use [`stackvm_host::client`], which blocks.

use std::io;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use stackvm_host::protocol::{self, Command, Decoder, Event, Hello, Request, Tag};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::failure::failure;

/// Events that wait for the session; beyond that the lab waits.
const EVENTS_MAX: usize = 64;
/// Commands that wait for the lab; beyond that the session stops reading what is typed.
const COMMANDS_MAX: usize = 64;

/// A connection to a lab.
pub(crate) struct Link {
    /// What the lab said first.
    pub(crate) hello: Hello,
    /// What it says; ends when the lab does.
    pub(crate) events: mpsc::Receiver<Event>,
    /// What is said to it.
    pub(crate) commands: Commands,
}

/// The way to the lab.
pub(crate) struct Commands {
    queue: mpsc::Sender<Request>,
}

/// The lab's side of a [`Link`] within one process.
pub(crate) struct Peer {
    /// Where its events go.
    pub(crate) events: mpsc::Sender<Event>,
    /// Where its requests come from.
    pub(crate) requests: mpsc::Receiver<Request>,
}

impl Link {
    /// A connection to a lab in this process, which has said `hello`.
    pub(crate) fn inside(hello: Hello) -> (Link, Peer) {
        let (event_sender, events) = mpsc::channel(EVENTS_MAX);
        let (queue, requests) = mpsc::channel(COMMANDS_MAX);
        let link = Link { hello, events, commands: Commands { queue } };
        (link, Peer { events: event_sender, requests })
    }

    /// Connects to the lab at `socket`.
    pub(crate) async fn connect(socket: &Path) -> Result<Link> {
        let stream = UnixStream::connect(socket).await.with_context(|| {
            format!("could not reach the machine's lab at {}", socket.display())
        })?;
        let (read, write) = stream.into_split();
        let (event_sender, mut events) = mpsc::channel(EVENTS_MAX);
        let (queue, requests) = mpsc::channel(COMMANDS_MAX);
        tokio::spawn(receive(read, event_sender));
        tokio::spawn(send(write, requests));
        match events.recv().await {
            Some(Event::Hello(hello)) if hello.version == protocol::VERSION => {
                Ok(Link { hello, events, commands: Commands { queue } })
            }
            Some(Event::Hello(hello)) => Err(failure(
                format!("machine {} was started by another version of stackvm", hello.name),
                "stop it with that version",
            )),
            _ => Err(anyhow!("the machine's lab ended before it said anything")),
        }
    }
}

impl Commands {
    /// Waits for room, which does no harm when it is given up; `None` when the lab is gone.
    pub(crate) async fn room(&self) -> Option<mpsc::Permit<'_, Message>> {
        self.queue.reserve().await.ok()
    }
}

/// What is sent.
pub(crate) type Message = Request;

/// A message.
pub(crate) fn message(tag: u32, command: Command) -> Message {
    Request { tag: Tag(tag), command }
}

async fn receive(mut stream: OwnedReadHalf, events: mpsc::Sender<Event>) {
    let mut decoder = Decoder::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => count,
        };
        decoder.extend(&buffer[..count]);
        loop {
            match decoder.next_message() {
                Ok(Some(event)) => {
                    if events.send(event).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                // The lab is of another version or damaged; its hello is all that is understood.
                Err(_) => return,
            }
        }
    }
}

async fn send(mut stream: OwnedWriteHalf, mut requests: mpsc::Receiver<Request>) -> io::Result<()> {
    let mut frame = Vec::new();
    while let Some(request) = requests.recv().await {
        frame.clear();
        protocol::encode(&request, &mut frame).map_err(io::Error::other)?;
        stream.write_all(&frame).await?;
    }
    Ok(())
}
