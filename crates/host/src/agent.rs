//! The host's side of the QEMU guest agent protocol: one session over one port.
//!
//! Bytes and virtual time come in, bytes and events come out; nothing here does I/O. The protocol
//! is QEMU's `docs/interop/qemu-ga-ref` and `qga/qapi-schema.json`: JSON objects, one per line, one
//! command at a time. A session begins with `guest-sync-delimited`, whose answer follows a 0xFF
//! byte, so that remains of an earlier session are told apart. A session may begin in the middle of
//! another one's exchange ([`Beginning`]): whatever the agent still says to that one is dropped.
//! What is asked of the agent, and when, is the business of `guest`; the commands are in
//! [`commands`].

use std::collections::VecDeque;

use serde_json::{Value, json};
use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;
use thiserror::Error;

pub mod commands;

/// Longest line from an agent, in bytes.
pub const LINE_BYTES_MAX: usize = 1 << 20;
/// Most commands that wait for their turn.
pub const WAITING_MAX: usize = 64;
/// Most attempts at beginning a session before the agent counts as deaf.
pub const SYNCS_MAX: u32 = 6;
/// Virtual time for the first attempt, in nanoseconds; each next one has twice as long.
pub const SYNC_NS: u64 = 5_000_000_000;

/// Marks the beginning of the answer to `guest-sync-delimited`.
const DELIMITER: u8 = 0xff;

/// How a session begins. Sessions of different beginnings never take each other's answers, also
/// when they begin at the same instant of the same machine's life.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Beginning {
    /// The guest opened its end of the port.
    Opened,
    /// The machine was restored, or goes on as another one, with the port open.
    Restored,
    /// As [`Beginning::Restored`], in a branch that nobody keeps.
    ThrowAway,
}

impl Beginning {
    /// Part of the ids of its syncs; leaves room for the number of the attempt.
    const fn sync_bits(self) -> u64 {
        match self {
            Beginning::Opened => 0,
            Beginning::Restored => 0x40,
            Beginning::ThrowAway => 0x80,
        }
    }
}

/// A command that was given to an [`Agent`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct CallId(u64);

/// A command for the agent.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Its name, such as `guest-exec`.
    pub name: &'static str,
    /// Its arguments: an object.
    pub arguments: Value,
    /// How it is answered.
    pub answer: Answer,
    /// How long the answer may take, in nanoseconds of virtual time.
    pub timeout_ns: u64,
}

/// How the agent answers a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Answer {
    /// Always.
    Always,
    /// Only when it fails (`"success-response": false` in the schema); silence is success.
    OnlyErrors,
}

/// What happened.
#[derive(Debug)]
pub enum AgentEvent {
    /// A session has begun: commands work.
    Up,
    /// The session is over.
    Down,
    /// A command was answered, or will not be.
    Answered {
        /// Which.
        call: CallId,
        /// The `return` member.
        result: Result<Value, AgentError>,
    },
}

/// Why a command of the agent did not work.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum AgentError {
    /// There is no agent at the port.
    #[error("the guest has no agent running")]
    Absent,
    /// The agent went away with the command.
    #[error("the guest's agent went away")]
    Gone,
    /// The agent said that it failed.
    #[error("the guest's agent refused {command}: {description} ({class})")]
    Refused {
        /// The command.
        command: &'static str,
        /// The agent's class of error.
        class: String,
        /// The agent's text.
        description: String,
    },
    /// No answer in time.
    #[error("the guest's agent did not answer {command} within {timeout_ns} ns of its time")]
    Timeout {
        /// The command.
        command: &'static str,
        /// The time it had.
        timeout_ns: u64,
    },
    /// An answer that the schema does not allow.
    #[error("the guest's agent answered {command} with {answer}")]
    Malformed {
        /// The command.
        command: &'static str,
        /// The beginning of the answer.
        answer: String,
    },
    /// Too many commands wait.
    #[error("{WAITING_MAX} commands already wait for the guest's agent")]
    Busy,
}

#[derive(Debug)]
enum Link {
    /// The guest's end of the port is closed.
    Closed,
    /// Waiting for the answer to `guest-sync-delimited` number `id`.
    Syncing { id: u64, attempt: u32, deadline: Instant, delimited: bool },
    /// The port is open, but all attempts went unanswered.
    Deaf,
    /// Commands work.
    Up,
}

