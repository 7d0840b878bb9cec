//! Breaking into a recording: a machine leaves it and is recorded as a new branch, in this process.
//!
//! Owns the step from a [`Departure`] to a [`Lab`] that grows a journal, and back. Whoever broke in
//! steps the lab and passes on what is typed; nothing here knows of terminals.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use stackvm_machine::instant::Ticks;
use stackvm_timeline::branch::{BranchKind, ForkPoint, Origin};
use stackvm_timeline::journal::{Journal, JournalError};
use stackvm_timeline::note::Words;
use stackvm_timeline::replay::Departure;
use stackvm_timeline::{BranchId, Position};

use crate::lab::{Actor, FreshIdentity, Lab, LabError};
use crate::recorder::{Last, Recorder, Token, Which};

/// What nobody waits for.
const NOBODY: Token = 0;

/// Virtual time that a guest has to take a new identity.
const FRESH_LIMIT: Ticks = Ticks::from_ns(60_000_000_000);

/// A new branch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewBranch {
    /// Its name, which no other branch has.
    pub name: String,
    /// Who begins it.
    pub author: String,
    /// Whether it is the same machine.
    pub kind: BranchKind,
}

/// A machine that has left its recording.
pub struct BreakIn {
    lab: Lab,
    journal: PathBuf,
    branch: BranchId,
    name: String,
}

impl BreakIn {
    /// Lets a machine leave its recording, and its branch grow in `journal`, which holds that
    /// recording.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn new(
        departure: Departure,
        mut journal: Journal,
        new: &NewBranch,
    ) -> Result<BreakIn, JournalError> {
        let Departure { machine, config, derived, from } = departure;
        let Position { branch, at, entries } = from;
        let entries = entries.expect("a departure knows how many entries it has had");
        let origin = Origin::Fork(ForkPoint { branch, at, entries });
        let now_ms = unix_ms();
        let branch = journal.begin_branch(origin, at, &new.name, &new.author, new.kind, now_ms)?;
        let folder = journal.folder().to_owned();
        let mut lab = Lab::with_machine(machine, config);
        lab.restore(&derived);
        lab.record(Recorder::go_on(journal, None)?);
        Ok(BreakIn { lab, journal: folder, branch, name: new.name.clone() })
    }

    /// The machine, to step and to type at.
    pub fn lab(&mut self) -> &mut Lab {
        &mut self.lab
    }

    /// Gives the machine a new identity, recorded as its branch's first inputs, and runs it until
    /// its guest has taken that.
    ///
    /// # Errors
    /// [`LabError`]: the guest may be in between.
    pub fn become_fresh(&mut self) -> Result<(), LabError> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| LabError::Fresh {
            code: 1,
            words: format!("no randomness: {error}"),
        })?;
        let identity = FreshIdentity {
            seed: u64::from_le_bytes(seed),
            rtc_ns: unix_ms() * 1_000_000,
            hostname: self.name.clone(),
        };
        let limit = self.lab.now() + FRESH_LIMIT;
        self.lab.become_fresh(&identity, limit)
    }

    /// Its branch.
    pub fn branch(&self) -> BranchId {
        self.branch
    }

    /// Does what the recording has to do behind the machine; the wall time at which there is more.
    /// To be called between steps.
    pub fn tend(&mut self, wall_ns: u64) -> Option<u64> {
        self.lab.tend(wall_ns)
    }

    /// Gives this instant a name or says something about it.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn note(&mut self, author: &str, words: Words) -> Result<(), String> {
        let now = self.lab.now();
        let Some(recorder) = self.lab.recorders().get(&self.journal) else { return Ok(()) };
        recorder.note(now, author, words).map_err(|error| error.to_string())
    }

    /// Takes a keyframe as soon as possible.
    ///
    /// # Errors
    /// Why not, for people.
    pub fn keyframe(&mut self) -> Result<(), String> {
        match self.lab.recorders().get(&self.journal) {
            Some(recorder) => recorder.take_keyframe(NOBODY),
            None => Ok(()),
        }
    }

    /// Ends the branch where the machine is and lets the journal go.
    ///
    /// # Errors
    /// What could not be written; everything before it is.
    pub fn finish(mut self) -> Result<(), String> {
        self.lab.end_recordings(Which::All, Last::Entry)
    }
}

/// Somebody at the keyboard.
pub fn actor(name: &str) -> Actor {
    Actor::Named(Arc::from(name))
}

fn unix_ms() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |age| age.as_millis() as u64)
}
