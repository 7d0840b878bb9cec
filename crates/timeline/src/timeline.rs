//! A timeline to read: from a journal's folder or a `.vmcast`, the same afterwards.

mod blocks;
mod check;
mod entered;
mod find;
mod line;
mod picture;
#[cfg(test)]
mod tests;

#[cfg(unix)]
use std::path::Path;
use std::sync::Arc;

use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;
use stackvm_store::{Chunks, PackSet, ReadAt, ReadError};
use thiserror::Error;

use crate::branch::{Branch, BranchId, Origin};
use crate::event::{ActorId, Entry};
use crate::header::Header;
use crate::keyframe::Keyframe;
use crate::note::Note;
use crate::track::TrackItem;

pub use entered::Entered;
pub use line::LineShown;
pub(crate) use picture::draw;
pub use picture::{Activity, BINS_MAX, Bin, ENTERED_MAX};

pub(crate) use blocks::{Piece, TrackPart, scan_log};
#[cfg(unix)]
pub(crate) use blocks::{scan_block, track_extent};
#[cfg(unix)]
pub(crate) use check::name_problem;
pub(crate) use check::{is_blob, trees_of};

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

/// Longest slice after which a host tells what was printed in it.
const SLICE_MAX: Ticks = Ticks::from_ns(2_000_000);

/// A timeline as it was when it was opened.
#[derive(Clone, Debug)]
pub struct Timeline {
    parts: Parts,
    /// Keyframes of a branch are `keyframe_starts[branch]..keyframe_starts[branch + 1]`.
    keyframe_starts: Vec<usize>,
}

/// What a timeline consists of.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    /// The file or folder, for messages.
    pub(crate) place: String,
    pub(crate) header: Header,
    pub(crate) actors: Vec<String>,
    pub(crate) branches: Vec<Branch>,
    pub(crate) keyframes: Vec<Keyframe>,
    pub(crate) notes: Vec<Note>,
    pub(crate) chunks: PackSet,
    /// The blocks of each branch's log.
    pub(crate) logs: Vec<Vec<Piece>>,
    /// The parts of each branch's output track.
    pub(crate) tracks: Vec<Vec<TrackPart>>,
}

impl Timeline {
    /// Opens a `.vmcast` file or a journal's folder.
    ///
    /// # Errors
    /// See [`OpenError`].
    #[cfg(unix)]
    pub fn open(path: &Path) -> Result<Timeline, OpenError> {
        let place = path.display().to_string();
        let io = |error| OpenError::Io { place: place.clone(), error };
        if std::fs::metadata(path).map_err(io)?.is_dir() {
            return crate::journal::read_timeline(path);
        }
        let file = stackvm_store::chunks::file::FileAt::open(path).map_err(io)?;
        Timeline::open_vmcast(&place, Arc::new(file))
    }

