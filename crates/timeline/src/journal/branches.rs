//! Branches of a journal: begun, resumed, named, deleted.

use stackvm_machine::Instant;

use super::manifest::BranchInfo;
use super::track_file::TrackFile;
use super::writer::LogFiles;
use super::{Journal, JournalError, at_most, check_name, paths, read};
use crate::branch::{BranchId, BranchKind, Origin};
use crate::limits::{BRANCHES_MAX, NAME_BYTES_MAX};
use crate::timeline::Piece;

impl Journal {
    /// Begins a branch, which grows from now on. A branch that is no fork needs its first keyframe
    /// next.
    ///
    /// # Errors
    /// See [`JournalError`].
    ///
    /// # Panics
    /// When it leaves a branch where that never was, or begins the timeline once more.
    pub fn begin_branch(
        &mut self,
        origin: Origin,
        at: Instant,
        name: &str,
        author: &str,
        kind: BranchKind,
        created_unix_ms: u64,
    ) -> Result<BranchId, JournalError> {
        check_name("the branch", name)?;
        self.check_free(name)?;
        at_most("bytes in an author's name", author.len(), NAME_BYTES_MAX)?;
        at_most("branches", self.branches.len() + 1, BRANCHES_MAX)?;
        self.branches[self.grows.0 as usize] = self.grown();
        match origin {
            Origin::Start => panic!("a timeline begins once"),
            Origin::Fork(fork) => {
                let parent = &self.branches[fork.branch.0 as usize];
                let was = fork.at <= parent.end && fork.entries <= parent.entries;
                assert!(was && fork.at == at, "a fork where its parent never was");
            }
            Origin::Gap { after } => assert!((after.0 as usize) < self.branches.len()),
        }
        let info = BranchInfo {
            origin,
            name: name.to_owned(),
            author: author.to_owned(),
            created_unix_ms,
            kind,
            deleted: false,
            base: None,
            has_files: true,
            fold: None,
        };
        let id = BranchId(self.branches.len() as u32);
        let mut manifest = self.manifest.clone();
        manifest.branches.push(info.clone());
        manifest.grows = id;
        self.log.sync()?;
        let log =
            LogFiles::create(&paths::log(&self.folder, id), &paths::tail(&self.folder, id), 0, at)?;
        let track = TrackFile::open(&paths::track(&self.folder, id), 0, 0)?;
        self.close_track();
        self.write_manifest(manifest)?;
        self.branches.push(info.branch(0, at));
        self.logs.push(Vec::new());
        self.tracks.push(Vec::new());
        self.change_files(id, log, track);
        Ok(id)
    }

    /// Lets another branch grow from its end. Of its output track, what was written after its last
    /// keyframe is dropped: a replay from there makes it again.
    ///
    /// # Errors
    /// See [`JournalError`].
    ///
    /// # Panics
    /// When there is no such branch.
    pub fn resume_branch(&mut self, branch: BranchId) -> Result<(), JournalError> {
        let n = branch.0 as usize;
        assert!(n < self.branches.len(), "no branch {n}");
        self.log.sync()?;
        let kept = self.keyframes().filter(|k| k.branch == branch).map(|k| k.track_bytes).max();
        let kept = kept.unwrap_or(0);
        let track_path = paths::track(&self.folder, branch);
        if self.grows == branch {
            self.track.flush()?;
            let base = read::track_bytes(&self.tracks[n]);
            let end = kept.saturating_sub(base).min(self.track.end());
            self.track = TrackFile::open(&track_path, self.track.start(), end)?;
            return Ok(());
        }
        let (log_path, tail_path) =
            (paths::log(&self.folder, branch), paths::tail(&self.folder, branch));
        let mut manifest = self.manifest.clone();
        manifest.grows = branch;
        let info = &mut manifest.branches[n];
        let written = read::track_bytes(&self.tracks[n]);
        let (log, end) = if info.has_files {
            let (entries, base) = info.base.map_or((0, 0), |base| (base.entries, base.track_bytes));
            let start = read::LogStart { offset: 0, first_entry: entries };
            let start = info.fold.map_or(start, read::LogStart::of);
            let (_, found) = read::find_end(&log_path, &tail_path, start)?;
            let folded = info.fold.map_or(0, |fold| fold.track_start);
            let written = written.saturating_sub(base) + folded;
            let end = kept.saturating_sub(base).min(written);
            (LogFiles::open(&log_path, &tail_path, &found)?, end)
        } else {
            let base = info.base.as_mut().expect("a branch without files is in the base");
            base.track_bytes = base.track_bytes.min(kept);
            info.has_files = true;
            (LogFiles::create(&log_path, &tail_path, base.entries, base.end)?, 0)
        };
        let base_bytes = info.base.map_or(0, |base| base.track_bytes);
        let start = manifest.branches[n].fold.map_or(0, |fold| fold.track_start);
        let track = TrackFile::open(&track_path, start, end)?;
        self.close_track();
        self.write_manifest(manifest)?;
        if log.tail().entries > 0 {
            // The open block is the writer's from here on.
            self.logs[n].pop();
        }
        self.tracks[n] = read::cut_track(&self.tracks[n], base_bytes);
        self.change_files(branch, log, track);
        Ok(())
    }

