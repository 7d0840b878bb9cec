//! When the answer to a question changed.

use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;

use crate::branch::BranchId;
use crate::position::Position;
use crate::replay::{Replay, ReplayError};

/// A change of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change<T> {
    /// The last instant known to have the old answer.
    pub after: Instant,
    /// The first instant known to have the new one.
    pub at: Instant,
    /// The old answer.
    pub old: T,
    /// The new one.
    pub new: T,
}

/// Finds the changes of an answer along a branch's path: it is asked for at each of `samples`
/// (ascending), and between two with different answers again, until a change is known to within
/// `resolution`. Changes that are undone between two samples are not seen. `ask` may do anything
/// with the replay that [`Replay::depart`] allows.
///
/// # Errors
/// The first one of `ask` or of the replay.
pub fn changes<T: Clone + PartialEq, E: From<ReplayError>>(
    replay: &mut Replay,
    branch: BranchId,
    samples: &[Instant],
    resolution: Ticks,
    ask: &mut dyn FnMut(&mut Replay) -> Result<T, E>,
) -> Result<Vec<Change<T>>, E> {
    let mut ask_at = |at: Instant| {
        replay.seek(Position { branch, at, entries: None })?;
        ask(replay)
    };
    bisect(samples, resolution, &mut ask_at)
}

/// [`changes`] of any function of the instant.
fn bisect<T: Clone + PartialEq, E>(
    samples: &[Instant],
    resolution: Ticks,
    ask_at: &mut dyn FnMut(Instant) -> Result<T, E>,
) -> Result<Vec<Change<T>>, E> {
    let Some((&first, rest)) = samples.split_first() else { return Ok(Vec::new()) };
    let mut known = (first, ask_at(first)?);
    let mut changes = Vec::new();
    for &sample in rest {
        // The intervals still to look at, the earliest last.
        let mut ahead = vec![(sample, ask_at(sample)?)];
        while let Some((at, answer)) = ahead.last().cloned() {
            if answer == known.1 {
                known = (at, answer);
                ahead.pop();
                continue;
            }
            let span = at.since(known.0).get();
            if span <= resolution.get().max(1) {
                let (after, old) = std::mem::replace(&mut known, (at, answer.clone()));
                changes.push(Change { after, at, old, new: answer });
                ahead.pop();
                continue;
            }
            let middle = Instant::from_ticks(known.0.ticks() + span / 2);
            ahead.push((middle, ask_at(middle)?));
        }
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks at `samples` about something that changes at `switches`.
    #[track_caller]
    fn check(samples: &[u64], switches: &[u64], resolution: u64, expected: &[(u64, u64)]) {
        let mut asked = 0;
        let mut ask_at = |at: Instant| -> Result<usize, ()> {
            asked += 1;
            Ok(switches.iter().filter(|&&switch| switch <= at.ticks()).count())
        };
        let samples: Vec<Instant> = samples.iter().map(|&at| Instant::from_ticks(at)).collect();
        let changes = bisect(&samples, Ticks::new(resolution), &mut ask_at).expect("never fails");
        let found: Vec<(u64, u64)> =
            changes.iter().map(|change| (change.after.ticks(), change.at.ticks())).collect();
        assert_eq!(found, expected);
        assert!(changes.iter().all(|change| change.old < change.new));
        assert!(asked <= samples.len() + switches.len() * 20, "asked {asked} times");
    }

    #[test]
    fn every_change_is_found_to_the_resolution() {
        check(&[0, 1024], &[], 1, &[]);
        check(&[0, 1024], &[700], 1, &[(699, 700)]);
        check(&[0, 1024], &[700], 256, &[(512, 768)]);
        check(&[0, 1024], &[3, 700, 701], 1, &[(2, 3), (699, 700), (700, 701)]);
        check(&[0, 512, 1024], &[512], 1, &[(511, 512)]);
        check(&[0, 1000], &[0], 1, &[]);
        check(&[], &[5], 1, &[]);
    }
}
