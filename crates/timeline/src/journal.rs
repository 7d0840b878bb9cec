//! A timeline that grows: a folder that survives the end of its process at any moment.

use std::path::{Path, PathBuf};

use stackvm_machine::{Instant, Output};
use thiserror::Error;

use crate::branch::{BranchId, BranchKind, Origin};
use crate::event::{ActorId, Entry};
use crate::header::Header;
use crate::keyframe::Keyframe;
use crate::note::Note;
use crate::timeline::{OpenError, Timeline};

/// Why a journal cannot be used.
#[derive(Debug, Error)]
pub enum JournalError {
    /// Another process writes it.
    #[error("{} is being written by {owner}", folder.display())]
    Locked {
        /// The journal.
        folder: PathBuf,
        /// Who has it, as they said.
        owner: String,
    },
    /// No space, and the like: nothing was lost, and the same call may be tried again.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// It cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// More than a timeline can have.
    #[error("{what}: at most {max} are possible")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// The limit.
        max: usize,
    },
}

/// Where a journal's appending ends are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tip {
    /// The branch that grows.
    pub branch: BranchId,
    /// Number of its own entries.
    pub entries: u64,
    /// How far it was shown.
    pub reached: Instant,
}

/// A journal, locked for writing.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Makes a journal in `folder`, which must not be there. `packs` hold the chunks of `first`, its
    /// first keyframe, and are linked or copied into it. `owner` is told to others that want to
    /// write it ("pid 17, stackvm record").
    ///
    /// # Errors
    /// See [`JournalError`]; nothing is left behind.
    pub fn create(
        _folder: &Path,
        _header: &Header,
        _packs: &[PathBuf],
        _first: &Keyframe,
        _owner: &str,
    ) -> Result<Journal, JournalError> {
        unimplemented!()
    }

    /// Makes a journal in `folder` that goes on from a `.vmcast`, whose packs it reads in place.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn extend(_folder: &Path, _vmcast: &Path, _owner: &str) -> Result<Journal, JournalError> {
        unimplemented!()
    }

    /// Opens a journal for writing and recovers what its last writer had written.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(_folder: &Path, _owner: &str) -> Result<Journal, JournalError> {
        unimplemented!()
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        unimplemented!()
    }

    /// The timeline as it is now.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn timeline(&self) -> Result<Timeline, OpenError> {
        unimplemented!()
    }

    /// Where it grows.
    pub fn tip(&self) -> Tip {
        unimplemented!()
    }

    /// The number of an actor, who is added if new.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn actor(&mut self, _name: &str) -> Result<ActorId, JournalError> {
        unimplemented!()
    }

    /// Writes an entry; it survives the end of this process when this returns, and a power loss
    /// after the next [`Journal::sync`].
    ///
    /// # Errors
    /// [`JournalError::Write`]: the entry is not written; the machine must not see it.
    ///
    /// # Panics
    /// When the entry is earlier than the tip.
    pub fn append(&mut self, _entry: &Entry) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Notes that the machine has got this far, in place; to be called before outputs up to there
    /// are shown.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn reach(&mut self, _at: Instant) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Adds to the output track. What is lost of it in a crash can be made again.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn output(&mut self, _at: Instant, _output: &Output) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Adds a mark or comment.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn note(&mut self, _note: &Note) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Begins a branch, which grows from now on. A branch that is no fork needs its first keyframe
    /// next.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn begin_branch(
        &mut self,
        _origin: Origin,
        _at: Instant,
        _name: &str,
        _author: &str,
        _kind: BranchKind,
        _created_unix_ms: u64,
    ) -> Result<BranchId, JournalError> {
        unimplemented!()
    }

    /// Lets another branch grow from its end.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn resume_branch(&mut self, _branch: BranchId) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Gives a branch another name.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn rename_branch(&mut self, _branch: BranchId, _name: &str) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Deletes a branch and those that leave it.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn delete_branch(&mut self, _branch: BranchId) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// A path in the journal's folder for writing the next keyframe's pack.
    pub fn new_pack_path(&mut self) -> PathBuf {
        unimplemented!()
    }

    /// Adds a keyframe, whose new chunks are in the finished and synced pack at `pack` (of
    /// [`Journal::new_pack_path`]).
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn add_keyframe(&mut self, _keyframe: &Keyframe, _pack: &Path) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Keeps only the keyframes for which `keep` says so, and the first ones; packs without a live
    /// chunk are removed, sparse ones rewritten.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn thin(&mut self, _keep: &dyn Fn(&Keyframe) -> bool) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Bytes of all keyframe packs.
    pub fn packs_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Makes what was written safe against a power loss (fdatasync); returns at once when nothing
    /// was written since.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn sync(&mut self) -> Result<(), JournalError> {
        unimplemented!()
    }

    /// Begins a sync on a thread of its own, so that a slow disk does not stop the machine.
    pub fn sync_in_background(&mut self) {
        unimplemented!()
    }

    /// Ends writing and removes the folder: after it was written to a `.vmcast`.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn remove(self) -> Result<(), JournalError> {
        unimplemented!()
    }
}
