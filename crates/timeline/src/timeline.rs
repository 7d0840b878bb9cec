//! A timeline to read: from a journal's folder or a `.vmcast`, the same afterwards.

use std::path::Path;
use std::sync::Arc;

use stackvm_machine::Instant;
use stackvm_store::{Chunks, ReadError};
use thiserror::Error;

use crate::branch::{Branch, BranchId};
use crate::event::{ActorId, Entry};
use crate::header::Header;
use crate::keyframe::Keyframe;
use crate::note::Note;
use crate::position::{Position, When};
use crate::track::TrackItem;

/// Why a timeline cannot be opened or read. Each says which file, where in it, and what to do.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The host cannot read it.
    #[error("cannot read {place}")]
    Io {
        /// File and part.
        place: String,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// It is something else, or too damaged to say what.
    #[error("{place} is not a recording: {problem}")]
    NotOne {
        /// File.
        place: String,
        /// Why not.
        problem: String,
    },
    /// A part of it is damaged.
    #[error("{place} is damaged: {problem}")]
    Damaged {
        /// File and part.
        place: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// It is from another version of this program.
    #[error("{place} was made for {found}; this program plays {expected}")]
    Version {
        /// File.
        place: String,
        /// What it needs.
        found: String,
        /// What there is.
        expected: String,
    },
    /// Something in it is beyond [`crate::limits`].
    #[error("{place} has {count} {what}: at most {max} are possible")]
    TooMuch {
        /// File and part.
        place: String,
        /// Of what.
        what: &'static str,
        /// How much.
        count: u64,
        /// The limit.
        max: u64,
    },
    /// Chunks are missing or damaged.
    #[error(transparent)]
    Chunks(#[from] ReadError),
}

/// Why a [`When`] is nowhere.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{0}")]
pub struct NoSuchInstant(pub String);

/// A timeline as it was when it was opened.
#[derive(Debug)]
pub struct Timeline {}

impl Timeline {
    /// Opens a `.vmcast` file or a journal's folder.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(_path: &Path) -> Result<Timeline, OpenError> {
        unimplemented!()
    }

    /// What it starts from.
    pub fn header(&self) -> &Header {
        unimplemented!()
    }

    /// All branches, deleted ones included, by [`BranchId`].
    pub fn branches(&self) -> &[Branch] {
        unimplemented!()
    }

    /// Name of an actor.
    pub fn actor(&self, _actor: ActorId) -> &str {
        unimplemented!()
    }

    /// All keyframes, by branch and instant. The first one of a branch that is no fork is always
    /// there.
    pub fn keyframes(&self) -> &[Keyframe] {
        unimplemented!()
    }

    /// Marks and comments, by branch and instant.
    pub fn notes(&self) -> &[Note] {
        unimplemented!()
    }

    /// The chunks of all keyframes (and, in a `.vmcast`, of boot files and disks).
    pub fn chunks(&self) -> Arc<dyn Chunks> {
        unimplemented!()
    }

    /// A branch's own entries from the `first`-th (counted from 0) on.
    ///
    /// # Errors
    /// Each item may be an [`OpenError`]: after it there are no more.
    pub fn entries(
        &self,
        _branch: BranchId,
        _first: u64,
    ) -> Box<dyn Iterator<Item = Result<Entry, OpenError>> + '_> {
        unimplemented!()
    }

    /// A branch's own output track. May end early or be empty: it can be made again.
    ///
    /// # Errors
    /// As [`Timeline::entries`].
    pub fn track(
        &self,
        _branch: BranchId,
    ) -> Box<dyn Iterator<Item = Result<TrackItem, OpenError>> + '_> {
        unimplemented!()
    }

    /// The instant at which a branch's path begins: its root's first keyframe.
    pub fn begin(&self, _branch: BranchId) -> Instant {
        unimplemented!()
    }

    /// The branches from the root to `branch`, each with the place at which the next one leaves it
    /// (the last one: its end).
    pub fn path(&self, _branch: BranchId) -> Vec<Position> {
        unimplemented!()
    }

    /// The place on a branch's path that `when` names.
    ///
    /// # Errors
    /// [`NoSuchInstant`] with the marks or the range there are.
    pub fn find(&self, _branch: BranchId, _when: &When) -> Result<Position, NoSuchInstant> {
        unimplemented!()
    }
}
