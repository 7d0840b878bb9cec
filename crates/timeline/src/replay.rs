//! Computing states from a timeline.

use std::sync::Arc;

use stackvm_machine::digest::Digest;
use stackvm_machine::{Instant, Machine, MachineConfig, Output};
use thiserror::Error;

use crate::keyframe::Keyframe;
use crate::position::Position;
use crate::screen::Derived;
use crate::timeline::{OpenError, Timeline};

/// Why a replay cannot go on.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The timeline cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A keyframe's state is none that a machine could be in.
    #[error("the keyframe at {at} cannot be used: {problem}")]
    Keyframe {
        /// Which.
        at: Instant,
        /// What is wrong with it.
        problem: String,
    },
    /// The machine did not come to the state that was recorded.
    #[error("the replay differs from the recording: at {at} in {component}")]
    Diverged {
        /// The first keyframe at which it does.
        at: Instant,
        /// The last one at which it did not.
        fine_until: Instant,
        /// The first component that differs.
        component: String,
    },
    /// A condition of the host must be cured first.
    #[error("the replay cannot go on: {0}")]
    Stalled(String),
}

/// Where a run forward ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reached {
    /// Where it was asked to.
    Until,
    /// At the end of the branch.
    End,
}

/// A machine somewhere in a timeline.
pub struct Replay {}

/// A machine that leaves its timeline: for a branch that has inputs of its own.
pub struct Departure {
    /// The machine.
    pub machine: Machine,
    /// What it was made from, as of the last reset.
    pub config: MachineConfig,
    /// What its terminals show and which ports are open.
    pub derived: Derived,
    /// Where it left.
    pub from: Position,
}

impl Replay {
    /// At the beginning of the trunk.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn new(_timeline: Arc<Timeline>) -> Result<Replay, ReplayError> {
        unimplemented!()
    }

    /// Its timeline.
    pub fn timeline(&self) -> &Arc<Timeline> {
        unimplemented!()
    }

    /// Where it is: with the number of entries put in.
    pub fn position(&self) -> Position {
        unimplemented!()
    }

    /// Goes to a place: from the nearest keyframe, of the timeline or kept in memory from earlier
    /// runs. Undelivered entries are not lost: running on puts them in.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn seek(&mut self, _to: Position) -> Result<(), ReplayError> {
        unimplemented!()
    }

    /// Runs forward on its branch; what leaves the machine goes to `outputs` with the instant of
    /// the slice it was in.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn run(
        &mut self,
        _until: Instant,
        _outputs: &mut dyn FnMut(Instant, &Output),
    ) -> Result<Reached, ReplayError> {
        unimplemented!()
    }

    /// Runs until the next entry has been put in.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn step_entry(&mut self) -> Result<Reached, ReplayError> {
        unimplemented!()
    }

    /// Runs one instruction (or to the next event, when every hart waits).
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn step_instruction(&mut self) -> Result<Reached, ReplayError> {
        unimplemented!()
    }

    /// The machine, to look at.
    pub fn machine(&self) -> &Machine {
        unimplemented!()
    }

    /// The machine's digest here.
    pub fn digest(&mut self) -> Digest {
        unimplemented!()
    }

    /// What terminals show here.
    pub fn screens(&self) -> &crate::screen::Screens {
        unimplemented!()
    }

    /// A machine that goes its own way from here. This replay is not touched.
    pub fn depart(&mut self) -> Departure {
        unimplemented!()
    }

    /// Replays a branch from its first keyframe and compares at every keyframe on the way;
    /// `progress` is told each instant checked and may say stop.
    ///
    /// # Errors
    /// [`ReplayError::Diverged`] with the first differing component, or another.
    pub fn verify(
        &mut self,
        _branch: crate::branch::BranchId,
        _progress: &mut dyn FnMut(&Keyframe) -> bool,
    ) -> Result<(), ReplayError> {
        unimplemented!()
    }
}
