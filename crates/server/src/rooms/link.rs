//! The line to one lab: its control protocol, without blocking.
//!
//! Owns the connection, the tags of requests and who waits for which answer. What an event means is
//! the room's.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stackvm_host::protocol::{
    self as lab, CodecError, Command, DATA_BYTES_MAX, Decoder, Event, Reply, Request, Tag,
};
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::console::Past;
use super::room::Room;
use crate::protocol::{ConsoleIndex, InputNumber, PersonId};

/// Longest path that fits into a socket's address.
const ADDRESS_BYTES_MAX: usize = 107;
/// The tag of requests that are answered only when they fail, and then to nobody.
const NOBODY: Tag = Tag(0);

/// Why there is no line to a lab, or no more.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// The socket cannot be used.
    #[error("cannot talk to the machine's process: {0}")]
    Io(#[from] io::Error),
    /// It says something else.
    #[error("the machine's process is not understood: {0}")]
    Codec(#[from] CodecError),
    /// It is of another version.
    #[error("the machine was started by another version of this program")]
    Version,
    /// It breaks the protocol's limits: the guest may have taken its process over.
    #[error("the machine's process sent {0}")]
    Breach(&'static str),
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Waiter {
    /// A terminal's output, which follows.
    Attached(ConsoleIndex),
    /// Pages that want a picture.
    Picture(ConsoleIndex, Past),
    /// The small picture of the first terminal.
    Text,
    /// A page whose key it was.
    Key { person: PersonId, epoch: u64, number: InputNumber },
    /// Somebody who waits.
    Caller(oneshot::Sender<Reply>),
}

/// The room's end of the line. What it queues is bounded by who asks: a page has so many keys on
/// the way, a terminal one attachment and one picture per kind of right, callers wait.
#[derive(Debug)]
pub(super) struct Link {
    requests: mpsc::UnboundedSender<Request>,
    last_tag: u32,
    waiting: BTreeMap<u32, Waiter>,
}

impl Link {
    fn new(requests: mpsc::UnboundedSender<Request>) -> Link {
        Link { requests, last_tag: NOBODY.0, waiting: BTreeMap::new() }
    }

    /// Asks for something whose answer somebody waits for.
    pub(super) fn ask(&mut self, command: Command, waiter: Waiter) {
        loop {
            self.last_tag = self.last_tag.wrapping_add(1);
            if self.last_tag != NOBODY.0 && !self.waiting.contains_key(&self.last_tag) {
                break;
            }
        }
        self.waiting.insert(self.last_tag, waiter);
        self.send(Tag(self.last_tag), command);
    }

    /// Says something that has no answer that matters.
    pub(super) fn tell(&self, command: Command) {
        self.send(NOBODY, command);
    }

    /// Who waits for the answer with this tag.
    pub(super) fn answered(&mut self, tag: Tag) -> Option<Waiter> {
        self.waiting.remove(&tag.0)
    }

    /// How many callers wait.
    pub(super) fn callers(&self) -> usize {
        self.waiting.values().filter(|waiter| matches!(waiter, Waiter::Caller(_))).count()
    }

    fn send(&self, tag: Tag, command: Command) {
        // An error means that the line has just ended; its end tells everybody who waits.
        let _ = self.requests.send(Request { tag, command });
    }
}

/// Carries what the lab at `socket` says into the room, until it ends.
///
/// # Errors
/// See [`LinkError`]; the end of the lab's process is none.
pub(super) async fn follow(socket: &Path, room: &Arc<Room>) -> Result<(), LinkError> {
    let (read, write) = connect(socket).await?.into_split();
    let mut events = Events { read, decoder: Decoder::new(), buffer: vec![0; DATA_BYTES_MAX] };
    let hello = match events.next().await {
        Ok(Some(Event::Hello(hello))) if hello.version == lab::VERSION => hello,
        Ok(None) => return Ok(()),
        Err(LinkError::Io(error)) => return Err(error.into()),
        // Whatever follows the version may be anything in another version.
        _ => return Err(LinkError::Version),
    };
    let (requests, to_send) = mpsc::unbounded_channel();
    room.linked(&hello, Link::new(requests));
    let result = tokio::select! {
        result = receive(&mut events, room) => result,
        result = send(to_send, write) => result,
    };
    room.unlinked();
    result
}

async fn receive(events: &mut Events, room: &Arc<Room>) -> Result<(), LinkError> {
    while let Some(event) = events.next().await? {
        room.lab_event(event)?;
    }
    Ok(())
}

async fn send(
    mut requests: mpsc::UnboundedReceiver<Request>,
    mut write: OwnedWriteHalf,
) -> Result<(), LinkError> {
    let mut frames = Vec::new();
    while let Some(request) = requests.recv().await {
        frames.clear();
        lab::encode(&request, &mut frames)?;
        write.write_all(&frames).await?;
    }
    Ok(())
}

struct Events {
    read: OwnedReadHalf,
    decoder: Decoder,
    buffer: Vec<u8>,
}

impl Events {
    /// The next event, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Event>, LinkError> {
        loop {
            if let Some(event) = self.decoder.next_message()? {
                return Ok(Some(event));
            }
            match self.read.read(&mut self.buffer).await? {
                0 => return Ok(None),
                count => self.decoder.extend(&self.buffer[..count]),
            }
        }
    }
}

/// Connects to a socket, however long its path is.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= ADDRESS_BYTES_MAX {
        return UnixStream::connect(path).await;
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = File::open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
    UnixStream::connect(short).await
}