    /// Opens a `.vmcast`, wherever its bytes are. `place` names it in errors.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_vmcast(place: &str, source: Arc<dyn ReadAt>) -> Result<Timeline, OpenError> {
        let timeline = Timeline::new(crate::vmcast::read(place, source)?);
        timeline.check()?;
        timeline.check_presence()?;
        Ok(timeline)
    }

    /// Puts a timeline together. What comes from outside must be checked next.
    pub(crate) fn new(mut parts: Parts) -> Timeline {
        assert_eq!(parts.branches.len(), parts.logs.len(), "a log for each branch");
        assert_eq!(parts.branches.len(), parts.tracks.len(), "a track for each branch");
        parts.keyframes.sort_by_key(|keyframe| (keyframe.branch, keyframe.at, keyframe.entries));
        parts.notes.sort_by_key(|note| (note.branch, note.at));
        let keyframe_starts = (0..=parts.branches.len())
            .map(|branch| parts.keyframes.partition_point(|k| (k.branch.0 as usize) < branch))
            .collect();
        Timeline { parts, keyframe_starts }
    }

    /// The file or folder it is from, for messages.
    pub fn place(&self) -> &str {
        &self.parts.place
    }

    /// What it starts from.
    pub fn header(&self) -> &Header {
        &self.parts.header
    }

    /// All branches, deleted ones included, by [`BranchId`].
    pub fn branches(&self) -> &[Branch] {
        &self.parts.branches
    }

    /// One branch.
    ///
    /// # Panics
    /// When there is none of this number.
    pub fn branch(&self, branch: BranchId) -> &Branch {
        &self.parts.branches[branch.0 as usize]
    }

    /// The branch of this name that is not deleted.
    pub fn branch_named(&self, name: &str) -> Option<BranchId> {
        let found = self.parts.branches.iter().position(|b| b.name == name && !b.deleted)?;
        Some(BranchId(found as u32))
    }

    /// Name of an actor.
    pub fn actor(&self, actor: ActorId) -> &str {
        self.parts.actors.get(usize::from(actor.0)).map_or("?", String::as_str)
    }

    /// Names of all actors, by [`ActorId`].
    pub fn actors(&self) -> &[String] {
        &self.parts.actors
    }

    /// All keyframes, by branch and instant. The first one of a branch that is no fork is always
    /// there.
    pub fn keyframes(&self) -> &[Keyframe] {
        &self.parts.keyframes
    }

    /// A branch's own keyframes, by instant.
    pub fn keyframes_of(&self, branch: BranchId) -> &[Keyframe] {
        let branch = branch.0 as usize;
        &self.parts.keyframes[self.keyframe_starts[branch]..self.keyframe_starts[branch + 1]]
    }

    /// Marks and comments, by branch and instant.
    pub fn notes(&self) -> &[Note] {
        &self.parts.notes
    }

    /// The chunks of all keyframes (and, in a `.vmcast`, of boot files and disks).
    pub fn chunks(&self) -> Arc<dyn Chunks> {
        Arc::new(self.parts.chunks.clone())
    }

    #[cfg(unix)]
    pub(crate) fn packs(&self) -> stackvm_store::PackSet {
        self.parts.chunks.clone()
    }

    /// A branch's own entries from the `first`-th (counted from 0) on; of those that were folded there
    /// are none.
    ///
    /// # Errors
    /// Each item may be an [`OpenError`]: after it there are no more.
    pub fn entries(
        &self,
        branch: BranchId,
        first: u64,
    ) -> Box<dyn Iterator<Item = Result<Entry, OpenError>> + '_> {
        let first = first.max(self.branch(branch).folded.entries);
        Box::new(blocks::entries(&self.parts.logs[branch.0 as usize], first))
    }

    /// A branch's own output track. May end early or be empty: it can be made again.
    ///
    /// # Errors
    /// As [`Timeline::entries`].
    pub fn track(
        &self,
        branch: BranchId,
    ) -> Box<dyn Iterator<Item = Result<TrackItem, OpenError>> + '_> {
        Box::new(blocks::track(self.parts.tracks[branch.0 as usize].clone()))
    }

    /// The end of a branch's own output track: whole blocks, together at most `bytes_max` long, and
    /// with as little before them as that allows.
    ///
    /// # Errors
    /// As [`Timeline::entries`].
    pub fn track_end(
        &self,
        branch: BranchId,
        bytes_max: u64,
    ) -> Box<dyn Iterator<Item = Result<TrackItem, OpenError>> + '_> {
        let parts = &self.parts.tracks[branch.0 as usize];
        Box::new(blocks::track(blocks::last_of_track(parts, bytes_max)))
    }

    /// A branch's own output track from a byte on, at which a block begins: so many bytes of it, or
    /// all.
    pub(crate) fn track_within(
        &self,
        branch: BranchId,
        start: u64,
        bytes: Option<u64>,
    ) -> impl Iterator<Item = Result<TrackItem, OpenError>> + use<> {
        let parts = self.track_behind(branch, start);
        blocks::track(match bytes {
            Some(bytes) => blocks::track_before(&parts, bytes),
            None => parts,
        })
    }

    /// The end of the slice of the recording host in which an instant of the trunk is, if the track
    /// tells there what was printed in it; else the instant. Between these two nobody knows what
    /// had been printed already. What comes in ends a slice: just before an Enter is never behind it.
    ///
    /// # Errors
    /// As [`Timeline::entries`].
    pub fn slice_end(&self, at: Instant) -> Result<Instant, OpenError> {
        let trunk = BranchId::TRUNK;
        let before = self.keyframes_of(trunk).iter().rfind(|keyframe| keyframe.at <= at);
        let is_later = |next: Instant| next > at;
        let mut printed = self.track_between(trunk, before, None);
        let printed = printed.find(|item| item.as_ref().map_or(true, |item| is_later(item.at)));
        let Some(printed) = printed.transpose()?.map(|item| item.at) else { return Ok(at) };
        if printed.since(at) > SLICE_MAX || printed > self.branch(trunk).end {
            return Ok(at);
        }
        let mut came = self.entries(trunk, before.map_or(0, |keyframe| keyframe.entries));
        let came = came.find(|entry| entry.as_ref().map_or(true, |entry| is_later(entry.at)));
        let came = came.transpose()?.map(|entry| entry.at);
        Ok(if came.is_some_and(|came| came < printed) { at } else { printed })
    }

    /// The instant at which a branch's path begins: its root's first keyframe.
    pub fn begin(&self, branch: BranchId) -> Instant {
        self.root_keyframe(branch).at
    }

    /// The first keyframe of the root of a branch's path.
    pub fn root_keyframe(&self, branch: BranchId) -> &Keyframe {
        let root = self.path(branch)[0].branch;
        self.keyframes_of(root).first().expect("a root has its first keyframe: it was checked")
    }

    /// Number of entries of a branch that lie before the first of its own: on its path.
    pub fn inherited_entries(&self, branch: BranchId) -> u64 {
        let path = self.path(branch);
        path[..path.len() - 1].iter().filter_map(|place| place.entries).sum()
    }

    /// The keyframes without which nothing can be played: the first ones of branches that are no
    /// forks.
    pub fn first_keyframes(&self) -> impl Iterator<Item = &Keyframe> {
        let roots = self.parts.branches.iter().enumerate();
        let roots = roots.filter(|(_, branch)| !matches!(branch.origin, Origin::Fork(_)));
        roots.filter_map(|(n, _)| self.keyframes_of(BranchId(n as u32)).first())
    }

    /// A branch's own output track from a byte on, as keyframes count them.
    fn track_behind(&self, branch: BranchId, start: u64) -> Vec<TrackPart> {
        let start = start.saturating_sub(self.branch(branch).folded.track_bytes);
        blocks::track_behind(&self.parts.tracks[branch.0 as usize], start)
    }

    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }
}
