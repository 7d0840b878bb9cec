//! A recorded machine without a process, clock or terminal of its own: a command runs in it as fast
//! as the host can.
//!
//! Nothing of this computer's time gets in: what the guest is told has its instant by what it said
//! before. So with a seed and a time in the spec, two such recordings have the same inputs at the
//! same instants.

use std::io;
use std::path::Path;
use std::time::Instant as Wall;

use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;
use thiserror::Error;

use super::make;
use super::start::{self, StartError};
use crate::exec::ExecKey;
use crate::guest::GuestEvent;
use crate::lab::{Lab, LabError, LabEvent};
use crate::machines::MachineSpec;
use crate::machines::spawn::Readiness;
use crate::protocol::{DATA_BYTES_MAX, ExecSpec, Stdin, Stream};
use crate::recorder::{Last, Which};

/// Virtual time that a guest may take until commands can run in it.
const UP_LIMIT: Ticks = Ticks::from_ns(600_000_000_000);
/// Virtual time between two looks at what the command does.
const SLICE: Ticks = Ticks::from_ns(1_000_000);

/// Why a command's run could not be recorded.
#[derive(Debug, Error)]
pub enum ScriptedError {
    /// The machine did not start.
    #[error("{0}")]
    Start(String),
    /// The machine or its guest could not do it.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// The command's output could not be passed on.
    #[error("the command's output could not be written")]
    Sink(#[source] io::Error),
    /// The recording could not be ended; what was written is there.
    #[error("the recording is incomplete: {0}")]
    Recording(String),
}

/// Runs a command in a new machine, recorded in `spec.record`, and gives its exit code. What it
/// writes goes to `sink` as it comes. `data` is the data directory.
///
/// # Errors
/// See [`ScriptedError`].
pub fn record(
    spec: &MachineSpec,
    data: &Path,
    argv: &[String],
    stdin: &[u8],
    sink: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
) -> Result<u8, ScriptedError> {
    let journal = spec.record.as_deref().expect("a scripted machine is recorded");
    // It has no folder of its own; where its journal will be, there is nothing yet.
    let made = make::make(journal, spec, data).map_err(|error| described(&error))?;
    let mut lab = made.lab;
    let result = run(&mut lab, argv, stdin, sink);
    let ended = lab.end_recordings(Which::All, Last::Entry);
    let code = result?;
    ended.map(|()| code).map_err(ScriptedError::Recording)
}

fn run(
    lab: &mut Lab,
    argv: &[String],
    stdin: &[u8],
    sink: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
) -> Result<u8, ScriptedError> {
    let start = Wall::now();
    let limit = lab.now() + UP_LIMIT;
    while !lab.guest().is_up() {
        if lab.now() >= limit {
            return Err(LabError::TimeLimit { what: "the guest's agent coming up", limit }.into());
        }
        slice(lab, start)?;
        while lab.next_event().is_some() {}
    }
    let mode = if stdin.is_empty() { Stdin::Null } else { Stdin::Stream };
    let spec = ExecSpec { argv: argv.to_vec(), env: Vec::new(), tty: None, stdin: mode };
    let now = lab.now();
    let key = lab.guest().exec(&spec, now).map_err(LabError::from)?;
    for bytes in stdin.chunks(DATA_BYTES_MAX) {
        lab.guest().exec_input(key, bytes.to_vec());
    }
    lab.guest().exec_eof(key);
    loop {
        let ran = slice(lab, start);
        // What it wrote before the machine went off is still its output.
        if let Some(code) = drain(lab, key, sink)? {
            return Ok(code);
        }
        ran?;
    }
}

fn slice(lab: &mut Lab, start: Wall) -> Result<(), LabError> {
    let until: Instant = lab.now() + SLICE;
    lab.run_until(until)?;
    lab.tend(start.elapsed().as_nanos() as u64);
    Ok(())
}

fn drain(
    lab: &mut Lab,
    wanted: ExecKey,
    sink: &mut dyn FnMut(Stream, &[u8]) -> io::Result<()>,
) -> Result<Option<u8>, ScriptedError> {
    while let Some(event) = lab.next_event() {
        match event {
            LabEvent::Guest(GuestEvent::Output { key, stream, bytes }) if key == wanted => {
                sink(stream, &bytes).map_err(ScriptedError::Sink)?;
            }
            LabEvent::Guest(GuestEvent::Exited { key, code }) if key == wanted => {
                return Ok(Some(code));
            }
            LabEvent::Guest(GuestEvent::Failed { key, error }) if key == wanted => {
                return Err(LabError::from(error).into());
            }
            LabEvent::Guest(GuestEvent::Lost { key, error }) if key == wanted => {
                return Err(LabError::Lost(error).into());
            }
            _ => {}
        }
    }
    Ok(None)
}

fn described(error: &StartError) -> ScriptedError {
    match start::failure(error) {
        Readiness::Failed(message) => ScriptedError::Start(message),
        Readiness::Ready => unreachable!("a failure is none"),
    }
}
