//! What must hold in a timeline that comes from outside.

use std::collections::BTreeSet;

use stackvm_machine::Instant;

use super::{OpenError, Timeline};
use crate::branch::{Branch, BranchId, ForkPoint, Origin};
use crate::keyframe::Keyframe;
use crate::limits::{
    ACTORS_MAX, BRANCHES_MAX, KEYFRAMES_MAX, NAME_BYTES_MAX, NOTES_MAX, STATE_BYTES_MAX,
    TEXT_BYTES_MAX,
};
use crate::note::{Note, Words};
use stackvm_store::{Blob, PAGE_BYTES, Tree};

impl Timeline {
    /// Checks everything but chunks: afterwards every number in it means something.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let parts = &self.parts;
        self.at_most("branches", parts.branches.len(), BRANCHES_MAX)?;
        self.at_most("actors", parts.actors.len(), ACTORS_MAX)?;
        self.at_most("keyframes", parts.keyframes.len(), KEYFRAMES_MAX)?;
        self.at_most("marks and comments", parts.notes.len(), NOTES_MAX)?;
        if parts.branches.is_empty() || parts.branches[0].origin != Origin::Start {
            return Err(self.damaged("it has no branch to begin with"));
        }
        if parts.actors.is_empty() {
            return Err(self.damaged("it names nobody whom inputs are from"));
        }
        for actor in &parts.actors {
            self.check_name("an actor's name", actor)?;
        }
        let mut names = BTreeSet::new();
        for (n, branch) in parts.branches.iter().enumerate() {
            self.check_name("a branch's name", &branch.name)?;
            self.at_most("bytes in an author's name", branch.author.len(), NAME_BYTES_MAX)?;
            if !branch.deleted && !names.insert(&branch.name) {
                return Err(self.damaged(&format!("two branches are named {:?}", branch.name)));
            }
            self.check_origin(BranchId(n as u32), branch)?;
        }
        for (n, branch) in parts.branches.iter().enumerate() {
            self.check_log(BranchId(n as u32), branch)?;
        }
        parts.keyframes.iter().try_for_each(|keyframe| self.check_keyframe(keyframe))?;
        self.check_roots()?;
        parts.notes.iter().try_for_each(|note| self.check_note(note))
    }

    fn check_origin(&self, id: BranchId, branch: &Branch) -> Result<(), OpenError> {
        let parent = match branch.origin {
            Origin::Start if id == BranchId::TRUNK => return Ok(()),
            Origin::Start => return Err(self.damaged("it begins more than once")),
            Origin::Fork(fork) => fork.branch,
            Origin::Gap { after } => after,
        };
        if parent >= id {
            return Err(self.damaged(&format!("branch {} leaves a later one", branch.name)));
        }
        Ok(())
    }

    /// Checks a branch's entries: each one is read.
    fn check_log(&self, id: BranchId, branch: &Branch) -> Result<(), OpenError> {
        let mut last = Instant::ZERO;
        let mut count = branch.folded.entries;
        if let Origin::Fork(fork) = branch.origin {
            self.check_fork(branch, &fork)?;
            last = fork.at;
        }
        for entry in self.entries(id, 0) {
            let entry = entry?;
            let name = &branch.name;
            if entry.at < last {
                let problem =
                    format!("entry {count} of branch {name} is at {}, before {last}", entry.at);
                return Err(self.damaged(&problem));
            }
            if usize::from(entry.actor.0) >= self.parts.actors.len() {
                let problem = format!("entry {count} of branch {name} is from nobody");
                return Err(self.damaged(&problem));
            }
            last = entry.at;
            count += 1;
        }
        if count != branch.entries || branch.end < last {
            return Err(self.damaged(&format!(
                "branch {} has {count} entries up to {last}, but {} up to {} are announced",
                branch.name, branch.entries, branch.end
            )));
        }
        Ok(())
    }

    fn check_fork(&self, branch: &Branch, fork: &ForkPoint) -> Result<(), OpenError> {
        let parent = self.branch(fork.branch);
        let mut fits = fork.entries >= parent.folded.entries
            && fork.entries <= parent.entries
            && fork.at <= parent.end;
        let first = fork.entries.saturating_sub(1).max(parent.folded.entries);
        for (n, entry) in (first..).zip(self.entries(fork.branch, first).take(2)) {
            let entry = entry?;
            fits &= if n < fork.entries { entry.at <= fork.at } else { entry.at >= fork.at };
        }
        if let Origin::Fork(before) = parent.origin {
            fits &= before.at <= fork.at;
        }
        if fits {
            return Ok(());
        }
        let (name, parent) = (&branch.name, &parent.name);
        Err(self.damaged(&format!("branch {name} leaves {parent} where that never was")))
    }

    fn check_keyframe(&self, keyframe: &Keyframe) -> Result<(), OpenError> {
        let at = keyframe.at;
        let Some(branch) = self.parts.branches.get(keyframe.branch.0 as usize) else {
            return Err(self.damaged(&format!("the keyframe at {at} is of no branch")));
        };
        let from = match branch.origin {
            Origin::Fork(fork) => fork.at,
            Origin::Start | Origin::Gap { .. } => Instant::ZERO,
        };
        let numbers = branch.folded.entries..=branch.entries;
        if at < from || at > branch.end || !numbers.contains(&keyframe.entries) {
            let name = &branch.name;
            return Err(self.damaged(&format!("branch {name} never was at its keyframe at {at}")));
        }
        let header = &self.parts.header;
        let mut sound = keyframe.ram.pages == header.memory_bytes / PAGE_BYTES as u64
            && keyframe.disks.len() == header.disks.len()
            && is_blob(&keyframe.state, STATE_BYTES_MAX)
            && is_blob(&keyframe.derived, STATE_BYTES_MAX);
        for (written, disk) in keyframe.disks.iter().zip(&header.disks) {
            let blocks = disk.size_bytes.div_ceil(PAGE_BYTES as u64);
            sound &= written.blocks.pages == blocks
                && written.written.bytes == blocks.div_ceil(8)
                && is_blob(&written.written, u64::MAX);
        }
        if sound {
            Ok(())
        } else {
            Err(self.damaged(&format!("the keyframe at {at} is of another machine")))
        }
    }

    fn check_roots(&self) -> Result<(), OpenError> {
        for (n, branch) in self.parts.branches.iter().enumerate() {
            if matches!(branch.origin, Origin::Fork(_)) {
                continue;
            }
            let id = BranchId(n as u32);
            let first_entry = self.entries(id, 0).next().transpose()?;
            let sound = self.keyframes_of(id).first().is_some_and(|first| {
                first.entries == branch.folded.entries
                    && first_entry.is_none_or(|entry| entry.at >= first.at)
            });
            if !sound {
                return Err(self.damaged(&format!("branch {} has no first keyframe", branch.name)));
            }
        }
        Ok(())
    }

    fn check_note(&self, note: &Note) -> Result<(), OpenError> {
        if note.branch.0 as usize >= self.parts.branches.len() {
            return Err(self.damaged("a mark or comment is on no branch"));
        }
        self.at_most("bytes in an author's name", note.author.len(), NAME_BYTES_MAX)?;
        match &note.words {
            Words::Mark(name) => self.check_name("a mark's name", name),
            Words::Comment(text) => self.at_most("bytes in a comment", text.len(), TEXT_BYTES_MAX),
        }
    }

    fn check_name(&self, what: &str, name: &str) -> Result<(), OpenError> {
        match name_problem(name) {
            None => Ok(()),
            Some(problem) => Err(self.damaged(&format!("{what} {problem}"))),
        }
    }

    fn at_most(&self, what: &'static str, count: usize, max: usize) -> Result<(), OpenError> {
        if count <= max {
            return Ok(());
        }
        let (count, max) = (count as u64, max as u64);
        Err(OpenError::TooMuch { place: self.parts.place.clone(), what, count, max })
    }

    pub(crate) fn damaged(&self, problem: &str) -> OpenError {
        OpenError::Damaged { place: self.parts.place.clone(), problem: problem.to_owned() }
    }
}

/// What is wrong with a name of a branch, mark or actor, if anything is.
pub(crate) fn name_problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("is empty".to_owned());
    }
    if name.len() > NAME_BYTES_MAX {
        return Some(format!("has {} bytes: at most {NAME_BYTES_MAX} are possible", name.len()));
    }
    // It is printed to terminals.
    name.chars().any(char::is_control).then(|| "has control characters".to_owned())
}

/// Whether a tree is as long as its blob says, and not too long.
pub(crate) fn is_blob(blob: &Blob, bytes_max: u64) -> bool {
    let Tree { pages, .. } = blob.tree;
    blob.bytes <= bytes_max && pages == blob.bytes.div_ceil(PAGE_BYTES as u64)
}

/// All trees that a keyframe consists of.
pub(crate) fn trees_of(keyframe: &Keyframe) -> Vec<Tree> {
    let mut trees = vec![keyframe.state.tree, keyframe.ram];
    for disk in &keyframe.disks {
        trees.extend([disk.written.tree, disk.blocks]);
    }
    trees.push(keyframe.derived.tree);
    trees
}
