//! The guest as seen through its agent: the session, the running commands, and the ports between.
//!
//! Outputs of the machine and requests of clients come in; inputs for the machine and events for
//! clients come out. Nothing here does I/O or knows the machine; virtual time is passed in. Whoever
//! owns a [`Guest`] calls [`Guest::advance`] after every run and puts [`Guest::take_inputs`] into
//! the machine.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use stackvm_machine::{ConsoleId, Input, Instant, Output, PortId};

use crate::agent::commands;
use crate::agent::{Agent, AgentError, AgentEvent, Beginning, Call, CallId};
use crate::exec::{self, AGENT_PORT, End, Exec, ExecError, ExecKey, Phase, SETS, Set, TERMINALS};
use crate::protocol::{ExecSpec, Size, Stream};

mod follow;
mod standby;

pub use standby::StandbySaved;

const SIGHUP: u8 = 1;

/// What happened.
#[derive(Debug, PartialEq, Eq)]
pub enum GuestEvent {
    /// Commands work from now on.
    Up,
    /// The agent went away.
    Down,
    /// A command runs.
    Started(ExecKey),
    /// A command could not be started.
    Failed {
        /// Which.
        key: ExecKey,
        /// Why.
        error: ExecError,
    },
    /// A command wrote something.
    Output {
        /// Which.
        key: ExecKey,
        /// Where to.
        stream: Stream,
        /// What.
        bytes: Vec<u8>,
    },
    /// Standard input went on its way.
    Credit {
        /// Of which command.
        key: ExecKey,
        /// How many bytes.
        bytes: usize,
    },
    /// A command ended.
    Exited {
        /// Which.
        key: ExecKey,
        /// Its exit code, or 128 + the signal that ended it.
        code: u8,
    },
    /// A running command can no longer be followed.
    Lost {
        /// Which.
        key: ExecKey,
        /// Why.
        error: AgentError,
    },
    /// A command of [`Guest::shutdown`] or [`Guest::set_time`] is done.
    Controlled {
        /// The number given with it.
        token: u64,
        /// Whether it worked.
        result: Result<(), AgentError>,
    },
}

/// What must be kept with a saved machine to go on talking with its guest.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct GuestSaved {
    /// Ports whose guest end is open.
    pub open: BTreeSet<PortId>,
}

#[derive(Debug)]
enum Purpose {
    Start(ExecKey),
    Status(ExecKey),
    Standby(Set),
    Signal,
    Control(u64),
}

/// A guest's agent and commands.
#[derive(Debug)]
pub struct Guest {
    agent: Agent,
    agent_port: Option<PortId>,
    sets: Vec<Set>,
    terminals: Vec<u8>,
    /// Sets that commands of an earlier session use.
    taken: Vec<Set>,
    open: BTreeSet<PortId>,
    execs: BTreeMap<ExecKey, Exec>,
    calls: BTreeMap<CallId, Purpose>,
    inputs: Vec<Input>,
    events: VecDeque<GuestEvent>,
    keys: u64,
    standby: Option<standby::Standby>,
    standby_answer: standby::Answer,
}

impl Guest {
    /// The guest of a machine with these port names and so many `hvcN`.
    pub fn new(ports: &[String], consoles: u8) -> Guest {
        let find = |name: &str| {
            let at = ports.iter().position(|port| port == name)?;
            u8::try_from(at).ok().map(PortId)
        };
        let set = |number: usize| {
            let port = |stream| find(&format!("org.stackvm.exec.{number}.{stream}"));
            Some(Set { number, input: port("in")?, output: port("out")?, error: port("err")? })
        };
        let mut guest = Guest {
            agent: Agent::new(),
            agent_port: find(AGENT_PORT),
            sets: (0..SETS).filter_map(set).collect(),
            terminals: TERMINALS.into_iter().filter(|terminal| *terminal < consoles).collect(),
            taken: Vec::new(),
            open: BTreeSet::new(),
            execs: BTreeMap::new(),
            calls: BTreeMap::new(),
            inputs: Vec::new(),
            events: VecDeque::new(),
            keys: 0,
            standby: None,
            standby_answer: standby::Answer::default(),
        };
        guest.open_ports();
        guest
    }

    /// Goes on with a restored machine, in the middle of whatever its guest was saying or doing for
    /// somebody else: commands of before run on, unheard, and their sets are left alone until they
    /// end.
    pub fn restore(&mut self, saved: GuestSaved, now: Instant) {
        self.join(saved, Beginning::Restored, now);
    }

