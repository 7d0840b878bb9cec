//! Throw-away branches: looking at the past with the guest's own programs.
//!
//! A [`Replay`] goes to an instant; a machine that shares its pages leaves it there and runs on, as
//! fast as the host can, in this process and unrecorded. What the recording put in later is not for
//! it. Commands run through the guest's agent, in the middle of whatever it was saying to the
//! recorded session, on ports of their own; then the machine is dropped. The recording, and the
//! replay, never notice.
//!
//! [`exec`] is one command at one instant, [`Past`] many at many instants, [`ThrowAway`] several in
//! one branch. [`changed`] finds when a file changed; [`disk`] reads files without any agent, from
//! the disks' file systems.

use std::io;
use std::sync::Arc;

use stackvm_machine::instant::Ticks;
use stackvm_machine::{Instant, Machine};
use stackvm_timeline::replay::{Boot, Departure, Replay, ReplayError};
use stackvm_timeline::{Position, Timeline};
use thiserror::Error;

use crate::agent::Beginning;
use crate::exec::ExecKey;
use crate::guest::{GuestEvent, GuestSaved};
use crate::lab::{ExecOutput, Lab, LabError, LabEvent};
use crate::protocol::{DATA_BYTES_MAX, ExecSpec, Stdin, Stream};

pub mod changed;
pub mod disk;

/// Virtual time that a branch's guest has for its agent to come up, unless it is said otherwise.
pub const WAIT: Ticks = Ticks::from_ns(30_000_000_000);
/// Virtual time that a command in a branch may take. Idle time is quick to pass, so that a command
/// that waits for ever ends in a moment.
pub const COMMAND: Ticks = Ticks::from_ns(24 * 3_600_000_000_000);
/// Virtual time that commands which the recorded session was just starting have to open their
/// ports; less when every hart waits before.
const SETTLE: Ticks = Ticks::from_ns(50_000_000);

/// Why the past does not answer.
#[derive(Debug, Error)]
pub enum PastError {
    /// The recording does not lead there.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// The machine has no port for an agent: it is of no image, or the guest is none of ours.
    #[error("this machine has no guest agent, so no command can be run in it")]
    NoAgent,
    /// The agent was not running, and did not come in time.
    #[error(
        "the guest's agent was not up within {} s of the machine's time after {from}: {state}",
        show_seconds(*waited)
    )]
    NotUp {
        /// The instant from which on it had time.
        from: Instant,
        /// How long.
        waited: Ticks,
        /// What it did instead.
        state: AgentState,
    },
    /// The machine was off, or switched itself off on the way.
    #[error("the machine is off at {at}")]
    Off {
        /// When it was found off.
        at: Instant,
    },
    /// The command could not run or be followed.
    #[error(transparent)]
    Lab(LabError),
    /// Its output could not be passed on.
    #[error("the command's output could not be written")]
    Sink(#[source] io::Error),
}

/// What an agent that is not up does instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AgentState {
    /// No program in the guest has opened its port.
    NotRunning,
    /// Something has, and says nothing.
    Silent,
}

impl std::fmt::Display for AgentState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            AgentState::NotRunning => "it is not running there (still booting, or without one)",
            AgentState::Silent => "it runs, but does not answer",
        })
    }
}

/// Runs a command at an instant of a recording, in a branch that is thrown away. `wait` is what the
/// guest's agent may take to be up, in virtual time ([`WAIT`]).
///
/// # Errors
/// See [`PastError`].
pub fn exec(
    replay: &mut Replay,
    at: Position,
    argv: &[&str],
    stdin: &[u8],
    wait: Ticks,
) -> Result<ExecOutput, PastError> {
    ThrowAway::leave(replay, at)?.exec(argv, stdin, wait)
}

/// A recording in which commands run, at any instants.
pub struct Past {
    replay: Replay,
    wait: Ticks,
}

impl Past {
    /// Of a timeline; the agent has [`WAIT`].
    ///
    /// # Errors
    /// [`PastError::Replay`].
    pub fn new(timeline: Arc<Timeline>) -> Result<Past, PastError> {
        Ok(Past { replay: Replay::new(timeline)?, wait: WAIT })
    }

    /// The same with another time for the agent to come up.
    #[must_use]
    pub fn with_wait(self, wait: Ticks) -> Past {
        Past { wait, ..self }
    }

    /// The replay that branches leave.
    pub fn replay(&mut self) -> &mut Replay {
        &mut self.replay
    }

    /// A branch at an instant.
    ///
    /// # Errors
    /// [`PastError::Replay`].
    pub fn leave(&mut self, at: Position) -> Result<ThrowAway, PastError> {
        ThrowAway::leave(&mut self.replay, at)
    }

    /// Runs a command in a branch of its own.
    ///
    /// # Errors
    /// See [`PastError`].
    pub fn exec(
        &mut self,
        at: Position,
        argv: &[&str],
        stdin: &[u8],
    ) -> Result<ExecOutput, PastError> {
        self.leave(at)?.exec(argv, stdin, self.wait)
    }
}

/// A branch that nobody keeps.
pub struct ThrowAway {
    lab: Lab,
    from: Instant,
}

