//! How much of its history a machine keeps: older things are folded into a keyframe.
//!
//! Recordings and moments are copies, so nothing that somebody kept or shared goes with what is
//! folded.

use serde::{Deserialize, Serialize};
use stackvm_machine::Instant;
use stackvm_machine::instant::TICKS_PER_NS;
use stackvm_timeline::BranchId;
use stackvm_timeline::journal::Journal;

/// Seconds of the machine's time that are kept, unless it is said otherwise.
const SECONDS: u64 = 24 * 3600;
/// Bytes that are kept, unless it is said otherwise.
const BYTES: u64 = 1 << 30;
const TICKS_PER_S: u64 = 1_000_000_000 * TICKS_PER_NS;
/// So much more than is to be kept is there before it is folded, as a part of that: folding rewrites.
const SLACK_PART: u64 = 8;

/// How much of its history a machine keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Keep {
    /// So much of its time: what is older goes with the next keyframe. 0 keeps no history.
    pub seconds: u64,
    /// So many bytes: when there are more, the oldest go.
    pub bytes: u64,
}

impl Keep {
    /// No history: the machine goes on where it was when it is started again, and that is all.
    pub const NOTHING: Keep = Keep { seconds: 0, bytes: BYTES };

    /// The keyframe that what is older is to be folded into. `keyframes` are the instants of all, in
    /// order; the history has so many bytes and goes until `end`.
    fn fold_to(self, keyframes: &[Instant], end: Instant, bytes: u64) -> Option<Instant> {
        let begin = *keyframes.first()?;
        let span = self.seconds.saturating_mul(TICKS_PER_S);
        let mut place = 0;
        if end.since(begin).get() > span.saturating_add(span / SLACK_PART) {
            let kept_from = end.ticks().saturating_sub(span);
            place = keyframes.partition_point(|at| at.ticks() <= kept_from).saturating_sub(1);
        }
        if bytes > self.bytes {
            // How much each takes is not known: on average it is the same.
            let kept = self.bytes - self.bytes / SLACK_PART;
            let count = u128::from(kept) * keyframes.len() as u128 / u128::from(bytes);
            let count = usize::try_from(count).unwrap_or(usize::MAX);
            place = place.max(keyframes.len().saturating_sub(count.max(1)));
        }
        (place > 0).then(|| keyframes[place])
    }

    /// Folds what is not to be kept; whether there was anything.
    pub(super) fn fold(self, journal: &mut Journal) -> bool {
        let Ok(timeline) = journal.timeline() else { return false };
        let keyframes: Vec<Instant> =
            timeline.keyframes_of(BranchId::TRUNK).iter().map(|keyframe| keyframe.at).collect();
        let end = timeline.branch(BranchId::TRUNK).end;
        drop(timeline);
        match self.fold_to(&keyframes, end, journal.bytes()) {
            // A history that cannot be folded now is longer, and as good.
            Some(to) => journal.fold(to).unwrap_or(false),
            None => false,
        }
    }
}

impl Default for Keep {
    fn default() -> Keep {
        Keep { seconds: SECONDS, bytes: BYTES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keyframes at these seconds; the instant that is folded to, if any.
    fn check(keep: Keep, keyframes: &[u64], end_s: u64, bytes: u64, expected: Option<u64>) {
        let at = |s: u64| Instant::from_ns(s * 1_000_000_000);
        let keyframes: Vec<Instant> = keyframes.iter().map(|s| at(*s)).collect();
        let folded = keep.fold_to(&keyframes, at(end_s), bytes);
        assert_eq!(folded, expected.map(at), "{keep:?} {end_s} {bytes}");
    }

    #[test]
    fn what_is_older_goes() {
        let hour = Keep { seconds: 3600, bytes: u64::MAX };
        check(hour, &[], 9000, 0, None);
        check(hour, &[0], 9000, 0, None);
        check(hour, &[0, 1000, 2000], 3600, 0, None);
        // A little more is not worth rewriting.
        check(hour, &[0, 300, 2000], 4000, 0, None);
        check(hour, &[0, 300, 2000], 4100, 0, Some(300));
        check(hour, &[0, 300, 2000], 9000, 0, Some(2000));
        check(Keep::NOTHING, &[0, 300, 2000], 2000, 0, Some(2000));
        check(Keep { seconds: u64::MAX, bytes: u64::MAX }, &[0, 1], 1 << 30, u64::MAX, None);
    }

    #[test]
    fn the_oldest_go_when_there_is_too_much() {
        let small = Keep { seconds: u64::MAX, bytes: 800 };
        check(small, &[0, 1, 2, 3], 4, 800, None);
        check(small, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 10, 1000, Some(3));
        check(small, &[0, 1], 2, 1 << 40, Some(1));
        check(small, &[0], 2, 1 << 40, None);
        // The stricter of both counts.
        let both = Keep { seconds: 5, bytes: 800 };
        check(both, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 20, 1000, Some(9));
        check(both, &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], 10, 1000, Some(5));
    }
}
