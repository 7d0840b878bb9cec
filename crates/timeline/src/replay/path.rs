//! The entries on the way to a branch's end: its ancestors' up to where each is left, then its
//! own. Owns which of them have been put in.

use std::collections::VecDeque;
use std::sync::Arc;

use stackvm_machine::Instant;

use crate::branch::BranchId;
use crate::event::{Entry, Event};
use crate::position::Position;
use crate::timeline::{OpenError, Timeline};

/// Entries that are read at once, at most.
const READ_ENTRIES: usize = 256;
/// Bytes of input that are read at once, roughly.
const READ_BYTES: usize = 1 << 20;

/// The path of a branch, and how far along it a replay is.
pub(super) struct Path {
    timeline: Arc<Timeline>,
    /// The branches from the root, each with the place where the next one leaves it.
    parts: Vec<Position>,
    /// In which of them.
    part: usize,
    /// How many of its entries have been put in.
    entries: u64,
    /// The next ones.
    ahead: VecDeque<Entry>,
}

impl Path {
    pub(super) fn new(timeline: Arc<Timeline>, branch: BranchId) -> Path {
        let parts = timeline.path(branch);
        assert!(!parts.is_empty(), "a branch has a path");
        Path { timeline, parts, part: 0, entries: 0, ahead: VecDeque::new() }
    }

    /// The branch it leads to.
    pub(super) fn branch(&self) -> BranchId {
        self.parts.last().expect("never empty").branch
    }

    /// Its parts, from the root.
    pub(super) fn parts(&self) -> &[Position] {
        &self.parts
    }

    /// The branch that has the entries here, and how many of them have been put in.
    pub(super) fn place(&self) -> (BranchId, u64) {
        (self.parts[self.part].branch, self.entries)
    }

    /// Which part the replay is in, and how many of its entries have been put in.
    pub(super) fn step(&self) -> (usize, u64) {
        (self.part, self.entries)
    }

    /// Index of the first keyframe of the root.
    pub(super) fn first_keyframe(&self) -> Result<usize, OpenError> {
        let root = self.parts[0].branch;
        let found = self.timeline.keyframes().iter().position(|keyframe| keyframe.branch == root);
        found.ok_or_else(|| OpenError::Damaged {
            place: "the recording".into(),
            problem: "its first keyframe is missing".into(),
        })
    }

    /// Which part of the path a branch is.
    pub(super) fn part_of(&self, branch: BranchId) -> Option<usize> {
        self.parts.iter().position(|part| part.branch == branch)
    }

    /// Notes that the replay is on a branch of the path with so many entries put in.
    pub(super) fn go_to(&mut self, branch: BranchId, entries: u64) {
        self.part = self.part_of(branch).expect("a branch of the path");
        self.entries = entries;
        self.ahead.clear();
    }

    /// How many entries of a part belong to the path.
    pub(super) fn limit(&self, part: usize) -> u64 {
        self.parts[part].entries.expect("a path says how many entries it shares")
    }

    /// Goes on to the next branch where this one is left.
    pub(super) fn cross_forks(&mut self, now: Instant) {
        while self.part + 1 < self.parts.len()
            && self.entries >= self.limit(self.part)
            && now >= self.parts[self.part].at
        {
            self.part += 1;
            self.entries = 0;
            self.ahead.clear();
        }
    }

    /// Whether this is the last part.
    pub(super) fn is_last(&self) -> bool {
        self.part + 1 == self.parts.len()
    }

    /// Where this part is left, or ends.
    pub(super) fn part_end(&self) -> Instant {
        self.parts[self.part].at
    }

    /// The next entry of this part that has not been put in.
    pub(super) fn peek(&mut self) -> Result<Option<&Entry>, OpenError> {
        let limit = self.limit(self.part);
        if self.entries >= limit {
            return Ok(None);
        }
        if self.ahead.is_empty() {
            self.read(limit)?;
        }
        Ok(self.ahead.front())
    }

    /// Takes the next entry, which [`Path::peek`] showed.
    pub(super) fn take(&mut self) -> Entry {
        self.entries += 1;
        self.ahead.pop_front().expect("an entry was shown")
    }

    fn read(&mut self, limit: u64) -> Result<(), OpenError> {
        let branch = self.parts[self.part].branch;
        let left = usize::try_from(limit - self.entries).unwrap_or(usize::MAX);
        let mut bytes = 0;
        for entry in self.timeline.entries(branch, self.entries).take(left.min(READ_ENTRIES)) {
            let entry = entry?;
            bytes += size(&entry.event);
            self.ahead.push_back(entry);
            if bytes >= READ_BYTES {
                break;
            }
        }
        if self.ahead.is_empty() {
            return Err(OpenError::Damaged {
                place: "the recording".into(),
                problem: format!("the log ends before entry {} of {limit}", self.entries + 1),
            });
        }
        Ok(())
    }
}

/// Bytes of host memory that an event takes, roughly.
fn size(event: &Event) -> usize {
    use stackvm_machine::Input;
    match event {
        Event::Input(
            Input::Console { bytes, .. } | Input::Port { bytes, .. } | Input::Frame { bytes, .. },
        ) => bytes.len(),
        Event::Input(_) | Event::Reset { .. } => 0,
    }
}
