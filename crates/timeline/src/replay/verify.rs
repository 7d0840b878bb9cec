//! Comparing what is computed with what was recorded.

use stackvm_machine::Instant;

use super::kept::Place;
use super::path::Path;
use super::run::{Goal, Pace, diverged, run};
use super::{Replay, ReplayError, seek};
use crate::branch::BranchId;
use crate::keyframe::Keyframe;

/// See [`Replay::verify`].
pub(super) fn verify(
    replay: &mut Replay,
    branch: BranchId,
    progress: &mut dyn FnMut(&Keyframe) -> bool,
) -> Result<(), ReplayError> {
    replay.path = Path::new(replay.timeline.clone(), branch);
    let keyframes = on_path(replay);
    for (number, &index) in keyframes.iter().enumerate() {
        let keyframe = replay.timeline.keyframes()[index].clone();
        let Replay { timeline, configuration, trees, kept, .. } = replay;
        let recorded = seek::load(timeline, configuration, trees, kept, index)?;
        if number == 0 {
            seek::begin_from(replay, &recorded);
        } else {
            let part = replay.path.part_of(keyframe.branch).expect("a keyframe of the path");
            let goal = Goal::with_entries(keyframe.at, part, keyframe.entries);
            run(replay, goal, Pace::Blind, &mut |_, _| {})?;
            compare(replay, index)?;
        }
        if !progress(&keyframe) {
            return Ok(());
        }
    }
    let end = replay.path.parts().last().expect("a path has parts").at;
    run(replay, Goal::all_until(end), Pace::Blind, &mut |_, _| {})?;
    Ok(())
}

/// The keyframes on the path, in their order, by index.
fn on_path(replay: &Replay) -> Vec<usize> {
    let path = &replay.path;
    let mut found: Vec<(usize, Instant, u64, usize)> = Vec::new();
    for (index, keyframe) in replay.timeline.keyframes().iter().enumerate() {
        if let Some(part) = path.part_of(keyframe.branch)
            && keyframe.at <= path.parts()[part].at
            && keyframe.entries <= path.limit(part)
        {
            found.push((part, keyframe.at, keyframe.entries, index));
        }
    }
    found.sort_unstable();
    found.into_iter().map(|(.., index)| index).collect()
}

/// The instant of the next keyframe on this part of the path.
pub(super) fn next_check(replay: &Replay) -> Option<Instant> {
    let (branch, _) = replay.path.place();
    let now = replay.machine.now();
    let keyframes = of_branch(replay.timeline.keyframes(), branch);
    let next = keyframes.partition_point(|keyframe| keyframe.at <= now);
    keyframes.get(next).map(|keyframe| keyframe.at)
}

/// Compares with the keyframe that is exactly here, if there is one.
pub(super) fn check_here(replay: &mut Replay) -> Result<(), ReplayError> {
    let (branch, entries) = replay.path.place();
    let at = replay.machine.now();
    if at == replay.fine_until {
        return Ok(());
    }
    let all = replay.timeline.keyframes();
    let keyframes = of_branch(all, branch);
    let first = keyframes.partition_point(|keyframe| keyframe.at < at);
    let here = keyframes[first..].iter().take_while(|keyframe| keyframe.at == at);
    let Some(offset) = here.into_iter().position(|keyframe| keyframe.entries == entries) else {
        return Ok(());
    };
    let index = all.partition_point(|keyframe| keyframe.branch < branch) + first + offset;
    if replay.distrusted.contains(&index) {
        return Ok(());
    }
    compare(replay, index)
}

/// The keyframes of one branch; they are sorted by branch and instant.
fn of_branch(keyframes: &[Keyframe], branch: BranchId) -> &[Keyframe] {
    let start = keyframes.partition_point(|keyframe| keyframe.branch < branch);
    let end = keyframes.partition_point(|keyframe| keyframe.branch <= branch);
    &keyframes[start..end]
}

/// Compares with a keyframe, which is here.
fn compare(replay: &mut Replay, index: usize) -> Result<(), ReplayError> {
    let keyframe = &replay.timeline.keyframes()[index];
    let (expected, at) = (keyframe.digest, keyframe.at);
    let (branch, entries) = replay.path.place();
    let here = Place { branch, at: replay.machine.now(), entries };
    let there = Place { branch: keyframe.branch, at, entries: keyframe.entries };
    if here == there && replay.digest() == expected {
        replay.fine_until = at;
        return Ok(());
    }
    replay.distrusted.push(index);
    let component = if here.at == there.at {
        first_difference(replay, index)
    } else {
        format!("the clock: it stops at {}", here.at)
    };
    Err(diverged(replay, at, component))
}

/// The first component in which the machine here differs from a keyframe's.
fn first_difference(replay: &mut Replay, index: usize) -> String {
    let Replay { timeline, configuration, trees, kept, .. } = &mut *replay;
    let recorded = match seek::load(timeline, configuration, trees, kept, index) {
        Ok(state) => state.frozen,
        Err(error) => return format!("the keyframe itself: {error}"),
    };
    let found = recorded.first_difference(&replay.machine.freeze());
    found.unwrap_or_else(|| "the keyframe's digest".to_owned())
}