impl ThrowAway {
    /// Leaves a recording.
    ///
    /// # Errors
    /// [`PastError::Replay`].
    pub fn leave(replay: &mut Replay, at: Position) -> Result<ThrowAway, PastError> {
        replay.seek(at)?;
        Ok(ThrowAway::new(replay.depart(Boot::Read)?))
    }

    /// With a machine that has left its recording.
    pub fn new(departure: Departure) -> ThrowAway {
        let Departure { machine, config, derived, .. } = departure;
        let from = machine.now();
        let mut lab = Lab::with_machine(machine, config);
        let saved = GuestSaved { open: derived.open_ports };
        lab.guest().join(saved, Beginning::ThrowAway, from);
        ThrowAway { lab, from }
    }

    /// The machine as it is now.
    pub fn machine(&self) -> &Machine {
        self.lab.machine()
    }

    /// Where it left its recording.
    pub fn from(&self) -> Instant {
        self.from
    }

    /// Lets the guest run until commands can run in it.
    ///
    /// # Errors
    /// See [`PastError`].
    pub fn up(&mut self, wait: Ticks) -> Result<(), PastError> {
        if self.lab.guest().is_up() {
            return Ok(());
        }
        if !self.lab.guest().has_agent_port() {
            return Err(PastError::NoAgent);
        }
        let limit = self.lab.now() + wait;
        if let Err(error) = self.lab.run_until_agent(limit) {
            return Err(match error {
                LabError::TimeLimit { .. } => {
                    let state = match self.lab.guest().has_agent_open() {
                        true => AgentState::Silent,
                        false => AgentState::NotRunning,
                    };
                    PastError::NotUp { from: self.from, waited: wait, state }
                }
                error => self.error(error),
            });
        }
        let settled = self.lab.now() + SETTLE;
        while self.lab.now() < settled && self.lab.machine().idle_until().is_none() {
            self.slice()?;
        }
        while self.lab.next_event().is_some() {}
        Ok(())
    }

    /// Runs a command and collects what it writes.
    ///
    /// # Errors
    /// See [`PastError`].
    pub fn exec(
        &mut self,
        argv: &[&str],
        stdin: &[u8],
        wait: Ticks,
    ) -> Result<ExecOutput, PastError> {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let code = self.stream(argv, stdin, wait, &mut |stream, bytes| {
            match stream {
                Stream::Stdout => stdout.extend_from_slice(bytes),
                Stream::Stderr => stderr.extend_from_slice(bytes),
            }
            Ok(())
        })?;
        Ok(ExecOutput { code, stdout, stderr })
    }

    /// Runs a command and passes on what it writes as it comes; gives its exit code, or 128 + the
    /// signal that ended it.
    ///
    /// # Errors
    /// See [`PastError`]; [`PastError::Sink`] with what `sink` returned.
    pub fn stream(
        &mut self,
        argv: &[&str],
        stdin: &[u8],
        wait: Ticks,
        sink: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    ) -> Result<u8, PastError> {
        self.up(wait)?;
        let argv = argv.iter().map(|text| (*text).to_owned()).collect();
        let stdin_mode = if stdin.is_empty() { Stdin::Null } else { Stdin::Stream };
        let spec = ExecSpec { argv, env: Vec::new(), tty: None, stdin: stdin_mode };
        let now = self.lab.now();
        let key =
            self.lab.guest().exec(&spec, now).map_err(|error| PastError::Lab(error.into()))?;
        for bytes in stdin.chunks(DATA_BYTES_MAX) {
            self.lab.guest().exec_input(key, bytes.to_vec());
        }
        self.lab.guest().exec_eof(key);
        let limit = now + COMMAND;
        loop {
            if self.lab.now() >= limit {
                let what = "the end of a command";
                return Err(PastError::Lab(LabError::TimeLimit { what, limit }));
            }
            let ran = self.slice();
            // What it wrote before the machine went off is still its output.
            if let Some(code) = self.drain(key, sink)? {
                return Ok(code);
            }
            ran?;
        }
    }

    /// Passes on what the command wrote; its exit code when it has ended.
    fn drain(
        &mut self,
        wanted: ExecKey,
        sink: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
    ) -> Result<Option<u8>, PastError> {
        while let Some(event) = self.lab.next_event() {
            let LabEvent::Guest(event) = event else { continue };
            match event {
                GuestEvent::Output { key, stream, bytes } if key == wanted => {
                    sink(stream, &bytes).map_err(PastError::Sink)?;
                }
                GuestEvent::Exited { key, code } if key == wanted => return Ok(Some(code)),
                GuestEvent::Failed { key, error } if key == wanted => {
                    return Err(PastError::Lab(error.into()));
                }
                GuestEvent::Lost { key, error } if key == wanted => {
                    return Err(PastError::Lab(LabError::Lost(error)));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn slice(&mut self) -> Result<(), PastError> {
        let limit = self.lab.now() + COMMAND;
        self.lab.run_one_slice("a command", limit).map_err(|error| self.error(error))
    }

    fn error(&self, error: LabError) -> PastError {
        match error {
            LabError::Off { .. } => PastError::Off { at: self.lab.now() },
            error => PastError::Lab(error),
        }
    }
}

/// Seconds with as many decimals as are needed, at most three.
fn show_seconds(ticks: Ticks) -> String {
    let ms = ticks.ns() / 1_000_000;
    let text = format!("{}.{:03}", ms / 1000, ms % 1000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests;
