//! What goes into the machine and what comes out: always past the recordings.
//!
//! An input is in every recording before the machine sees it, and the instant reached is, before
//! anything the machine said is passed on. When a recording cannot be written the lab stalls with
//! both as they are: nothing is lost, and nothing is known outside that is not recorded.

use std::sync::Arc;

use stackvm_machine::config::limits::PENDING_INPUT_BYTES_MAX;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Input, Instant, Output, PortId};
use stackvm_timeline::Event;
use stackvm_timeline::journal::JournalError;
use stackvm_timeline::limits::DATA_BYTES_MAX;

use super::terminal::Heard;
use super::{Condition, Lab, LabEvent};
use crate::protocol::Size;
use crate::recorder::{self, EntryPlace};

/// Instants of a paced machine's inputs are multiples of this many ticks (1.024 µs), where the
/// guest allows: they take fewer bytes then.
const GRAIN_TICKS: u64 = 1 << 14;
/// Virtual time between what an unpaced guest says and what its agent's client answers.
pub(super) const ANSWER_NS: u64 = 1_000_000;
/// Inputs that may wait for their instant before terminals give no more answers.
const ANSWERS_MAX: usize = 1024;

/// Who gives an input.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Actor {
    /// The host itself: pacing, the agent's client, the network.
    Host,
    /// Somebody with a name.
    Named(Arc<str>),
}

impl Actor {
    /// The name in recordings.
    pub fn name(&self) -> &str {
        match self {
            Actor::Host => "host",
            Actor::Named(name) => name,
        }
    }
}

impl Lab {
    /// Puts an input in, now.
    pub fn put(&mut self, actor: &Actor, input: Input) {
        self.align();
        for input in cut(input) {
            self.put_event(actor, Event::Input(input));
        }
    }

