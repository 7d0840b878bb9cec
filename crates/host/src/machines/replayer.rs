//! A kept machine's exact state at instants: what a replay computes, where the output track only
//! tells what terminals had shown by then.
//!
//! The recording may be somebody else's, so it is replayed by a process of its own, which is locked
//! in before it reads any of it. It stays for the next instant, since what it has in memory by then
//! makes that quick: a drag through an hour is one process. Owns that process and what is said to
//! it; what it does is in `process`. How many there are and how long they stay is whoever's asks.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant as WallInstant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use stackvm_machine::{ConsoleId, Instant};

use super::spawn::{lab_command, last_words, program};
use super::{LOG_FILE, Machines, MachinesError, io_error};
use crate::protocol::{PICTURE_BYTES_MAX, Picture};

/// The argument of the program's command for labs that makes it a replayer.
pub(crate) const REPLAYS: &str = "--replays";
/// How far it stands back behind machines that run, as for `nice`.
const NICENESS: i32 = 10;
/// How often to look whether an answer is wanted.
const WANTED_LOOK: Duration = Duration::from_millis(20);
/// How long it may take to give an instant up; then it is ended.
const GIVE_UP_LIMIT: Duration = Duration::from_secs(1);
/// Most bytes of an answer, against a recording that has broken out of its replay: each byte of a
/// picture is a number and a comma.
const ANSWER_BYTES_MAX: usize = 4 * PICTURE_BYTES_MAX + (64 << 10);

/// A machine at an instant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exact {
    /// The instant: the first instruction boundary from the one on that was asked for.
    pub at: Instant,
    /// Instructions that all harts together had executed.
    pub instructions: u64,
    /// The digest of its whole state, in hexadecimal.
    pub digest: String,
    /// What the terminal showed; its `screen` draws it.
    pub picture: Picture,
}

/// What a replayer is asked, in a line of JSON on its standard input; an empty line gives it up.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ask {
    pub(crate) console: ConsoleId,
    pub(crate) at_ticks: u64,
    /// Most bytes of RAM that states which it keeps for the next instants refer to.
    pub(crate) kept_bytes_max: u64,
}

/// What it answers, in a line of JSON on its standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Told {
    /// The machine's state.
    Exact { at_ticks: u64, instructions: u64, digest: String, picture: Picture },
    /// It is not wanted any more.
    GivenUp,
    /// The journal is from one instant to another.
    Never { begin_ticks: u64, end_ticks: u64 },
    /// It cannot be computed.
    Failed(String),
}

/// A process that replays a kept machine's past. It ends when this is dropped, or whoever has it
/// ends.
#[derive(Debug)]
pub struct Replayer {
    of: String,
    log: PathBuf,
    child: Child,
    asks: ChildStdin,
    answers: ChildStdout,
    is_fit: bool,
}

impl Machines {
    /// Starts a replayer of a kept machine's past.
    ///
    /// # Errors
    /// [`MachinesError::Unknown`], [`MachinesError::NoPast`], [`MachinesError::Io`].
    pub fn replayer(&self, id: &str) -> Result<Replayer, MachinesError> {
        self.journal(id)?;
        let (exe, folder) = (program()?, self.existing_folder(id)?);
        let log = folder.join(LOG_FILE);
        let spawned = lab_command(&exe, self.sandbox, &log)?
            .arg(REPLAYS)
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(io_error("run", &exe))?;
        // One that cannot stand back is in the way, and as good.
        let pid = rustix::process::Pid::from_child(&child);
        let _ = rustix::process::setpriority_process(Some(pid), NICENESS);
        let (asks, answers) = (child.stdin.take(), child.stdout.take());
        let (asks, answers) = (asks.expect("it is piped"), answers.expect("it is piped"));
        Ok(Replayer { of: id.to_owned(), log, child, asks, answers, is_fit: true })
    }
}

impl Replayer {
    /// The machine's id.
    pub fn of(&self) -> &str {
        &self.of
    }

    /// Whether it can be asked again; one that has failed must be dropped.
    pub fn is_fit(&self) -> bool {
        self.is_fit
    }

    /// Computes the machine's state at an instant. It is given up when `is_wanted` says so. What is
    /// kept for the next instants takes at most so many bytes of memory.
    ///
    /// # Errors
    /// [`MachinesError::Unwanted`], [`MachinesError::Never`]; [`MachinesError::Start`] with what is
    /// wrong with the recording, or [`MachinesError::Died`].
    ///
    /// # Panics
    /// When it is not fit.
    pub fn exact(
        &mut self,
        console: ConsoleId,
        at: Instant,
        kept_bytes_max: u64,
        is_wanted: &dyn Fn() -> bool,
    ) -> Result<Exact, MachinesError> {
        assert!(self.is_fit, "one that has failed is dropped");
        // Until there is an answer it owes one.
        self.is_fit = false;
        let ask = Ask { console, at_ticks: at.ticks(), kept_bytes_max };
        let told = self.say(&ask).and_then(|()| self.hear(is_wanted));
        let told = match told {
            Ok(Some(line)) => serde_json::from_slice(&line).map_err(io::Error::from),
            Ok(None) => return Err(MachinesError::Unwanted(self.of.clone())),
            Err(error) => Err(error),
        };
        let told = told.map_err(|_| self.died())?;
        self.is_fit = !matches!(told, Told::Failed(_));
        match told {
            Told::Exact { at_ticks, instructions, digest, picture } => {
                Ok(Exact { at: Instant::from_ticks(at_ticks), instructions, digest, picture })
            }
            Told::GivenUp => Err(MachinesError::Unwanted(self.of.clone())),
            Told::Never { begin_ticks, end_ticks } => Err(MachinesError::Never {
                id: self.of.clone(),
                at,
                begin: Instant::from_ticks(begin_ticks),
                end: Instant::from_ticks(end_ticks),
            }),
            Told::Failed(problem) => Err(MachinesError::Start(problem)),
        }
    }

    fn say(&mut self, ask: &Ask) -> io::Result<()> {
        let mut line = serde_json::to_vec(ask)?;
        line.push(b'\n');
        self.asks.write_all(&line)
    }

    /// Its line, which it is told to be quick with when nobody wants it any more; `None` if it is
    /// not.
    fn hear(&mut self, is_wanted: &dyn Fn() -> bool) -> io::Result<Option<Vec<u8>>> {
        let look = Timespec::try_from(WANTED_LOOK).map_err(io::Error::other)?;
        let mut line = Vec::new();
        let mut end: Option<WallInstant> = None;
        loop {
            match poll(&mut [PollFd::new(&self.answers, PollFlags::IN)], Some(&look)) {
                Ok(0) | Err(Errno::INTR) => {}
                ready => {
                    ready?;
                    let mut part = [0; 16 << 10];
                    let count = self.answers.read(&mut part)?;
                    line.extend_from_slice(&part[..count]);
                    if line.ends_with(b"\n") {
                        return Ok(Some(line));
                    }
                    if count == 0 || line.len() > ANSWER_BYTES_MAX {
                        return Err(io::ErrorKind::InvalidData.into());
                    }
                }
            }
            match end {
                None if !is_wanted() => {
                    self.asks.write_all(b"\n")?;
                    end = Some(WallInstant::now() + GIVE_UP_LIMIT);
                }
                Some(end) if WallInstant::now() >= end => return Ok(None),
                _ => {}
            }
        }
    }

    fn died(&mut self) -> MachinesError {
        let _ = self.child.kill();
        let status = self.child.wait();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        MachinesError::Died { status, log: last_words(&self.log) }
    }
}

impl Drop for Replayer {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
