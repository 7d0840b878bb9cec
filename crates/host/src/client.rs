//! A blocking client of a lab's control socket, for the command line and tests.
//!
//! Asynchronous users take the socket of [`open`] and use [`protocol::encode`] and
//! [`protocol::Decoder`].

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;

use crate::protocol::{self, CodecError, Command, Decoder, Event, Hello, Reply, Request, Tag};

/// What can go wrong between a client and a lab.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens at the socket.
    #[error("machine is not running (no lab at {})", path.display())]
    NotRunning {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be used.
    #[error("could not talk to the machine's lab")]
    Io(#[from] io::Error),
    /// The lab closed the connection.
    #[error("the machine's lab has ended")]
    Closed,
    /// The lab sent something else than messages.
    #[error("the machine's lab sent what this program does not understand")]
    Codec(#[from] CodecError),
    /// The lab is of another version of this program.
    #[error(
        "the machine was started by another version of this program \
         (its protocol is {theirs}, this one's is {}); stop it with that version",
        protocol::VERSION
    )]
    Version {
        /// The lab's.
        theirs: u16,
    },
    /// The lab did not do it.
    #[error("{0}")]
    Refused(String),
}

/// Opens a lab's control socket, for those who speak the protocol themselves. Unlike the system's
/// call it takes paths of any length.
///
/// # Errors
/// [`ClientError::NotRunning`] when nobody listens, or the socket's.
pub fn open(path: &Path) -> Result<UnixStream, ClientError> {
    crate::socket::connect(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ClientError::NotRunning { path: path.to_owned() }
        }
        _ => ClientError::Io(error),
    })
}

/// A connection to a lab.
#[derive(Debug)]
pub struct Connection {
    sender: Sender,
    receiver: Receiver,
    hello: Hello,
}

/// The half that sends requests.
#[derive(Debug)]
pub struct Sender {
    stream: UnixStream,
    tag: Tag,
}

/// The half that receives events.
#[derive(Debug)]
pub struct Receiver {
    stream: UnixStream,
    decoder: Decoder,
    /// Events that [`Connection::call`] passed over.
    passed: VecDeque<Event>,
}

impl Connection {
    /// Connects and reads the lab's hello.
    ///
    /// # Errors
    /// [`ClientError::NotRunning`] when nobody listens, [`ClientError::Version`], or the socket's.
    pub fn connect(socket: &Path) -> Result<Connection, ClientError> {
        Connection::over(open(socket)?)
    }

    /// Takes a connected socket and reads the lab's hello.
    ///
    /// # Errors
    /// As [`Connection::connect`].
    pub fn over(stream: UnixStream) -> Result<Connection, ClientError> {
        let sender = Sender { stream: stream.try_clone()?, tag: Tag(0) };
        let mut receiver = Receiver { stream, decoder: Decoder::new(), passed: VecDeque::new() };
        let hello = match receiver.recv()? {
            Event::Hello(hello) if hello.version == protocol::VERSION => hello,
            Event::Hello(hello) => return Err(ClientError::Version { theirs: hello.version }),
            _ => return Err(ClientError::Closed),
        };
        Ok(Connection { sender, receiver, hello })
    }

    /// What the lab said first.
    pub fn hello(&self) -> &Hello {
        &self.hello
    }

    /// Sends a command without waiting; returns the tag its reply will have.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, command: Command) -> Result<Tag, ClientError> {
        self.sender.send(command)
    }

    /// The next event; blocks.
    ///
    /// # Errors
    /// [`ClientError::Closed`] at the end, or the socket's.
    pub fn recv(&mut self) -> Result<Event, ClientError> {
        self.receiver.recv()
    }

    /// The next event, or `None` when `timeout` passes without one.
    ///
    /// # Errors
    /// As [`Connection::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        self.receiver.recv_timeout(timeout)
    }

    /// Sends a command that has a reply and waits for it. Events in between are kept for
    /// [`Connection::recv`].
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the lab's message, or as [`Connection::recv`].
    pub fn call(&mut self, command: Command) -> Result<Reply, ClientError> {
        let tag = self.send(command)?;
        let mut passed = VecDeque::new();
        let reply = loop {
            match self.receiver.recv() {
                Ok(Event::Reply { tag: seen, reply }) if seen == tag => break Ok(reply),
                Ok(event) => passed.push_back(event),
                Err(error) => break Err(error),
            }
        };
        passed.append(&mut self.receiver.passed);
        self.receiver.passed = passed;
        match reply? {
            Reply::Failed { message } => Err(ClientError::Refused(message)),
            reply => Ok(reply),
        }
    }

    /// Two halves that can be used by two threads.
    pub fn split(self) -> (Sender, Receiver) {
        (self.sender, self.receiver)
    }
}

impl AsFd for Connection {
    /// For poll(2). Before polling, [`Connection::recv_timeout`] with zero must have said `None`:
    /// events may already have been read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }
}

impl Sender {
    /// Sends a command; returns the tag its reply will have.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, command: Command) -> Result<Tag, ClientError> {
        self.tag = Tag(self.tag.0.wrapping_add(1));
        let mut frame = Vec::new();
        protocol::encode(&Request { tag: self.tag, command }, &mut frame)?;
        self.stream.write_all(&frame).map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => ClientError::Closed,
            _ => ClientError::Io(error),
        })?;
        Ok(self.tag)
    }
}

impl Receiver {
    /// The next event; blocks.
    ///
    /// # Errors
    /// [`ClientError::Closed`] at the end, or the socket's.
    pub fn recv(&mut self) -> Result<Event, ClientError> {
        loop {
            if let Some(event) = self.ready()? {
                return Ok(event);
            }
            self.fill()?;
        }
    }

    /// The next event, or `None` when `timeout` passes without one.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        let end = std::time::Instant::now() + timeout;
        loop {
            if let Some(event) = self.ready()? {
                return Ok(Some(event));
            }
            let left = end.saturating_duration_since(std::time::Instant::now());
            let left = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&self.stream, PollFlags::IN)];
            match poll(&mut fds, Some(&left)) {
                Ok(0) => return Ok(None),
                Ok(_) => self.fill()?,
                Err(rustix::io::Errno::INTR) => return Ok(None),
                Err(error) => return Err(ClientError::Io(error.into())),
            }
        }
    }

    fn ready(&mut self) -> Result<Option<Event>, ClientError> {
        match self.passed.pop_front() {
            Some(event) => Ok(Some(event)),
            None => Ok(self.decoder.next_message()?),
        }
    }

    fn fill(&mut self) -> Result<(), ClientError> {
        let mut buffer = [0; 64 << 10];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ClientError::Closed),
            Ok(count) => {
                self.decoder.extend(&buffer[..count]);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(ClientError::Closed)
            }
            Err(error) => Err(ClientError::Io(error)),
        }
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
