//! A journal that nobody writes any more, on its way into a `.vmcast`.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::{JournalError, files, paths};
use crate::timeline::Timeline;

/// A journal whose writer has ended, locked so that there is no other one. Unlike
/// [`Journal::open`](super::Journal::open) it drops nothing of what was written.
#[derive(Debug)]
pub struct EndedJournal {
    folder: PathBuf,
    timeline: Timeline,
    /// Holds the lock.
    _lock: File,
}

impl EndedJournal {
    /// Locks the journal in `folder` and reads it. `owner` is told to others that want to write it.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn open(folder: &Path, owner: &str) -> Result<EndedJournal, JournalError> {
        let lock = paths::lock(folder, owner)?;
        let timeline = Timeline::open(folder)?;
        Ok(EndedJournal { folder: folder.to_owned(), timeline, _lock: lock })
    }

    /// All of it.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// Removes the folder: after it was written to a `.vmcast`.
    ///
    /// # Errors
    /// [`JournalError::Write`].
    pub fn remove(self) -> Result<(), JournalError> {
        // The lock stays until the folder is gone.
        std::fs::remove_dir_all(&self.folder).map_err(files::failed(&self.folder))
    }
}
