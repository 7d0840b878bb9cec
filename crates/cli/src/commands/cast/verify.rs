//! `stackvm cast verify`: is everything as it was recorded?

use std::sync::Arc;
use std::time::{Duration, Instant as WallInstant};

use anyhow::{Context, Result};
use stackvm_timeline::branch::Branch;
use stackvm_timeline::replay::{Replay, ReplayError};
use stackvm_timeline::{BranchId, Timeline};

use super::{interruptible, show_elapsed};
use crate::args::CastVerify;
use crate::casts;
use crate::failure::failure;
use crate::player::tape;
use crate::progress::Progress;

/// How often the line of progress is rewritten.
const REDRAW_INTERVAL: Duration = Duration::from_millis(100);

pub(super) async fn run(args: CastVerify) -> Result<u8> {
    interruptible(move || {
        let place = args.file.display().to_string();
        let timeline = Arc::new(casts::open(&args.file)?);
        let mut progress = Progress::new();
        progress.redraw(&format!("{place}: reading"));
        timeline.verify_chunks().with_context(|| format!("{place} is not whole"))?;
        let branches = wanted(&timeline, args.branch.as_deref())?;
        let mut replay = Replay::new(Arc::clone(&timeline))?;
        let mut compared = std::collections::BTreeSet::new();
        for branch in branches {
            compared.extend(verify(&timeline, &mut replay, branch, &mut progress)?);
        }
        drop(progress);
        println!("{place}: fine; {} keyframes are as they were recorded", compared.len());
        Ok(0)
    })
    .await
}

/// The branches to replay: what comes after a fork is only on the branch itself.
fn wanted(timeline: &Timeline, only: Option<&str>) -> Result<Vec<BranchId>> {
    if let Some(name) = only {
        return Ok(vec![tape::branch(timeline, name)?]);
    }
    let alive = |(_, branch): &(u32, &Branch)| !branch.deleted;
    Ok((0..).zip(timeline.branches()).filter(alive).map(|(n, _)| BranchId(n)).collect())
}

/// Replays a branch; the places of the keyframes that are right.
fn verify(
    timeline: &Timeline,
    replay: &mut Replay,
    branch: BranchId,
    progress: &mut Progress,
) -> Result<Vec<(BranchId, u64, u64)>> {
    let (begin, end) = (timeline.begin(branch), timeline.branch(branch).end);
    let name = &timeline.branch(branch).name;
    let (mut right, mut drawn) = (Vec::new(), WallInstant::now());
    let result = replay.verify(branch, &mut |keyframe| {
        right.push((keyframe.branch, keyframe.at.ticks(), keyframe.entries));
        if drawn.elapsed() >= REDRAW_INTERVAL {
            drawn = WallInstant::now();
            let (reached, whole) = (keyframe.at.since(begin), end.since(begin));
            progress.redraw(&format!(
                "{name}: {} of {}",
                show_elapsed(reached),
                show_elapsed(whole)
            ));
        }
        true
    });
    match result {
        Ok(()) => Ok(right),
        Err(error @ ReplayError::Diverged { at, fine_until, .. }) => {
            let (at, fine) = (at.since(begin), fine_until.since(begin));
            let help = format!(
                "it plays as it was recorded up to {}; at {} it differs. A recording that was \
                 fine once was changed since, or this program has a fault: please report it",
                show_elapsed(fine),
                show_elapsed(at)
            );
            Err(failure(format!("{error} of the branch {name}"), help))
        }
        Err(error) => Err(error).with_context(|| format!("could not replay the branch {name}")),
    }
}