    /// Gives a branch another name.
    ///
    /// # Errors
    /// See [`JournalError`].
    ///
    /// # Panics
    /// When there is no such branch.
    pub fn rename_branch(&mut self, branch: BranchId, name: &str) -> Result<(), JournalError> {
        let n = branch.0 as usize;
        if self.branches[n].name == name {
            return Ok(());
        }
        check_name("the branch", name)?;
        self.check_free(name)?;
        let mut manifest = self.manifest.clone();
        name.clone_into(&mut manifest.branches[n].name);
        self.write_manifest(manifest)?;
        name.clone_into(&mut self.branches[n].name);
        Ok(())
    }

    /// Deletes a branch and those that leave it.
    ///
    /// # Errors
    /// See [`JournalError`]; [`JournalError::Needed`] for the trunk and for what the branch that
    /// grows needs.
    ///
    /// # Panics
    /// When there is no such branch.
    pub fn delete_branch(&mut self, branch: BranchId) -> Result<(), JournalError> {
        let mut gone = vec![false; self.branches.len()];
        gone[branch.0 as usize] = true;
        for (n, other) in self.branches.iter().enumerate() {
            if let Origin::Fork(fork) = other.origin {
                gone[n] |= gone[fork.branch.0 as usize];
            }
        }
        if branch == BranchId::TRUNK || gone[self.grows.0 as usize] {
            return Err(JournalError::Needed(self.branches[branch.0 as usize].name.clone()));
        }
        let mut manifest = self.manifest.clone();
        for (info, gone) in manifest.branches.iter_mut().zip(&gone) {
            info.deleted |= gone;
        }
        self.write_manifest(manifest)?;
        for (branch, gone) in self.branches.iter_mut().zip(&gone) {
            branch.deleted |= gone;
        }
        Ok(())
    }

    fn check_free(&self, name: &str) -> Result<(), JournalError> {
        if self.branches.iter().all(|branch| branch.deleted || branch.name != name) {
            return Ok(());
        }
        let problem = "is the name of another branch already".to_owned();
        Err(JournalError::Name { what: "the branch", name: name.to_owned(), problem })
    }

    /// Writes what there is of the track. That it cannot be written loses nothing that a replay
    /// would not make again.
    fn close_track(&mut self) {
        let _ = self.track.flush();
    }

    /// Lets another branch grow, whose files are open.
    fn change_files(&mut self, branch: BranchId, log: LogFiles, track: TrackFile) {
        let former = self.grows.0 as usize;
        let tail = self.log.tail();
        let pieces: Vec<Piece> = self.grown_pieces().collect();
        self.logs[former].extend(pieces);
        self.tracks[former].extend(self.track.part());
        (self.branches[former].entries, self.branches[former].end) = (tail.count(), tail.reached);
        self.log = log;
        self.track = track;
        self.grows = branch;
    }
}
