//! A replayer: the process that computes what a kept machine was at one instant after another.
//!
//! The recording is hostile: its maker is whom all checks are for. So this process locks itself in
//! before it opens it, reads nothing else of this computer but images and the machine's own files,
//! and writes nothing but its answers.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use stackvm_machine::Instant;
use stackvm_timeline::replay::{Replay, Sought};
use stackvm_timeline::{BranchId, Position, Timeline};

use super::start::{StartError, in_a_line};
use super::{believed, confine};
use crate::lab::Terminal;
use crate::machines::replayer::{Ask, Told};
use crate::machines::{JOURNAL_FOLDER, MachineSpec, spec};
use crate::sandbox::{self, Plan, Sandbox};

/// Longest line that is asked.
const ASK_BYTES_MAX: usize = 4096;

/// Replays the past of the machine in `folder` (`machines/NAME` in the data directory) as it is asked
/// on standard input, until that ends.
pub fn replay_main(folder: &Path, sandbox: Sandbox) -> ExitCode {
    // The starter's terminal and its signals are not its own. It fails only when it is so already.
    let _ = rustix::process::setsid();
    let mut replayer = Replayer::locked_in(folder, sandbox);
    while let Some(line) = next_line() {
        // Whoever gave up what was answered already says so for nothing.
        if line.is_empty() {
            continue;
        }
        let told = match &mut replayer {
            Ok(replayer) => replayer.told(&line),
            Err(error) => Told::Failed(in_a_line(error)),
        };
        if answer(&told).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

struct Replayer {
    journal: PathBuf,
    spec: MachineSpec,
    data: PathBuf,
    /// Where it is by now.
    replay: Option<Replay>,
}

impl Replayer {
    fn locked_in(folder: &Path, sandbox: Sandbox) -> Result<Replayer, StartError> {
        let find = |error| StartError::io("find the machine", error);
        let folder = std::path::absolute(folder).map_err(find)?;
        let data = folder.ancestors().nth(2).unwrap_or(&folder).canonicalize().map_err(find)?;
        let spec = spec::read(&folder)?;
        let journal = folder.join(JOURNAL_FOLDER).canonicalize().map_err(find)?;
        if sandbox == Sandbox::On {
            let mut read = vec![journal.clone(), data.join("images")];
            read.extend(confine::files(&spec));
            sandbox::enter(&Plan { read, ..Plan::default() })?;
        }
        Ok(Replayer { journal, spec, data, replay: None })
    }

    fn told(&mut self, line: &[u8]) -> Told {
        let told = serde_json::from_slice(line).map_err(|error| error.to_string());
        told.and_then(|ask| self.tell(&ask)).unwrap_or_else(Told::Failed)
    }

    fn tell(&mut self, ask: &Ask) -> Result<Told, String> {
        let words = |error: &dyn std::error::Error| in_a_line(error);
        let at = Instant::from_ticks(ask.at_ticks);
        let to = Position { branch: BranchId::TRUNK, at, entries: None };
        // What was its end when it was opened may be its middle by now.
        self.replay.take_if(|replay| at > range(replay.timeline()).1);
        if self.replay.is_none() {
            let timeline = Timeline::open(&self.journal).map_err(|error| words(&error))?;
            believed::check(&self.journal, timeline.header(), None, &self.spec, &self.data)
                .map_err(|error| words(&error))?;
            let (begin, end) = range(&timeline);
            if at < begin || at > end {
                return Ok(never(begin, end));
            }
            let replay = Replay::near(Arc::new(timeline), to).map_err(|error| words(&error))?;
            self.replay = Some(replay);
        }
        let replay = self.replay.as_mut().expect("there is one now");
        let (begin, end) = range(replay.timeline());
        if at < begin {
            return Ok(never(begin, end));
        }
        replay.keep_at_most(ask.kept_bytes_max);
        let sought = replay.seek_while(to, &mut || !is_told()).map_err(|error| words(&error))?;
        if sought == Sought::GivenUp {
            return Ok(Told::GivenUp);
        }
        let at = replay.position().at;
        let derived = replay.screens().derived();
        let screen = derived.screens.iter().find(|screen| screen.console == ask.console);
        let terminal = screen.map_or_else(Terminal::default, Terminal::restored);
        Ok(Told::Exact {
            at_ticks: at.ticks(),
            instructions: replay.machine().retired(),
            digest: replay.digest().to_string(),
            picture: terminal.picture(Instant::ZERO, 0, at),
        })
    }
}

/// From when until when it is recorded.
fn range(timeline: &Timeline) -> (Instant, Instant) {
    (timeline.begin(BranchId::TRUNK), timeline.branch(BranchId::TRUNK).end)
}

fn never(begin: Instant, end: Instant) -> Told {
    Told::Never { begin_ticks: begin.ticks(), end_ticks: end.ticks() }
}

/// Whether something was said to it, or standard input has ended.
fn is_told() -> bool {
    let stdin = rustix::stdio::stdin();
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&now)).is_ok_and(|count| count > 0)
}

/// The next line without its end; `None` when there is no more. Read byte for byte, so that
/// [`is_told`] knows of the rest.
fn next_line() -> Option<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let mut byte = [0];
        match rustix::io::read(rustix::stdio::stdin(), &mut byte) {
            Err(rustix::io::Errno::INTR) => {}
            Ok(1) if byte == *b"\n" => return Some(line),
            Ok(1) if line.len() < ASK_BYTES_MAX => line.push(byte[0]),
            _ => return None,
        }
    }
}

fn answer(told: &Told) -> io::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&line)?;
    stdout.flush()
}
