//! What of a timeline goes into a file.

use super::Keyframes;
use crate::branch::{Branch, BranchId, Origin};
use crate::keyframe::Keyframe;
use crate::note::Note;
use crate::timeline::Timeline;

/// Branches, keyframes and notes, with the branches' new numbers.
#[derive(Debug)]
pub(super) struct Selected {
    /// The former numbers of the branches that are taken.
    pub(super) branches: Vec<BranchId>,
    pub(super) infos: Vec<Branch>,
    /// Without these nothing can be played.
    pub(super) first: Vec<Keyframe>,
    pub(super) later: Vec<Keyframe>,
    pub(super) notes: Vec<Note>,
}

/// Leaves out deleted branches that no other one needs.
pub(super) fn select(timeline: &Timeline, keyframes: Keyframes) -> Selected {
    let all = timeline.branches();
    let mut needed: Vec<bool> = all.iter().map(|branch| !branch.deleted).collect();
    needed[0] = true;
    // Parents come before their children.
    for n in (0..all.len()).rev().filter(|n| *n > 0) {
        let parent = match all[n].origin {
            Origin::Start => continue,
            Origin::Fork(fork) => fork.branch,
            Origin::Gap { after } => after,
        };
        needed[parent.0 as usize] |= needed[n];
    }
    let branches: Vec<BranchId> =
        (0..all.len()).filter(|n| needed[*n]).map(|n| BranchId(n as u32)).collect();
    let renumbered =
        |branch: BranchId| branches.binary_search(&branch).ok().map(|n| BranchId(n as u32));
    let infos = branches.iter().map(|id| {
        let mut branch = timeline.branch(*id).clone();
        branch.entries -= std::mem::take(&mut branch.folded).entries;
        match &mut branch.origin {
            Origin::Start => {}
            Origin::Fork(fork) => {
                fork.entries -= timeline.branch(fork.branch).folded.entries;
                fork.branch = renumbered(fork.branch).expect("it is needed");
            }
            Origin::Gap { after } => *after = renumbered(*after).expect("it is needed"),
        }
        branch
    });
    let infos = infos.collect();
    let is_first: Vec<&Keyframe> = timeline.first_keyframes().collect();
    let (mut first, mut later) = (Vec::new(), Vec::new());
    for keyframe in timeline.keyframes() {
        let Some(branch) = renumbered(keyframe.branch) else { continue };
        // A file has nothing of what was folded, and does not count it.
        let folded = timeline.branch(keyframe.branch).folded;
        let taken = Keyframe {
            branch,
            entries: keyframe.entries - folded.entries,
            track_bytes: keyframe.track_bytes.saturating_sub(folded.track_bytes),
            ..keyframe.clone()
        };
        if is_first.iter().any(|first| std::ptr::eq(*first, keyframe)) {
            first.push(taken);
        } else if keyframes == Keyframes::All {
            later.push(taken);
        }
    }
    let notes = timeline
        .notes()
        .iter()
        .filter_map(|note| Some(Note { branch: renumbered(note.branch)?, ..note.clone() }));
    let notes = notes.collect();
    Selected { branches, infos, first, later, notes }
}
