//! The connections of a lab's clients: buffers and their limits.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;

use stackvm_machine::ConsoleId;

use crate::exec::ExecKey;
use crate::lab::Actor;
use crate::protocol::{self, Decoder, EXEC_CREDIT_BYTES, Event, ExecId, Reply, Request, Tag};

/// Most clients of one lab.
pub(super) const CLIENTS_MAX: usize = 64;
/// Bytes that may wait for a client before terminal output is dropped.
const CONSOLE_BUFFER_BYTES: usize = 1 << 20;
/// Bytes that may wait for a client with commands before the machine is held.
const EXEC_BUFFER_BYTES: usize = 1 << 20;
/// Bytes with which a client is given up: its requests make answers that it does not read.
const BUFFER_BYTES_MAX: usize = 32 << 20;
/// Requests of a client that may wait; of more, it is given up.
const HELD_MAX: usize = 1024;
/// Most bytes read from a client in one turn.
const READ_BYTES_MAX: usize = 256 << 10;

/// A client, unique in the life of a lab.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct ClientId(pub(super) u64);

/// A command that a client runs.
#[derive(Debug)]
pub(super) struct ClientExec {
    pub(super) key: ExecKey,
    /// Bytes of standard input that it may still send.
    pub(super) credit: usize,
}

/// A connected client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) stream: UnixStream,
    /// Who types on it.
    pub(super) actor: Actor,
    pub(super) attached: BTreeSet<ConsoleId>,
    pub(super) execs: BTreeMap<ExecId, ClientExec>,
    /// What it has asked for that must wait.
    pub(super) held: Vec<Request>,
    decoder: Decoder,
    outgoing: Vec<u8>,
    written: usize,
    lost: BTreeMap<ConsoleId, u64>,
    gone: bool,
}

impl Client {
    pub(super) fn new(id: ClientId, stream: UnixStream) -> io::Result<Client> {
        stream.set_nonblocking(true)?;
        Ok(Client {
            id,
            stream,
            actor: Actor::Named("someone".into()),
            attached: BTreeSet::new(),
            execs: BTreeMap::new(),
            held: Vec::new(),
            decoder: Decoder::new(),
            outgoing: Vec::new(),
            written: 0,
            lost: BTreeMap::new(),
            gone: false,
        })
    }

    /// Whether the connection is over, by either side.
    pub(super) fn is_gone(&self) -> bool {
        self.gone
    }

    /// Ends the connection.
    pub(super) fn give_up(&mut self) {
        self.gone = true;
    }

    /// Whether something waits to be sent.
    pub(super) fn is_waiting(&self) -> bool {
        self.waiting_bytes() > 0 && !self.gone
    }

    /// Whether output of its commands must not become more.
    pub(super) fn is_full(&self) -> bool {
        !self.gone && !self.execs.is_empty() && self.waiting_bytes() >= EXEC_BUFFER_BYTES
    }

    /// Queues an event.
    pub(super) fn send(&mut self, event: &Event) {
        if self.gone {
            return;
        }
        // Everything that makes events keeps to the protocol's limits.
        let sent = protocol::encode(event, &mut self.outgoing);
        if sent.is_err() || self.waiting_bytes() > BUFFER_BYTES_MAX {
            self.gone = true;
        }
    }

    /// Queues a reply.
    pub(super) fn reply(&mut self, tag: Tag, reply: Reply) {
        self.send(&Event::Reply { tag, reply });
    }

    /// Queues output of a terminal if the client is attached to it and keeps up.
    pub(super) fn send_console(&mut self, console: ConsoleId, event: &Event, bytes: usize) {
        if !self.attached.contains(&console) {
            return;
        }
        if self.waiting_bytes() >= CONSOLE_BUFFER_BYTES {
            *self.lost.entry(console).or_default() += bytes as u64;
            return;
        }
        self.tell_lost(console);
        self.send(event);
    }

    /// Says what was lost, before anything else is said of the terminal.
    pub(super) fn tell_lost(&mut self, console: ConsoleId) {
        if let Some(bytes) = self.lost.remove(&console) {
            self.send(&Event::ConsoleLost { console, bytes });
        }
    }