    /// As [`Guest::restore`], with a session that begins in a way of its own.
    pub(crate) fn join(&mut self, saved: GuestSaved, beginning: Beginning, now: Instant) {
        self.open = saved.open;
        // A command that is just being started has not opened its streams yet. It has the first
        // set that was free, so new ones take the last.
        self.sets.sort_by_key(|set| std::cmp::Reverse(set.number));
        self.taken = self.sets.iter().copied().filter(|set| self.is_open(set)).collect();
        self.inputs.clear();
        self.open_ports();
        if self.agent_port.is_some_and(|port| self.open.contains(&port)) {
            self.agent.opened(beginning, now);
        }
    }

    /// What [`Guest::restore`] needs.
    pub fn save(&self) -> GuestSaved {
        GuestSaved { open: self.open.clone() }
    }

    /// The machine starts again: everything that ran in it is lost.
    pub fn reset(&mut self) {
        self.agent.closed();
        self.open.clear();
        self.taken.clear();
        self.inputs.clear();
        self.calls.clear();
        self.standby = None;
        while let Some(event) = self.agent.next_event() {
            if matches!(event, AgentEvent::Down) {
                self.events.push_back(GuestEvent::Down);
            }
        }
        for key in std::mem::take(&mut self.execs).into_keys() {
            self.events.push_back(GuestEvent::Lost { key, error: AgentError::Gone });
        }
        self.open_ports();
    }

    /// Whether commands work.
    pub fn is_up(&self) -> bool {
        self.agent.is_up()
    }

    /// Whether the machine has a port for an agent at all.
    pub fn has_agent_port(&self) -> bool {
        self.agent_port.is_some()
    }

    /// Whether a program in the guest has opened that port.
    pub fn has_agent_open(&self) -> bool {
        self.agent_port.is_some_and(|port| self.open.contains(&port))
    }

    /// Number of commands that run.
    pub fn execs(&self) -> usize {
        self.execs.len()
    }

    /// Runs a command. [`GuestEvent::Started`] or [`GuestEvent::Failed`] follows, then the rest.
    ///
    /// # Errors
    /// See [`ExecError`].
    pub fn exec(&mut self, spec: &ExecSpec, now: Instant) -> Result<ExecKey, ExecError> {
        exec::check(spec)?;
        if self.agent_port.is_none() || self.sets.is_empty() {
            return Err(ExecError::NoPorts);
        }
        if let Some(key) = self.exec_in_standby(spec, now) {
            return Ok(key);
        }
        let set = self.sets.iter().copied().find(|set| self.is_free(set));
        let set = set.ok_or(ExecError::AllSets)?;
        let terminal = match spec.tty {
            Some(_) => Some(self.free_terminal().ok_or(ExecError::AllTerminals)?),
            None => None,
        };
        let arguments = exec::shell_arguments(spec, &set, terminal);
        let call = self.agent.call(commands::exec("/bin/sh", &arguments), now)?;
        self.keys += 1;
        let key = ExecKey(self.keys);
        let mut exec = Exec::new(key, set, terminal, spec);
        exec.phase = Phase::Starting { call };
        self.execs.insert(key, exec);
        self.calls.insert(call, Purpose::Start(key));
        if let Some(size) = spec.tty {
            self.exec_resize(key, size);
        }
        Ok(key)
    }