    /// As [`Lab::put`], once `note` was told where the first entry of it will be in the machine's
    /// own journal (`None` without one); not if `note` fails.
    pub(crate) fn put_noted<E>(
        &mut self,
        actor: &Actor,
        input: Input,
        note: impl FnOnce(Option<EntryPlace>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.align();
        let waiting = self.pending.len() - usize::from(self.pending_is_recorded);
        note(
            self.recorders
                .next_entry()
                .map(|next| EntryPlace { entries: next.entries + waiting as u64, ..next }),
        )?;
        for input in cut(input) {
            self.put_event(actor, Event::Input(input));
        }
        Ok(())
    }

    /// Writes an event to all recordings, then lets it happen.
    pub(super) fn put_event(&mut self, actor: &Actor, event: Event) {
        self.pending.push_back((actor.clone(), event));
        self.settle();
    }

    /// Catches up with what a recording could not take before. What fails leaves the lab stalled.
    pub(super) fn settle(&mut self) {
        if !self.show() {
            return;
        }
        while let Some((actor, event)) = self.pending.front() {
            if !self.pending_is_recorded {
                let now = self.machine.now();
                if let Err(error) = self.recorders.entry(now, actor, event) {
                    return self.stall_on(&error);
                }
                self.pending_is_recorded = true;
            }
            let event = event.clone();
            if !self.happen(event) {
                return;
            }
            self.pending_is_recorded = false;
            self.pending.pop_front();
        }
    }

    /// Lets an idle or busy machine get to where its inputs are put.
    fn align(&mut self) {
        if self.pacer.is_none() || self.still || self.condition != Condition::Running {
            return;
        }
        let now = self.machine.now().ticks();
        let Some(to) = now.checked_next_multiple_of(GRAIN_TICKS).filter(|to| *to != now) else {
            return;
        };
        let stop = self.machine.run(Instant::from_ticks(to));
        self.show();
        self.stopped(stop);
    }

    /// The event's effect; false if the host must be cured first.
    fn happen(&mut self, event: Event) -> bool {
        match event {
            Event::Input(input) => {
                match input {
                    Input::Resize { console, columns, rows } => {
                        self.resized(console, Size { columns, rows });
                    }
                    Input::Identity { seed, rtc_ns } => {
                        let base = rtc_base(rtc_ns, self.machine.now());
                        (self.config.seed, self.config.rtc_ns) = (seed, base);
                    }
                    _ => {}
                }
                self.machine.input(input);
            }
            Event::Reset { seed, rtc_ns } => {
                let before = (self.config.seed, self.config.rtc_ns);
                (self.config.seed, self.config.rtc_ns) = (seed, rtc_ns);
                let reset = self.read_boot_files();
                let reset = reset.and_then(|()| {
                    self.machine.reset(&self.config).map_err(|error| error.to_string())
                });
                if let Some(files) = self.boot_files.take() {
                    self.leave_boot_files(files);
                }
                if let Err(problem) = reset {
                    // It could be made once, so this is the host's trouble, and may pass.
                    (self.config.seed, self.config.rtc_ns) = before;
                    self.stall(problem);
                    return false;
                }
                self.guest.reset();
                self.held.clear();
                self.pacer = None;
                self.condition = Condition::Running;
                self.events.push_back(LabEvent::Reset);
            }
        }
        true
    }

    /// The files that a machine boots from are not kept in memory.
    fn read_boot_files(&mut self) -> Result<(), String> {
        if let Some(read) = &self.boot_files {
            let files = read().map_err(|error| error.to_string())?;
            (self.config.kernel, self.config.initrd) = (files.kernel, files.initrd);
        }
        Ok(())
    }

    /// Takes what left the machine to the recordings and then to those it is for; false if a
    /// recording cannot take it.
    pub(super) fn show(&mut self) -> bool {
        self.unshown.extend(self.machine.take_outputs());
        let now = self.machine.now();
        while let Some(output) = self.unshown.front() {
            if let Err(error) = self.recorders.shown(now, output) {
                self.stall_on(&error);
                return false;
            }
            let Some(output) = self.unshown.pop_front() else { break };
            match self.guest.output(output, now) {
                Some(Output::Console { console, bytes }) => {
                    self.wrote(console, &bytes, now);
                }
                Some(Output::Frame { nic, bytes }) => {
                    self.events.push_back(LabEvent::Frame { nic, bytes });
                }
                _ => {}
            }
        }
        true
    }

    /// A terminal shows what the guest wrote, and answers what the guest asked.
    fn wrote(&mut self, console: ConsoleId, bytes: &[u8], now: Instant) {
        let Some(terminal) = self.consoles.get_mut(&console) else { return };
        let Heard { shown, answers } = terminal.write(bytes, now);
        if !shown.is_empty() {
            self.events.push_back(LabEvent::Console { console, bytes: shown });
        }
        let at = match &self.pacer {
            Some(_) => now,
            None => ANSWER_NS
                .checked_mul(now.ns().div_ceil(ANSWER_NS) + 1)
                .map_or(now, Instant::from_ns),
        };
        // The guest is hostile: it may ask without ever reading an answer.
        let room = ANSWERS_MAX.saturating_sub(self.held.len());
        let inputs = answers.into_iter().map(|bytes| Input::Console { console, bytes });
        self.held.extend(inputs.take(room).map(|input| (at, input)));
    }

    fn resized(&mut self, console: ConsoleId, size: Size) {
        let Some(terminal) = self.consoles.get_mut(&console) else { return };
        if terminal.size() != Some(size) {
            terminal.resize(size);
            self.events.push_back(LabEvent::Resized { console, size });
        }
    }

    /// Carries outputs to where they go, and what the guest's agent is told into the machine.
    pub(super) fn pump(&mut self) {
        if self.pacer.is_none() {
            self.answer();
        }
        if !self.show() || !self.pending.is_empty() {
            return;
        }
        let now = self.machine.now();
        let (machine, held) = (&self.machine, &self.held);
        self.guest.advance(now, &|port| {
            machine.port_room_bytes(port).saturating_sub(held_bytes(held.iter(), port))
        });
        let at = match &self.pacer {
            Some(_) => now,
            None => now + Ticks::from_ns(ANSWER_NS),
        };
        let inputs = self.guest.take_inputs();
        self.held.extend(inputs.into_iter().map(|input| (at, input)));
        if self.pacer.is_some() {
            self.answer();
        }
        while let Some(event) = self.guest.next_event() {
            self.events.push_back(LabEvent::Guest(event));
        }
    }

    /// Puts in what terminals answer and the guest's agent is told by now.
    fn answer(&mut self) {
        if self.held.front().is_none_or(|(at, _)| *at > self.machine.now()) {
            return;
        }
        self.align();
        // What the machine was about to be told went with a reset on the way.
        let now = self.machine.now();
        while let Some((_, input)) = self.held.pop_front_if(|(at, _)| *at <= now) {
            for input in cut(input) {
                self.put_event(&super::Actor::Host, Event::Input(input));
            }
        }
    }

    fn stall_on(&mut self, error: &JournalError) {
        self.stall(recorder::trouble(error));
    }
}

/// The RTC base that makes it show `unix_ns` at `now`.
pub(crate) fn rtc_base(unix_ns: u64, now: Instant) -> u64 {
    unix_ns.saturating_sub(now.ns())
}

fn held_bytes<'a>(held: impl Iterator<Item = &'a (Instant, Input)>, wanted: PortId) -> usize {
    let bytes = held.map(|(_, input)| match input {
        Input::Port { port, bytes } if *port == wanted => bytes.len(),
        _ => 0,
    });
    bytes.sum::<usize>().min(PENDING_INPUT_BYTES_MAX)
}

/// An input in parts that a timeline takes.
fn cut(input: Input) -> Vec<Input> {
    let parts = |bytes: &[u8], part: &dyn Fn(Vec<u8>) -> Input| -> Vec<Input> {
        bytes.chunks(DATA_BYTES_MAX).map(|bytes| part(bytes.to_vec())).collect()
    };
    match &input {
        Input::Console { console, bytes } if bytes.len() > DATA_BYTES_MAX => {
            parts(bytes, &|bytes| Input::Console { console: *console, bytes })
        }
        Input::Port { port, bytes } if bytes.len() > DATA_BYTES_MAX => {
            parts(bytes, &|bytes| Input::Port { port: *port, bytes })
        }
        _ => vec![input],
    }
}
