//! A machine with its guest and its pacing, inside this process.
//!
//! [`Lab`] is what a lab process runs ([`process`](crate::process)), and what tests and scripts use
//! directly: [`Lab::step`] follows a wall clock that is passed in, [`Lab::run_until`] and
//! [`Lab::exec`] run as fast as the host can. Whatever is put into the machine goes through
//! [`Lab::put`] and into every recording first; what leaves the machine comes out of
//! [`Lab::next_event`]. Beside its recordings' files it does no I/O.

use std::collections::{BTreeMap, VecDeque};

use stackvm_machine::{ConfigError, ConsoleId, Input, Instant, Machine, MachineConfig, NicId};
use stackvm_machine::{Output, Stop};
use stackvm_timeline::Event;
use stackvm_timeline::screen::{Derived, Screens};
use thiserror::Error;

use crate::agent::AgentError;
use crate::exec::{ExecError, TERMINALS};
use crate::guest::{Guest, GuestEvent, GuestSaved};
use crate::pacing::{Pacer, Plan};
use crate::prompt::BootFiles;
use crate::protocol::Size;
use crate::recorder::{Last, Recorder, Recorders, Which};

mod fork;
mod inputs;
mod terminal;
mod unpaced;

pub(crate) use fork::FRESH_SCRIPT;
pub use fork::FreshIdentity;
pub use inputs::Actor;
pub(crate) use inputs::rtc_base;
pub use terminal::{Terminal, flowing};
pub use unpaced::ExecOutput;

