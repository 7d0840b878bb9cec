//! Running without a wall clock: for scripts and tests, the same every time.
//!
//! What leaves the machine is looked at on whole milliseconds of virtual time, and what terminals
//! and the agent's client answer is put in a millisecond after it was looked at. So nothing depends on how the
//! host cuts a run, and two runs with the same seed and commands have the same inputs at the same
//! instants.

use stackvm_machine::Instant;

use super::{Condition, Lab, LabError, LabEvent};
use crate::exec::ExecKey;
use crate::guest::GuestEvent;
use crate::protocol::{ExecSpec, Stdin, Stream};

/// Virtual time between two looks at what left the machine.
const SLICE_NS: u64 = 1_000_000;

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

impl Lab {
    /// Runs unpaced to `until`; events are to be taken afterwards.
    ///
    /// # Errors
    /// [`LabError::Off`] and [`LabError::Stalled`] when the machine stops before.
    pub fn run_until(&mut self, until: Instant) -> Result<(), LabError> {
        self.pacer = None;
        while self.machine.now() < until {
            self.check_running()?;
            self.run_slice(until);
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

    /// Runs one slice, for what must be done before `limit`.
    pub(crate) fn run_one_slice(
        &mut self,
        what: &'static str,
        limit: Instant,
    ) -> Result<(), LabError> {
        self.pacer = None;
        self.check_running()?;
        if self.machine.now() >= limit {
            return Err(LabError::TimeLimit { what, limit });
        }
        self.run_slice(limit);
        self.check_running()
    }

    /// Runs to the next whole millisecond at which there may be something to do, or `until`.
    fn run_slice(&mut self, until: Instant) {
        self.pump();
        if self.condition != Condition::Running {
            return;
        }
        let now = self.machine.now();
        // Nothing is said while every hart waits, so nothing is missed by going on.
        let idle = self.machine.idle_until().map_or(now, |event| event.max(now));
        let deadline = self.guest.deadline().unwrap_or(Instant::MAX);
        let slice = after(idle).min(after(deadline)).max(after(now));
        let answer = self.held.front().map_or(Instant::MAX, |(at, _)| *at);
        let stop = self.machine.run(slice.min(answer).min(until));
        self.pump();
        self.stopped(stop);
    }
}

/// The first whole millisecond after `instant`.
fn after(instant: Instant) -> Instant {
    Instant::from_ns((instant.ns() / SLICE_NS).saturating_add(1).saturating_mul(SLICE_NS))
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