    /// Sends what the socket takes.
    pub(super) fn flush(&mut self) {
        while self.is_waiting() {
            match self.stream.write(&self.outgoing[self.written..]) {
                Ok(0) => self.gone = true,
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        // Sent bytes go away when they are the greater part, so each is moved at most once.
        if self.written * 2 >= self.outgoing.len() {
            self.outgoing.drain(..self.written);
            self.written = 0;
        }
    }

    /// Receives what has arrived.
    pub(super) fn receive(&mut self) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut buffer = [0; 64 << 10];
        let mut left = READ_BYTES_MAX;
        while left > 0 && !self.gone {
            match self.stream.read(&mut buffer) {
                Ok(0) => self.gone = true,
                Ok(count) => {
                    left = left.saturating_sub(count);
                    self.decoder.extend(&buffer[..count]);
                    self.decode(&mut requests);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.gone = true,
            }
        }
        requests
    }

    /// Keeps a request for later.
    pub(super) fn hold(&mut self, request: Request) {
        self.held.push(request);
        self.gone |= self.held.len() > HELD_MAX;
    }

    /// Notes a command as running for the client.
    pub(super) fn add_exec(&mut self, exec: ExecId, key: ExecKey) {
        self.execs.insert(exec, ClientExec { key, credit: EXEC_CREDIT_BYTES });
    }

    fn decode(&mut self, requests: &mut Vec<Request>) {
        loop {
            match self.decoder.next_message() {
                Ok(Some(request)) => requests.push(request),
                Ok(None) => return,
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
    }

    fn waiting_bytes(&self) -> usize {
        self.outgoing.len() - self.written
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Command;

    fn pair() -> (Client, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        (Client::new(ClientId(1), ours).unwrap(), theirs)
    }

    fn console_event(bytes: usize) -> Event {
        Event::Console { console: ConsoleId::Serial, bytes: vec![b'x'; bytes] }
    }

    /// Reads everything the client has queued.
    fn read_all(client: &mut Client, theirs: &UnixStream) -> Vec<Event> {
        theirs.set_nonblocking(true).unwrap();
        let (mut decoder, mut events) = (Decoder::new(), Vec::new());
        let mut buffer = vec![0; 1 << 20];
        loop {
            client.flush();
            match (&*theirs).read(&mut buffer) {
                Ok(0) => return events,
                Ok(count) => decoder.extend(&buffer[..count]),
                Err(_) if client.is_waiting() => {}
                Err(_) => return events,
            }
            while let Some(event) = decoder.next_message().unwrap() {
                events.push(event);
            }
        }
    }

    #[test]
    fn a_slow_reader_loses_terminal_output_and_learns_how_much() {
        let (mut client, theirs) = pair();
        let write = |client: &mut Client| {
            client.send_console(ConsoleId::Serial, &console_event(50_000), 50_000);
            client.flush();
        };
        write(&mut client);
        assert!(read_all(&mut client, &theirs).is_empty(), "it is not attached");
        client.attached.insert(ConsoleId::Serial);
        (0..100).for_each(|_| write(&mut client));
        assert!(!client.is_gone() && !client.is_full());
        let kept = read_all(&mut client, &theirs).len() as u64;
        assert!(kept > 10 && kept < 100, "{kept}");
        write(&mut client);
        let lost = Event::ConsoleLost { console: ConsoleId::Serial, bytes: (100 - kept) * 50_000 };
        assert_eq!(read_all(&mut client, &theirs), [lost, console_event(50_000)]);
    }

    #[test]
    fn output_of_commands_holds_the_machine_instead() {
        let (mut client, theirs) = pair();
        client.add_exec(ExecId(1), ExecKey(1));
        let mut sent = 0;
        while !client.is_full() {
            client.send(&console_event(50_000));
            client.flush();
            sent += 1;
            assert!(sent < 100);
        }
        assert_eq!(read_all(&mut client, &theirs).len(), sent);
        assert!(!client.is_full());
    }

    #[test]
    fn who_breaks_the_protocol_is_gone() {
        let check = |bytes: &[u8], requests: usize, gone: bool| {
            let (mut client, mut theirs) = pair();
            theirs.write_all(bytes).unwrap();
            assert_eq!(client.receive().len(), requests);
            assert_eq!(client.is_gone(), gone);
        };
        let mut good = Vec::new();
        protocol::encode(&Request { tag: Tag(1), command: Command::Info }, &mut good).unwrap();
        check(&good, 1, false);
        check(&good[..good.len() - 1], 0, false);
        check(&[&good[..], &[0xff; 8]].concat(), 1, true);
        let (mut client, theirs) = pair();
        drop(theirs);
        assert!(client.receive().is_empty() && client.is_gone());
    }
}
