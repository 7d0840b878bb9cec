//! Computing states from a timeline.
//!
//! Owns a machine that is somewhere in a timeline, and the ways to get it elsewhere: forward by
//! putting in what was put in, back by starting from a state before. The machine computes exactly
//! what it computed when it was recorded; [`Replay::verify`] and every keyframe passed on the way
//! check that. At what pace it is shown, and what happens on a branch of one's own, is not known
//! here.

mod config;
#[cfg(unix)]
mod elsewhere;
mod kept;
mod path;
mod run;
mod seek;
mod verify;

use std::ops::Range;
use std::sync::Arc;

use stackvm_machine::digest::Digest;
use stackvm_machine::persist::StateTrees;
use stackvm_machine::{ConfigError, Instant, Machine, MachineConfig, Output, WatchedStore};
use thiserror::Error;

use crate::branch::BranchId;
use crate::header::ConfigureError;
use crate::keyframe::KeyframeError;
use crate::position::Position;
use crate::screen::{Derived, Screens};
use crate::timeline::{OpenError, Timeline};
use config::Configuration;
#[cfg(unix)]
pub use elsewhere::FirstKeyframe;
use kept::KeptStates;
use path::Path;

/// Why a replay cannot go on.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The timeline cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// What the machine was made from is not there any more.
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    /// A keyframe's state is none that a machine could be in.
    #[error("the keyframe at {at} cannot be used")]
    Keyframe {
        /// Which.
        at: Instant,
        /// What is wrong with it.
        #[source]
        error: KeyframeError,
    },
    /// The machine did not come to the state that was recorded.
    #[error("the replay differs from the recording: at {at} in {component}")]
    Diverged {
        /// The first keyframe or entry at which it does.
        at: Instant,
        /// The last keyframe at which it did not.
        fine_until: Instant,
        /// The first component that differs.
        component: String,
    },
    /// The machine cannot be switched on anew.
    #[error("the machine cannot be reset at {at}")]
    Reset {
        /// When it was.
        at: Instant,
        /// Why not.
        #[source]
        error: ConfigError,
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
    /// At the end of the branch, or where the machine went off for good.
    End,
}

/// Where a seek ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sought {
    /// Where it was to go.
    There,
    /// On the way: it was not wanted any more.
    GivenUp,
}

/// A machine somewhere in a timeline.
pub struct Replay {
    timeline: Arc<Timeline>,
    configuration: Configuration,
    path: Path,
    machine: Machine,
    screens: Screens,
    /// Hashes of whatever state was digested last.
    trees: StateTrees,
    kept: KeptStates,
    /// Instructions retired since a state was kept or this one was begun from.
    unkept_work: u64,
    /// The last keyframe at which it was right.
    fine_until: Instant,
    /// Keyframes, by index, that are no use: they cannot be loaded, or the replay differs there.
    distrusted: Vec<usize>,
    /// Physical addresses to which stores end a run.
    watching: Range<u64>,
}

