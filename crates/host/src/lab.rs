//! A machine with its guest and its pacing, inside this process.
//!
//! [`Lab`] is what a lab process runs ([`process`](crate::process)), and what tests and scripts use
//! directly: [`Lab::step`] follows a wall clock that is passed in, [`Lab::run_until`] and
//! [`Lab::exec`] run as fast as the host can. It does no I/O itself: what leaves the machine comes
//! out of [`Lab::next_event`].

use std::collections::{BTreeMap, VecDeque};

use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConfigError, ConsoleId, Input, Instant, Machine, MachineConfig, NicId};
use stackvm_machine::{Output, Stop};
use thiserror::Error;

use crate::agent::AgentError;
use crate::exec::{ExecError, ExecKey};
use crate::guest::{Guest, GuestEvent};
use crate::pacing::{Pacer, Plan};

use crate::protocol::{ExecSpec, Size, Stdin, Stream};

mod fork;
mod scrollback;

pub use fork::FreshIdentity;
pub use scrollback::Scrollback;

/// Virtual time between two looks at what left the machine, when nothing paces it.
const UNPACED_SLICE_NS: u64 = 1_000_000;

/// What happened in a lab.
#[derive(Debug, PartialEq, Eq)]
pub enum LabEvent {
    /// A terminal wrote something.
    Console {
        /// Which.
        console: ConsoleId,
        /// What.
        bytes: Vec<u8>,
    },
    /// The guest sent a frame.
    Frame {
        /// Through which interface.
        nic: NicId,
        /// The frame.
        bytes: Vec<u8>,
    },
    /// The agent or a command did something.
    Guest(GuestEvent),
    /// The guest switched the machine off.
    PoweredOff {
        /// Its code.
        code: u32,
    },
    /// The guest reset the machine; it has started again.
    Reset,
    /// A condition of the host must be cured first.
    Stalled {
        /// What happened, to what.
        reason: String,
    },
}

/// What [`Lab::step`] did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Ran a slice; there is more to do.
    Ran,
    /// Nothing to do until this wall time or the next input.
    Sleep {
        /// Nanoseconds; `None` without an end.
        until_wall_ns: Option<u64>,
    },
    /// The machine is off or stalled.
    Stopped,
}

/// Why a lab could not do something.
#[derive(Debug, Error)]
pub enum LabError {
    /// The machine cannot be made.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The machine is off.
    #[error("the guest switched the machine off (code {code})")]
    Off {
        /// Its code.
        code: u32,
    },
    /// The machine is stalled.
    #[error("the machine is stalled: {reason}")]
    Stalled {
        /// Why.
        reason: String,
    },
    /// Virtual time ran out.
    #[error("{what} did not happen before the machine's time was {limit}")]
    TimeLimit {
        /// What was waited for.
        what: &'static str,
        /// Until when.
        limit: Instant,
    },
    /// The command cannot run.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The command started and was lost.
    #[error(transparent)]
    Lost(AgentError),
    /// The guest of a fresh fork did not take its identity.
    #[error("the fork's guest could not become a machine of its own (code {code}): {words}")]
    Fresh {
        /// Exit code of what was run in it.
        code: u8,
        /// What that said.
        words: String,
    },
}

/// What a command left behind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExecOutput {
    /// Its exit code, or 128 + the signal that ended it.
    pub code: u8,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Condition {
    Running,
    Off { code: u32 },
    Stalled { reason: String },
}

/// A machine with its guest and its pacing.
pub struct Lab {
    pub(crate) machine: Machine,
    pub(crate) config: MachineConfig,
    pub(crate) guest: Guest,
    pacer: Option<Pacer>,
    condition: Condition,
    consoles: BTreeMap<ConsoleId, Scrollback>,
    events: VecDeque<LabEvent>,
}

impl Lab {
    /// Switches a machine on.
    ///
    /// # Errors
    /// [`LabError::Config`].
    pub fn new(config: MachineConfig) -> Result<Lab, LabError> {
        Ok(Lab::with_machine(Machine::new(&config)?, config))
    }

    /// Around a machine that was made from `config`.
    pub(crate) fn with_machine(machine: Machine, config: MachineConfig) -> Lab {
        let hvcs = (0..config.consoles).map(ConsoleId::Hvc);
        let consoles = hvcs.chain([ConsoleId::Serial]);
        Lab {
            guest: Guest::new(&config.ports, config.consoles),
            machine,
            consoles: consoles.map(|console| (console, Scrollback::default())).collect(),
            config,
            pacer: None,
            condition: Condition::Running,
            events: VecDeque::new(),
        }
    }

    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// What the machine was made from.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The guest's agent and commands. What is asked of it takes effect with the next step or run.
    pub fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    /// The instant reached.
    pub fn now(&self) -> Instant {
        self.machine.now()
    }

    /// Ticks per instruction now.
    pub fn rate_ticks(&self) -> u32 {
        self.pacer.as_ref().map_or(self.config.rate_ticks, Pacer::rate_ticks)
    }