    /// Standard input, or typing, for a command.
    pub fn exec_input(&mut self, key: ExecKey, bytes: Vec<u8>) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        if let Some(terminal) = exec.terminal {
            let bytes_count = bytes.len();
            self.inputs.push(Input::Console { console: ConsoleId::Hvc(terminal), bytes });
            self.events.push_back(GuestEvent::Credit { key, bytes: bytes_count });
        } else if exec.input == End::Closed {
            // Its reader is gone, as with a broken pipe; the sender must not wait for it.
            self.events.push_back(GuestEvent::Credit { key, bytes: bytes.len() });
        } else if !exec.stdin_ended {
            exec.stdin.extend(bytes);
        }
    }

    /// End of a command's standard input; on a terminal, as if Ctrl-D were typed.
    pub fn exec_eof(&mut self, key: ExecKey) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        exec.stdin_ended = true;
        if let Some(terminal) = exec.terminal {
            let console = ConsoleId::Hvc(terminal);
            self.inputs.push(Input::Console { console, bytes: vec![4] });
        }
    }

    /// New size of a command's terminal.
    pub fn exec_resize(&mut self, key: ExecKey, size: Size) {
        let Some(terminal) = self.execs.get(&key).and_then(|exec| exec.terminal) else { return };
        let (console, Size { columns, rows }) = (ConsoleId::Hvc(terminal), size);
        self.inputs.push(Input::Resize { console, columns, rows });
    }

    /// Sends a signal to a command and its children.
    ///
    /// # Errors
    /// As [`Agent::call`].
    pub fn exec_signal(
        &mut self,
        key: ExecKey,
        signal: u8,
        now: Instant,
    ) -> Result<(), AgentError> {
        let Some(exec) = self.execs.get(&key) else { return Ok(()) };
        let (Phase::Running { pid } | Phase::Asking { pid, .. }) = exec.phase else {
            return Ok(());
        };
        let arguments = exec::signal_arguments(pid, exec.terminal, signal);
        let call = self.agent.call(commands::exec("/bin/sh", &arguments), now)?;
        self.calls.insert(call, Purpose::Signal);
        Ok(())
    }

    /// Whoever ran a command is gone: end of file and a hang-up signal; its output goes nowhere.
    pub fn abandon(&mut self, key: ExecKey, now: Instant) {
        let Some(exec) = self.execs.get_mut(&key) else { return };
        exec.abandoned = true;
        exec.stdin.clear();
        exec.stdin_ended = true;
        // A full queue at the agent only means that the command is not told.
        let _ = self.exec_signal(key, SIGHUP, now);
    }

    /// Asks the guest to switch off; [`GuestEvent::Controlled`] follows.
    ///
    /// # Errors
    /// [`AgentError::Absent`] without waiting for an agent to come.
    pub fn shutdown(&mut self, token: u64, now: Instant) -> Result<(), AgentError> {
        self.control(commands::shutdown(), token, now)
    }

    /// Sets the guest's clock; [`GuestEvent::Controlled`] follows.
    ///
    /// # Errors
    /// [`AgentError::Absent`] without waiting for an agent to come.
    pub fn set_time(&mut self, unix_ns: u64, token: u64, now: Instant) -> Result<(), AgentError> {
        self.control(commands::set_time(unix_ns), token, now)
    }

    /// Takes what left the machine through a port or a command's terminal; gives back the rest.
    pub fn output(&mut self, output: Output, now: Instant) -> Option<Output> {
        match output {
            Output::Port { port, bytes } => self.port_bytes(port, bytes, now),
            Output::PortOpened { port } => {
                self.open.insert(port);
                if Some(port) == self.agent_port {
                    self.agent.opened(Beginning::Opened, now);
                } else {
                    self.stream_turned(port, End::Open, now);
                }
            }
            Output::PortClosed { port } => {
                self.open.remove(&port);
                if Some(port) == self.agent_port {
                    self.agent.closed();
                } else {
                    self.standby_closed(port);
                    self.stream_turned(port, End::Closed, now);
                    self.give_back_sets();
                }
            }
            Output::Console { console: ConsoleId::Hvc(number), bytes }
                if self.terminals.contains(&number) =>
            {
                let exec = self.execs.values().find(|exec| exec.terminal == Some(number));
                if let Some(Exec { key, abandoned: false, .. }) = exec {
                    let (key, stream) = (*key, Stream::Stdout);
                    self.events.push_back(GuestEvent::Output { key, stream, bytes });
                }
            }
            other => return Some(other),
        }
        None
    }

    /// When [`Guest::advance`] must be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let running = |exec: &&Exec| matches!(exec.phase, Phase::Running { .. });
        let up = self.is_up();
        let execs = self.execs.values().filter(|_| up).filter(running);
        let asks = execs.filter_map(|exec| exec.ask_at);
        asks.chain(self.agent.deadline()).min()
    }

    /// Does what is due: `room_bytes` is `Machine::port_room_bytes`.
    pub fn advance(&mut self, now: Instant, room_bytes: &dyn Fn(PortId) -> usize) {
        self.agent.expire(now);
        self.handle_agent(now);
        self.ask(now);
        self.push_stdin(room_bytes);
        let bytes = self.agent.take_outgoing();
        if let (Some(port), false) = (self.agent_port, bytes.is_empty()) {
            self.inputs.push(Input::Port { port, bytes });
        }
    }

    /// Takes what is to be put into the machine.
    pub fn take_inputs(&mut self) -> Vec<Input> {
        std::mem::take(&mut self.inputs)
    }

    /// Takes the next event.
    pub fn next_event(&mut self) -> Option<GuestEvent> {
        self.events.pop_front()
    }

    /// Our ends are open from the start: a guest that finds one closed reads end of file. One that
    /// a command of an earlier session reads stays as that session left it.
    fn open_ports(&mut self) {
        let sets = self.sets.iter().filter(|set| !self.taken.contains(set));
        let streams = sets.flat_map(|set| [set.input, set.output, set.error]);
        let ports: Vec<PortId> = self.agent_port.into_iter().chain(streams).collect();
        self.inputs.extend(ports.into_iter().map(|port| Input::PortOpen { port }));
    }

    /// Makes the sets ready whose commands of an earlier session have ended.
    fn give_back_sets(&mut self) {
        let (taken, ended) =
            self.taken.iter().copied().partition::<Vec<Set>, _>(|set| self.is_open(set));
        self.taken = taken;
        // Only our end of `in` is ever closed.
        self.inputs.extend(ended.iter().map(|set| Input::PortOpen { port: set.input }));
    }

    fn is_free(&self, set: &Set) -> bool {
        !self.execs.values().any(|exec| exec.set == *set) && !self.is_open(set)
    }

    /// Whether the guest has any of a set's ports open.
    fn is_open(&self, set: &Set) -> bool {
        [set.input, set.output, set.error].iter().any(|port| self.open.contains(port))
    }

    fn free_terminal(&self) -> Option<u8> {
        let used = |number: &u8| self.execs.values().any(|exec| exec.terminal == Some(*number));
        self.terminals.iter().copied().find(|number| !used(number))
    }

    fn control(&mut self, call: Call, token: u64, now: Instant) -> Result<(), AgentError> {
        if !self.is_up() {
            return Err(AgentError::Absent);
        }
        let call = self.agent.call(call, now)?;
        self.calls.insert(call, Purpose::Control(token));
        Ok(())
    }

    fn port_bytes(&mut self, port: PortId, bytes: Vec<u8>, now: Instant) {
        if Some(port) == self.agent_port {
            self.agent.received(&bytes, now);
            return;
        }
        if self.standby_said(port, &bytes) {
            return;
        }
        let owner = self.execs.values().find_map(|exec| match port {
            _ if exec.abandoned => None,
            _ if port == exec.set.output && exec.terminal.is_none() => {
                Some((exec.key, Stream::Stdout))
            }
            _ if port == exec.set.error => Some((exec.key, Stream::Stderr)),
            _ => None,
        });
        if let Some((key, stream)) = owner {
            self.events.push_back(GuestEvent::Output { key, stream, bytes });
        }
    }

    fn handle_agent(&mut self, now: Instant) {
        while let Some(event) = self.agent.next_event() {
            match event {
                AgentEvent::Up => self.events.push_back(GuestEvent::Up),
                AgentEvent::Down => self.events.push_back(GuestEvent::Down),
                AgentEvent::Answered { call, result } => {
                    if let Some(purpose) = self.calls.remove(&call) {
                        self.answered(purpose, result, now);
                    }
                }
            }
        }
    }

    fn answered(&mut self, purpose: Purpose, result: Result<Value, AgentError>, now: Instant) {
        match purpose {
            // The signal was for something that may have ended meanwhile: nothing to tell.
            Purpose::Signal => {}
            Purpose::Control(token) => {
                let result = result.map(drop);
                self.events.push_back(GuestEvent::Controlled { token, result });
            }
            Purpose::Start(key) => match result.and_then(|value| commands::exec_pid(&value)) {
                Ok(pid) => self.started(key, pid, now),
                Err(error) => {
                    self.release(key);
                    let error = error.into();
                    self.events.push_back(GuestEvent::Failed { key, error });
                }
            },
            Purpose::Standby(set) => {
                let pid = result.and_then(|value| commands::exec_pid(&value));
                self.standby_started(set, pid);
            }
            Purpose::Status(key) => {
                let status = result.and_then(|value| commands::exec_status_of(&value));
                self.status(key, status, now);
            }
        }
    }
}

#[cfg(test)]
mod tests;