/// What a reset of a machine needs and nothing else does: kernel, initial RAM disk, firmware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Boot {
    /// It is read, and stays in memory.
    Read,
    /// Whoever has the machine reads it when there is a reset.
    Later,
}

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
    pub fn new(timeline: Arc<Timeline>) -> Result<Replay, ReplayError> {
        let at = timeline.begin(BranchId::TRUNK);
        Replay::near(timeline, Position { branch: BranchId::TRUNK, at, entries: Some(0) })
    }

    /// At the last keyframe on the way to a place, for a seek there: no other is read.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn near(timeline: Arc<Timeline>, to: Position) -> Result<Replay, ReplayError> {
        let configuration = Configuration::new(&timeline)?;
        let mut trees = StateTrees::new(configuration.shape());
        let mut kept = KeptStates::default();
        let path = Path::new(timeline.clone(), to.branch);
        let (state, distrusted) =
            seek::first_state(&path, &timeline, &configuration, &mut trees, &mut kept, to)?;
        let mut replay = Replay {
            machine: Machine::thaw(&state.frozen),
            screens: Screens::from_derived(&state.derived),
            fine_until: state.frozen.instant(),
            timeline,
            configuration,
            path,
            trees,
            kept,
            unkept_work: 0,
            distrusted,
            watching: 0..0,
        };
        replay.path.go_to(state.place.branch, state.place.entries);
        Ok(replay)
    }

    /// Its timeline.
    pub fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    /// The branch whose path is played. [`Replay::position`] is on one of its ancestors before
    /// the branch leaves it.
    pub fn branch(&self) -> BranchId {
        self.path.branch()
    }

    /// Where it is: on the branch that has the entries around here, with how many of them have
    /// been put in.
    pub fn position(&self) -> Position {
        let (branch, entries) = self.path.place();
        Position { branch, at: self.machine.now(), entries: Some(entries) }
    }

    /// Goes to a place: from the nearest keyframe, of the timeline or kept in memory from earlier
    /// runs. Undelivered entries are not lost: running on puts them in.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn seek(&mut self, to: Position) -> Result<(), ReplayError> {
        self.seek_while(to, &mut || true).map(|_| ())
    }

    /// Goes to a place as long as `is_wanted` says so, which is asked every few milliseconds of work.
    /// When it is given up, the replay is somewhere on the way.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn seek_while(
        &mut self,
        to: Position,
        is_wanted: &mut dyn FnMut() -> bool,
    ) -> Result<Sought, ReplayError> {
        seek::seek(self, to, is_wanted)
    }

    /// Runs forward on its branch, at most to its end; what leaves the machine goes to `outputs`
    /// with the instant at the end of the slice it was in (a millisecond, or less).
    ///
    /// # Errors
    /// See [`ReplayError`]. After [`ReplayError::Diverged`] it may be run on: from a state that
    /// was not recorded.
    pub fn run(
        &mut self,
        until: Instant,
        outputs: &mut dyn FnMut(Instant, &Output),
    ) -> Result<Reached, ReplayError> {
        run::run(self, run::Goal::all_until(until), run::Pace::Watched, outputs)
    }

    /// Runs until the next entry has been put in.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn step_entry(
        &mut self,
        outputs: &mut dyn FnMut(Instant, &Output),
    ) -> Result<Reached, ReplayError> {
        let Some(goal) = run::Goal::next_entry(self)? else {
            run::run(self, run::Goal::all_until(Instant::MAX), run::Pace::Watched, outputs)?;
            return Ok(Reached::End);
        };
        run::run(self, goal, run::Pace::Watched, outputs)
    }

    /// Runs one instruction (or to the next event, when every hart waits).
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub fn step_instruction(
        &mut self,
        outputs: &mut dyn FnMut(Instant, &Output),
    ) -> Result<Reached, ReplayError> {
        let goal = run::Goal::next_instruction(self)?;
        run::run(self, goal, run::Pace::Watched, outputs)
    }

    /// The machine, to look at.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The machine's digest here.
    pub fn digest(&mut self) -> Digest {
        self.machine.freeze().digest(&mut self.trees)
    }

    /// What terminals show here.
    pub fn screens(&self) -> &Screens {
        &self.screens
    }

    /// A machine that goes its own way from here. This replay is not touched.
    ///
    /// # Errors
    /// [`ReplayError::Configure`] when kernel, initial RAM disk or firmware cannot be read.
    pub fn depart(&mut self, boot: Boot) -> Result<Departure, ReplayError> {
        let frozen = self.machine.freeze();
        let boot = match boot {
            Boot::Read => self.configuration.boot()?,
            Boot::Later => self.configuration.shape(),
        };
        let config = MachineConfig {
            seed: frozen.config().seed,
            rtc_ns: frozen.config().rtc_ns,
            ..boot.clone()
        };
        Ok(Departure {
            machine: Machine::thaw(&frozen),
            config,
            derived: self.screens.derived(),
            from: self.position(),
        })
    }

    /// Has states that it keeps in memory refer to at most so many bytes of RAM; a GiB, if it is not
    /// said.
    pub fn keep_at_most(&mut self, bytes: u64) {
        self.kept.keep_at_most(bytes);
    }

    /// Keeps the state here in memory, for seeks that come back.
    pub fn keep(&mut self) {
        run::keep(self);
    }

    /// Has [`Replay::run_watched`] stop at stores into a range of physical addresses; an empty one
    /// ends it.
    pub(crate) fn watch(&mut self, range: Range<u64>) {
        self.machine.watch(range.clone());
        self.watching = range;
    }

    /// Runs until something is stored into the watched range, at most to the end of the branch;
    /// what was stored is empty there.
    pub(crate) fn run_watched(&mut self) -> Result<Vec<WatchedStore>, ReplayError> {
        loop {
            let reached = run::run(
                self,
                run::Goal::all_until(Instant::MAX),
                run::Pace::Blind,
                &mut |_, _| {},
            )?;
            let stores = self.machine.take_watched();
            if !stores.is_empty() || reached == Reached::End {
                return Ok(stores);
            }
        }
    }

    /// Replays a branch from its first keyframe and compares at every keyframe on the way;
    /// `progress` is told each one that is right and may say stop. Keyframes that cannot be read
    /// are errors here.
    ///
    /// # Errors
    /// [`ReplayError::Diverged`] with the first differing component, or another.
    pub fn verify(
        &mut self,
        branch: BranchId,
        progress: &mut dyn FnMut(&crate::Keyframe) -> bool,
    ) -> Result<(), ReplayError> {
        verify::verify(self, branch, progress)
    }
}