    /// The terminals of the machine; the first is the one to show.
    pub fn consoles(&self) -> Vec<ConsoleId> {
        // Guests of images have their shell on hvc0; all others have only the serial line.
        let hvcs = self.consoles.keys().filter(|console| **console != ConsoleId::Serial);
        hvcs.copied().chain([ConsoleId::Serial]).collect()
    }

    /// A terminal's recent output, if the machine has the terminal.
    pub fn console(&self, console: ConsoleId) -> Option<&Scrollback> {
        self.consoles.get(&console)
    }

    /// What all terminals show, for [`Lab::restore_screens`].
    pub(crate) fn screens(&self) -> Vec<(ConsoleId, Scrollback)> {
        self.consoles.iter().map(|(console, screen)| (*console, screen.clone())).collect()
    }

    /// Gives the terminals what they showed when the machine was saved.
    pub(crate) fn restore_screens(&mut self, screens: Vec<(ConsoleId, Scrollback)>) {
        for (console, screen) in screens {
            if let Some(place) = self.consoles.get_mut(&console) {
                *place = screen;
            }
        }
    }

    /// Takes the next event.
    pub fn next_event(&mut self) -> Option<LabEvent> {
        self.events.pop_front()
    }

    /// Lets an idle machine catch up with the wall clock; to be called before inputs that arrived
    /// at `wall_ns`, so that they get the instant at which they arrived.
    pub fn arrive(&mut self, wall_ns: u64) {
        let Some(pacer) = &self.pacer else { return };
        let idle = self.idle_until();
        if let (Condition::Running, Some(to)) =
            (&self.condition, pacer.leap(wall_ns, self.machine.now(), idle))
        {
            self.run(to);
        }
    }

    /// Puts an input in now.
    pub fn input(&mut self, input: Input) {
        if let Input::Resize { console, columns, rows } = input
            && let Some(scrollback) = self.consoles.get_mut(&console)
        {
            scrollback.size = Some(Size { columns, rows });
        }
        self.machine.input(input);
    }

    /// Does what is due at the wall time that `clock` shows, in nanoseconds.
    pub fn step(&mut self, clock: &dyn Fn() -> u64) -> Step {
        self.pump();
        if self.condition != Condition::Running {
            return Step::Stopped;
        }
        let (wall, now, idle) = (clock(), self.machine.now(), self.idle_until());
        let rate = self.config.rate_ticks;
        let pacer = self.pacer.get_or_insert_with(|| Pacer::new(wall, now, rate));
        match pacer.plan(wall, now, idle) {
            Plan::Sleep { until_wall_ns } => Step::Sleep { until_wall_ns },
            Plan::Run { until, rate } => {
                if let Some(ticks) = rate {
                    self.machine.input(Input::Rate { ticks });
                }
                let (start, retired) = (clock(), self.machine.retired());
                self.run(until);
                // After a reset there is no pacer, and nothing to report to it.
                if let Some(pacer) = &mut self.pacer {
                    pacer.ran(clock() - start, self.machine.retired() - retired);
                }
                Step::Ran
            }
        }
    }

    /// After the machine was held still: virtual time goes on from where it is. A stall is tried
    /// again.
    pub fn resume(&mut self, wall_ns: u64) {
        if let Some(pacer) = &mut self.pacer {
            pacer.anchor(wall_ns, self.machine.now());
        }
        if matches!(self.condition, Condition::Stalled { .. }) {
            self.condition = Condition::Running;
        }
    }

    /// Presses the reset button: the machine starts again with its disks as they are.
    ///
    /// # Errors
    /// [`LabError::Config`], and the machine is as before.
    pub fn reset(&mut self) -> Result<(), LabError> {
        self.machine.reset(&self.config)?;
        self.guest.reset();
        self.pacer = None;
        self.condition = Condition::Running;
        self.events.push_back(LabEvent::Reset);
        Ok(())
    }

    /// Runs unpaced to `until`; events are to be taken afterwards.
    ///
    /// # Errors
    /// [`LabError::Off`] and [`LabError::Stalled`] when the machine stops before.
    pub fn run_until(&mut self, until: Instant) -> Result<(), LabError> {
        while self.machine.now() < until {
            self.check_running()?;
            let slice = self.machine.now() + Ticks::from_ns(UNPACED_SLICE_NS);
            self.run(slice.min(until));
        }
        self.check_running()
    }

    /// Runs unpaced until the guest's agent is up. Events on the way are dropped; terminals'
    /// output is in [`Lab::console`].
    ///
    /// # Errors
    /// [`LabError::TimeLimit`] at `limit`, or as [`Lab::run_until`].
    pub fn run_until_agent(&mut self, limit: Instant) -> Result<(), LabError> {
        while !self.guest.is_up() {
            self.run_one_slice("the guest's agent coming up", limit)?;
            self.events.clear();
        }
        Ok(())
    }