#[derive(Debug)]
struct Current {
    id: CallId,
    call: Call,
    deadline: Instant,
}

/// A session with an agent.
#[derive(Debug)]
pub struct Agent {
    link: Link,
    beginning: Beginning,
    /// The line that is coming in is for another session.
    stray: bool,
    waiting: VecDeque<(CallId, Call)>,
    current: Option<Current>,
    line: Vec<u8>,
    outgoing: Vec<u8>,
    events: VecDeque<AgentEvent>,
    calls: u64,
}

impl Default for Agent {
    fn default() -> Self {
        Agent::new()
    }
}

impl Agent {
    /// One whose port the guest has not opened.
    pub fn new() -> Agent {
        Agent {
            link: Link::Closed,
            beginning: Beginning::Opened,
            stray: false,
            waiting: VecDeque::new(),
            current: None,
            line: Vec::new(),
            outgoing: Vec::new(),
            events: VecDeque::new(),
            calls: 0,
        }
    }

    /// Whether a session has begun.
    pub fn is_up(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    /// Whether the port is open but nobody answers there.
    pub fn is_deaf(&self) -> bool {
        matches!(self.link, Link::Deaf)
    }

    /// The guest's end of the port is open: begins a session.
    pub fn opened(&mut self, beginning: Beginning, now: Instant) {
        self.beginning = beginning;
        // What was asked before the guest was up has waited for this moment.
        if !matches!(self.link, Link::Closed) {
            self.closed();
        }
        self.sync(now, 0);
    }

    /// The guest closed its end of the port: everything that was asked is lost.
    pub fn closed(&mut self) {
        let up = self.is_up();
        self.link = Link::Closed;
        self.line.clear();
        self.outgoing.clear();
        self.fail_all(&AgentError::Gone);
        if up {
            self.events.push_back(AgentEvent::Down);
        }
    }

    /// Goes on with a session that was frozen with nothing asked and nothing said.
    pub(crate) fn go_on(&mut self) {
        self.link = Link::Up;
    }

    /// Gives the agent a command. Before a session has begun it waits.
    ///
    /// # Errors
    /// [`AgentError::Busy`]; [`AgentError::Absent`] when the agent has been found deaf.
    pub fn call(&mut self, call: Call, now: Instant) -> Result<CallId, AgentError> {
        if self.waiting.len() >= WAITING_MAX {
            return Err(AgentError::Busy);
        }
        if matches!(self.link, Link::Deaf) {
            return Err(AgentError::Absent);
        }
        self.calls += 1;
        let id = CallId(self.calls);
        self.waiting.push_back((id, call));
        self.start_next(now);
        Ok(id)
    }

    /// Bytes that the agent wrote.
    pub fn received(&mut self, bytes: &[u8], now: Instant) {
        for &byte in bytes {
            match &mut self.link {
                Link::Closed | Link::Deaf => return,
                Link::Syncing { delimited, .. } if byte == DELIMITER => {
                    *delimited = true;
                    self.line.clear();
                }
                Link::Syncing { delimited: false, .. } => {}
                // Nothing that JSON has: the answer to a sync that nobody awaits any more.
                Link::Up if byte == DELIMITER => {
                    self.stray = true;
                    self.line.clear();
                }
                Link::Up if self.stray => self.stray = byte != b'\n',
                Link::Syncing { .. } | Link::Up => match byte {
                    b'\n' => self.line_ended(now),
                    _ if self.line.len() >= LINE_BYTES_MAX => self.lost_track(now),
                    _ => self.line.push(byte),
                },
            }
        }
    }

    /// When [`Agent::expire`] must be called; `None` while nothing is awaited.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.link {
            Link::Syncing { deadline, .. } => Some(*deadline),
            Link::Up => self.current.as_ref().map(|current| current.deadline),
            Link::Closed | Link::Deaf => None,
        }
    }

    /// Acts on what is overdue at `now`.
    pub fn expire(&mut self, now: Instant) {
        if self.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match (&self.link, self.current.take()) {
            (Link::Syncing { attempt, .. }, _) => self.sync(now, attempt + 1),
            (Link::Up, Some(Current { id, call, .. })) => match call.answer {
                Answer::OnlyErrors => {
                    self.answered(id, Ok(Value::Null));
                    self.start_next(now);
                }
                Answer::Always => {
                    let (command, timeout_ns) = (call.name, call.timeout_ns);
                    self.answered(id, Err(AgentError::Timeout { command, timeout_ns }));
                    // Its answer may still come; a new session tells it apart from the next one's.
                    self.sync(now, 0);
                }
            },
            _ => {}
        }
    }

    /// Takes the bytes to be written to the port.
    pub fn take_outgoing(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.outgoing)
    }

    /// Takes the next event.
    pub fn next_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    fn sync(&mut self, now: Instant, attempt: u32) {
        if self.is_up() {
            self.events.push_back(AgentEvent::Down);
        }
        self.line.clear();
        self.stray = false;
        if attempt >= SYNCS_MAX {
            self.link = Link::Deaf;
            self.fail_all(&AgentError::Absent);
            return;
        }
        // Different in every session and attempt, also after the machine was restored.
        let low = self.beginning.sync_bits() | u64::from(attempt);
        let id = (now.ticks() & 0xffff_ffff) << 8 | low;
        let deadline = now + Ticks::from_ns(SYNC_NS << attempt);
        self.link = Link::Syncing { id, attempt, deadline, delimited: false };
        // The delimiter also ends what the agent's parser may hold of an earlier line.
        self.outgoing.push(DELIMITER);
        let sync = json!({ "execute": "guest-sync-delimited", "arguments": { "id": id } });
        self.write_line(&sync);
    }

    fn lost_track(&mut self, now: Instant) {
        if let Some(Current { id, call, .. }) = self.current.take() {
            let answer = text_of(&self.line);
            let command = call.name;
            self.answered(id, Err(AgentError::Malformed { command, answer }));
        }
        match self.link {
            Link::Syncing { ref mut delimited, .. } => *delimited = false,
            _ => self.sync(now, 0),
        }
        self.line.clear();
    }

    fn line_ended(&mut self, now: Instant) {
        let line = std::mem::take(&mut self.line);
        let message = serde_json::from_slice::<Value>(&line).unwrap_or(Value::Null);
        if let Link::Syncing { id, delimited, .. } = &mut self.link {
            if message["return"].as_u64() == Some(*id) {
                self.link = Link::Up;
                self.events.push_back(AgentEvent::Up);
                self.start_next(now);
            } else {
                *delimited = false;
            }
            return;
        }
        // With nothing asked, whatever it says is of no interest.
        let Some(current) = self.current.take() else { return };
        let command = current.call.name;
        let error = &message["error"];
        if error.is_object() {
            let text = |member: &str| error[member].as_str().unwrap_or("unknown").to_owned();
            let (class, description) = (text("class"), text("desc"));
            self.answered(current.id, Err(AgentError::Refused { command, class, description }));
        } else if let Some(value) = message.get("return") {
            self.answered(current.id, Ok(value.clone()));
        } else {
            self.line = line;
            self.current = Some(current);
            self.lost_track(now);
            return;
        }
        self.start_next(now);
    }

    fn start_next(&mut self, now: Instant) {
        if !self.is_up() || self.current.is_some() {
            return;
        }
        let Some((id, call)) = self.waiting.pop_front() else { return };
        self.write_line(&json!({ "execute": call.name, "arguments": call.arguments }));
        let deadline = now + Ticks::from_ns(call.timeout_ns);
        self.current = Some(Current { id, call, deadline });
    }

    fn write_line(&mut self, message: &Value) {
        self.outgoing.extend_from_slice(message.to_string().as_bytes());
        self.outgoing.push(b'\n');
    }

    fn answered(&mut self, call: CallId, result: Result<Value, AgentError>) {
        self.events.push_back(AgentEvent::Answered { call, result });
    }

    fn fail_all(&mut self, error: &AgentError) {
        let current = self.current.take().map(|current| (current.id, current.call));
        for (id, call) in current.into_iter().chain(std::mem::take(&mut self.waiting)) {
            // A guest that switches off takes its agent with it: just what was asked.
            let silent = call.answer == Answer::OnlyErrors && *error == AgentError::Gone;
            let result = if silent { Ok(Value::Null) } else { Err(error.clone()) };
            self.answered(id, result);
        }
    }
}

/// The beginning of a line, for messages.
fn text_of(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned()
}

#[cfg(test)]
mod tests;
