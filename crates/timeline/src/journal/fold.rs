//! Forgetting the beginning of a journal: everything before a keyframe is folded into it.
//!
//! The keyframe becomes the first one; older keyframes, entries, outputs, marks and comments are gone,
//! and the space of what only they needed is given back. Entries keep their numbers, so whoever knows
//! a place in the journal still does. Only a journal with one branch and without a base is folded.
//!
//! The manifest says first from where on there is anything; what is removed after that is what
//! nobody looks at any more, so a crash in between costs space until the next folding.

use stackvm_machine::Instant;

use super::manifest::{Fold, KeyframeRecord};
use super::{Journal, JournalError, files, paths, records};
use crate::branch::{BranchId, Folded};
use crate::log::BLOCK_HEADER_BYTES;

impl Journal {
    /// Folds everything before the keyframe at `to` into it; whether there was anything. Takes as
    /// long as writing what is rewritten.
    ///
    /// # Errors
    /// See [`JournalError`]: the journal begins where it did or at `to`, and the same call may be
    /// made again.
    pub fn fold(&mut self, to: Instant) -> Result<bool, JournalError> {
        let Some(fold) = self.fold_at(to) else { return Ok(false) };
        // No end of the log that may count after a power loss is before its beginning.
        self.sync()?;
        let mut manifest = self.manifest.clone();
        manifest.branches[0].fold = Some(fold);
        self.write_manifest(manifest)?;
        self.begin_at(&fold);
        self.notes_file = records::replace(&paths::notes(&self.folder), &self.notes)?;
        // The packs of what was the first keyframe are like any other's now.
        let former = std::mem::take(&mut self.manifest.packs);
        let gone = match self.keep_only(self.records.clone()) {
            Ok(gone) => gone,
            Err(error) => {
                self.manifest.packs = former;
                return Err(error);
            }
        };
        self.manifest.write(&self.folder)?;
        gone.iter().try_for_each(|name| files::remove(&self.folder.join(name)))?;
        Ok(true)
    }

    /// What is gone when the journal begins with the keyframe at `to`; `None` if it does, or cannot.
    fn fold_at(&self, to: Instant) -> Option<Fold> {
        let place = self.records.iter().position(|record| record.keyframe.at == to)?;
        if place == 0 || self.branches.len() > 1 || self.manifest.base.is_some() {
            return None;
        }
        let KeyframeRecord { keyframe, .. } = &self.records[place];
        let before = self.manifest.branches[0].fold;
        let mut start = before.map_or((0, 0), |fold| (fold.log_start, fold.log_first_entry));
        let all = self.logs[0].iter().cloned().chain(self.grown_pieces());
        if let Some(block) = all.take_while(|it| it.header.first_entry <= keyframe.entries).last() {
            start = (block.offset - BLOCK_HEADER_BYTES as u64, block.header.first_entry);
        }
        Some(Fold {
            at: to,
            entries: keyframe.entries,
            log_start: start.0,
            log_first_entry: start.1,
            track_start: keyframe.track_bytes,
        })
    }

    /// Knows nothing any more of what is before.
    fn begin_at(&mut self, fold: &Fold) {
        let trunk = BranchId::TRUNK.0 as usize;
        let (entries, track_bytes) = (fold.entries, fold.track_start);
        self.branches[trunk].folded = Folded { entries, track_bytes };
        self.logs[trunk].retain(|piece| piece.offset > fold.log_start);
        self.log.fold(fold.log_start);
        self.track.fold(fold.track_start);
        self.records.retain(|record| record.keyframe.at >= fold.at);
        self.notes.retain(|note| note.at >= fold.at);
    }
}