/// What happened in a lab.
#[derive(Debug, PartialEq, Eq)]
pub enum LabEvent {
    /// A terminal wrote something.
    Console {
        /// Which.
        console: ConsoleId,
        /// What, without queries: they are answered here.
        bytes: Vec<u8>,
    },
    /// A terminal has another size.
    Resized {
        /// Which.
        console: ConsoleId,
        /// The size.
        size: Size,
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
    consoles: BTreeMap<ConsoleId, Terminal>,
    events: VecDeque<LabEvent>,
    /// Whoever keeps what happens here.
    recorders: Recorders,
    /// What the machine has not seen yet because a recording could not be written.
    pending: VecDeque<(Actor, Event)>,
    /// The first of `pending` is in all recordings.
    pending_is_recorded: bool,
    /// What has left the machine and is in no recording yet, so that nobody was shown it.
    unshown: VecDeque<Output>,
    /// What terminals answer and the guest's agent is told, and when: unpaced, all of it has its
    /// time.
    held: VecDeque<(Instant, Input)>,
    /// Virtual time is held by whoever runs the lab.
    still: bool,
    /// Where the files are that the configuration lacks; `None` if it has them.
    boot_files: Option<BootFiles>,
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
            consoles: consoles.map(|console| (console, Terminal::default())).collect(),
            config,
            pacer: None,
            condition: Condition::Running,
            events: VecDeque::new(),
            recorders: Recorders::default(),
            pending: VecDeque::new(),
            pending_is_recorded: false,
            unshown: VecDeque::new(),
            held: VecDeque::new(),
            still: false,
            boot_files: None,
        }
    }

    /// Lets go of what the machine has booted from: much memory that every fork(2) would have to
    /// look after. `files` reads it again, should the machine be reset.
    pub(crate) fn leave_boot_files(&mut self, files: BootFiles) {
        (self.config.kernel, self.config.initrd) = (None, None);
        self.boot_files = Some(files);
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
        self.machine.rate_ticks()
    }

    /// The terminals of the machine; the first is the one to show.
    pub fn consoles(&self) -> Vec<ConsoleId> {
        // Guests of images have their shell on hvc0; all others have only the serial line.
        let hvcs = self.consoles.keys().filter(|console| **console != ConsoleId::Serial);
        hvcs.copied().chain([ConsoleId::Serial]).collect()
    }

    /// A terminal, if the machine has it.
    pub fn console(&self, console: ConsoleId) -> Option<&Terminal> {
        self.consoles.get(&console)
    }

    /// Gives terminals and ports what a recording says of them.
    pub(crate) fn restore(&mut self, derived: &Derived) {
        self.restore_screens(derived);
        let saved = GuestSaved { open: derived.open_ports.clone() };
        self.guest.restore(saved, self.machine.now());
    }

    fn restore_screens(&mut self, derived: &Derived) {
        for screen in &derived.screens {
            if let Some(place) = self.consoles.get_mut(&screen.console) {
                *place = Terminal::restored(screen);
            }
        }
    }

    /// Gives restored terminals the past that was drawn from what the guest wrote.
    pub(crate) fn remember(&mut self, drawn: BTreeMap<ConsoleId, Terminal>) {
        // Commands have their terminals for themselves.
        let is_command = |console: ConsoleId| matches!(console, ConsoleId::Hvc(number) if TERMINALS.contains(&number));
        let commands = self.guest.has_agent_port();
        for (console, drawn) in drawn.into_iter().filter(|(of, _)| !commands || !is_command(*of)) {
            if let Some(terminal) = self.consoles.get_mut(&console) {
                terminal.remember(drawn);
            }
        }
    }

    /// Terminals show nothing, as when a machine is switched on.
    pub(crate) fn forget_screens(&mut self) {
        self.consoles.values_mut().for_each(|console| *console = Terminal::default());
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

    /// Does what is due at the wall time that `clock` shows, in nanoseconds.
    pub fn step(&mut self, clock: &dyn Fn() -> u64) -> Step {
        let (now, rate) = (self.machine.now(), self.machine.rate_ticks());
        // Before anything is put in: what is asked of a paced guest is asked at once.
        self.pacer.get_or_insert_with(|| Pacer::new(clock(), now, rate));
        self.pump();
        if self.condition != Condition::Running {
            return Step::Stopped;
        }
        self.still = false;
        let (wall, now, idle) = (clock(), self.machine.now(), self.idle_until());
        let Some(pacer) = &mut self.pacer else { return Step::Ran };
        match pacer.plan(wall, now, idle) {
            Plan::Sleep { until_wall_ns } => Step::Sleep { until_wall_ns },
            Plan::Run { until, rate } => {
                if let Some(ticks) = rate {
                    self.put(&Actor::Host, Input::Rate { ticks });
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

    /// Virtual time stands still from now on: inputs get the instant reached.
    pub fn hold(&mut self) {
        self.still = true;
    }

    /// After the machine was held still: virtual time goes on from where it is. A stall is tried
    /// again.
    pub fn resume(&mut self, wall_ns: u64) {
        if matches!(self.condition, Condition::Stalled { .. }) {
            self.condition = Condition::Running;
            self.recorders.retry();
        }
        self.still = false;
        if let Some(pacer) = &mut self.pacer {
            pacer.anchor(wall_ns, self.machine.now());
        }
        self.settle();
    }

    /// Whether the machine waits for a recording that could not be written: then
    /// [`Lab::retry`] may help.
    pub fn waits_for_recording(&self) -> bool {
        matches!(self.condition, Condition::Stalled { .. })
            && (!self.pending.is_empty()
                || !self.unshown.is_empty()
                || self.recorders.trouble().is_some())
    }

    /// Whether everything that was put in is in all recordings, where the end of this process does
    /// not lose it.
    pub(crate) fn is_written(&self) -> bool {
        self.pending.is_empty() && self.recorders.have_all()
    }

    /// Tries again to write what a recording lacks; true if the machine can go on.
    pub fn retry(&mut self, wall_ns: u64) -> bool {
        let (condition, events) = (self.condition.clone(), self.events.len());
        self.resume(wall_ns);
        if self.condition == Condition::Running {
            return true;
        }
        // The same trouble is no news.
        if self.condition == condition {
            self.events.truncate(events);
        }
        false
    }

    /// Presses the reset button: the machine starts again with its disks as they are.
    pub fn reset(&mut self, actor: &Actor) {
        let (seed, rtc_ns) = (self.config.seed, self.config.rtc_ns);
        self.switch_on(actor, seed, rtc_ns);
    }

    /// Switches the machine on again with its disks as they are, with another seed and RTC base
    /// (what the RTC showed at instant 0, in nanoseconds since 1970).
    pub fn switch_on(&mut self, actor: &Actor, seed: u64, rtc_ns: u64) {
        self.put_event(actor, Event::Reset { seed, rtc_ns });
    }

    /// What is kept of this machine, by whom.
    pub(crate) fn recorders(&mut self) -> &mut Recorders {
        &mut self.recorders
    }

    /// Records the machine from now on.
    pub(crate) fn record(&mut self, recorder: Recorder) {
        let (consoles, guest) = (&self.consoles, &self.guest);
        self.recorders.add(recorder, || {
            let screens = consoles.iter().map(|(&console, shown)| shown.save(console)).collect();
            Screens::from_derived(&Derived { screens, open_ports: guest.save().open })
        });
    }

    /// Does what recordings have to do behind the machine; the wall time at which there is more.
    pub(crate) fn tend(&mut self, wall_ns: u64) -> Option<u64> {
        if self.recorders.is_empty() {
            return None;
        }
        let due = self.recorders.tick(wall_ns, &mut self.machine);
        if let (Some(trouble), Condition::Running) = (self.recorders.trouble(), &self.condition) {
            let trouble = trouble.to_owned();
            self.stall(trouble);
        }
        due
    }

    /// Ends the recordings where the machine is; see [`Recorders::finish`].
    pub(crate) fn end_recordings(&mut self, which: Which<'_>, last: Last) -> Result<(), String> {
        self.recorders.finish(&mut self.machine, which, last)
    }

    /// Waits until every recording has begun; an error says what its journal cannot be made for.
    pub(crate) fn settle_recordings(&mut self) -> Result<(), String> {
        self.recorders.settle(&mut self.machine)
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
        // What an unpaced run has left to be put in has its instant.
        let held = self.held.front().map_or(Instant::MAX, |(at, _)| *at);
        Some(event.min(held).min(self.guest.deadline().unwrap_or(Instant::MAX)))
    }

    /// Runs to `until` or the guest's next deadline, and handles what comes of it.
    fn run(&mut self, until: Instant) {
        self.pump();
        let deadline = self.guest.deadline().unwrap_or(Instant::MAX);
        let stop = self.machine.run(until.min(deadline.max(self.machine.now())));
        self.pump();
        self.stopped(stop);
    }

    fn stopped(&mut self, stop: Stop) {
        match stop {
            Stop::Until | Stop::Outputs | Stop::Watched => {}
            Stop::PowerOff { code } => {
                self.condition = Condition::Off { code };
                self.events.push_back(LabEvent::PoweredOff { code });
            }
            Stop::Stalled { reason } => self.stall(reason),
            Stop::Reset => self.reset(&Actor::Host),
        }
    }

    fn stall(&mut self, reason: String) {
        self.condition = Condition::Stalled { reason: reason.clone() };
        self.events.push_back(LabEvent::Stalled { reason });
    }
}

#[cfg(test)]
mod tests;