    /// Runs a command unpaced and gives it `stdin`. Other events on the way are dropped.
    ///
    /// # Errors
    /// [`LabError::Exec`], [`LabError::Lost`], [`LabError::TimeLimit`] at `limit`, or as
    /// [`Lab::run_until`].
    pub fn exec(
        &mut self,
        argv: &[&str],
        stdin: &[u8],
        limit: Instant,
    ) -> Result<ExecOutput, LabError> {
        self.run_until_agent(limit)?;
        let argv = argv.iter().map(|text| (*text).to_owned()).collect();
        let stdin_mode = if stdin.is_empty() { Stdin::Null } else { Stdin::Stream };
        let spec = ExecSpec { argv, env: Vec::new(), tty: None, stdin: stdin_mode };
        let key = self.guest.exec(&spec, self.machine.now())?;
        self.guest.exec_input(key, stdin.to_vec());
        self.guest.exec_eof(key);
        let mut output = ExecOutput { code: 0, stdout: Vec::new(), stderr: Vec::new() };
        loop {
            self.run_one_slice("the end of a command", limit)?;
            while let Some(event) = self.events.pop_front() {
                if let LabEvent::Guest(event) = event
                    && let Some(result) = collect(event, key, &mut output)
                {
                    return result.map(|()| output);
                }
            }
        }
    }

    fn run_one_slice(&mut self, what: &'static str, limit: Instant) -> Result<(), LabError> {
        if self.machine.now() >= limit {
            return Err(LabError::TimeLimit { what, limit });
        }
        let slice = self.machine.now() + Ticks::from_ns(UNPACED_SLICE_NS);
        self.run_until(slice.min(limit))
    }

    fn check_running(&self) -> Result<(), LabError> {
        match &self.condition {
            Condition::Running => Ok(()),
            Condition::Off { code } => Err(LabError::Off { code: *code }),
            Condition::Stalled { reason } => Err(LabError::Stalled { reason: reason.clone() }),
        }
    }

    /// Until when nothing happens by itself, in the guest or with its commands.
    fn idle_until(&self) -> Option<Instant> {
        let event = self.machine.idle_until()?;
        Some(event.min(self.guest.deadline().unwrap_or(Instant::MAX)))
    }

    /// Runs to `until` or the guest's next deadline, and handles what comes of it.
    fn run(&mut self, until: Instant) {
        self.pump();
        let deadline = self.guest.deadline().unwrap_or(Instant::MAX);
        let stop = self.machine.run(until.min(deadline.max(self.machine.now())));
        self.pump();
        match stop {
            Stop::Until | Stop::Outputs | Stop::Watched => {}
            Stop::PowerOff { code } => {
                self.condition = Condition::Off { code };
                self.events.push_back(LabEvent::PoweredOff { code });
            }
            Stop::Stalled { reason } => {
                self.condition = Condition::Stalled { reason: reason.clone() };
                self.events.push_back(LabEvent::Stalled { reason });
            }
            Stop::Reset => {
                if let Err(error) = self.reset() {
                    // It could be made once, so this is the host's trouble, and may pass.
                    let reason = error.to_string();
                    self.condition = Condition::Stalled { reason: reason.clone() };
                    self.events.push_back(LabEvent::Stalled { reason });
                }
            }
        }
    }

    /// Carries outputs to where they go, and the guest's inputs into the machine.
    fn pump(&mut self) {
        let now = self.machine.now();
        for output in self.machine.take_outputs() {
            match self.guest.output(output, now) {
                Some(Output::Console { console, bytes }) => {
                    if let Some(scrollback) = self.consoles.get_mut(&console) {
                        scrollback.write(&bytes);
                    }
                    self.events.push_back(LabEvent::Console { console, bytes });
                }
                Some(Output::Frame { nic, bytes }) => {
                    self.events.push_back(LabEvent::Frame { nic, bytes });
                }
                _ => {}
            }
        }
        let machine = &self.machine;
        self.guest.advance(now, &|port| machine.port_room_bytes(port));
        for input in self.guest.take_inputs() {
            self.machine.input(input);
        }
        while let Some(event) = self.guest.next_event() {
            self.events.push_back(LabEvent::Guest(event));
        }
    }
}

/// Adds what a command did to `output`; at its end, the result.
fn collect(
    event: GuestEvent,
    wanted: ExecKey,
    output: &mut ExecOutput,
) -> Option<Result<(), LabError>> {
    match event {
        GuestEvent::Output { key, stream, bytes } if key == wanted => match stream {
            Stream::Stdout => output.stdout.extend(bytes),
            Stream::Stderr => output.stderr.extend(bytes),
        },
        GuestEvent::Exited { key, code } if key == wanted => {
            output.code = code;
            return Some(Ok(()));
        }
        GuestEvent::Failed { key, error } if key == wanted => return Some(Err(error.into())),
        GuestEvent::Lost { key, error } if key == wanted => {
            return Some(Err(LabError::Lost(error)));
        }
        _ => {}
    }
    None
}
