//! When to take keyframes, and which to keep.
//!
//! Keyframes are a cache: the log computes the same again, only later. So they may cost a recording
//! next to nothing, in time and on the disk. Owns both budgets as plain arithmetic; taking,
//! writing and dropping keyframes is done elsewhere.

use std::collections::BTreeSet;
use std::time::Duration;

/// CPU time of the lab between two keyframes, as a multiple of what the earlier one cost: at most
/// a hundredth of the lab's CPU time goes into keyframes.
pub const CPU_PER_COST: u32 = 100;
/// The same while the machine is busy: most seeks go to where somebody looks at what a burst of
/// work has left behind, so its end is worth waiting for, but not for ever.
pub const CPU_PER_COST_BUSY: u32 = 120;
/// Work without which no keyframe is worth its bytes, in instructions: a tenth of a second of
/// replay.
pub const WORK_MIN: u64 = 10_000_000;
/// Bytes that the keyframes of a growing recording may take.
pub const DISK_BYTES_MAX: u64 = 1 << 30;

/// What a machine does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Activity {
    /// It runs instructions.
    Busy,
    /// Every hart waits.
    Idle,
}

/// A moment of a lab.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    /// CPU time the lab has used so far.
    pub lab_cpu: Duration,
    /// Instructions the machine has retired so far ([`stackvm_machine::Machine::retired`]).
    pub retired: u64,
}

/// Says when the next keyframe is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cadence {
    last: Moment,
    cost: Duration,
}

impl Cadence {
    /// Right after a keyframe was taken at `last`, which cost so much CPU time (freezing, hashing,
    /// compressing and writing together). A recording's first keyframe counts as free: it is the
    /// recording, not a cache, and by far the most expensive one.
    pub fn after(last: Moment, cost: Duration) -> Cadence {
        Cadence { last, cost }
    }

    /// Whether a keyframe should be taken now.
    pub fn is_due(&self, now: Moment, activity: Activity) -> bool {
        // A reset counts instructions anew; that is something that happened.
        let work = now.retired.checked_sub(self.last.retired);
        if work.is_some_and(|work| work < WORK_MIN) {
            return false;
        }
        let factor = match activity {
            Activity::Idle => CPU_PER_COST,
            Activity::Busy => CPU_PER_COST_BUSY,
        };
        now.lab_cpu.saturating_sub(self.last.lab_cpu) >= self.cost.saturating_mul(factor)
    }
}

/// A keyframe that takes space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Held {
    /// Instructions retired up to it ([`crate::Keyframe::retired`]).
    pub retired: u64,
    /// Bytes of its pack.
    pub pack_bytes: u64,
    /// Whether the recording can do without it.
    pub role: Role,
}

/// What a keyframe is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Replays begin there: it stays.
    First,
    /// It saves work.
    Cache,
}

/// Which keyframes to drop, by index, so that all together take at most `budget_bytes`; nothing
/// while they do. The older, the sparser: the work between two of them grows with their age. Some
/// room is made for the next ones as well, so that this happens rarely. `held` is in the order of
/// time.
pub fn to_drop(held: &[Held], budget_bytes: u64) -> BTreeSet<usize> {
    let mut dropped = BTreeSet::new();
    let mut bytes: u64 = held.iter().map(|keyframe| keyframe.pack_bytes).sum();
    if bytes <= budget_bytes {
        return dropped;
    }
    let works = works(held);
    let mut left: Vec<usize> = (0..held.len()).collect();
    while bytes > budget_bytes / 4 * 3 {
        let Some(place) = least_useful(held, &works, &left) else { break };
        let index = left.remove(place);
        bytes -= held[index].pack_bytes;
        dropped.insert(index);
    }
    dropped
}

/// Instructions since the first keyframe, over resets, which count anew.
fn works(held: &[Held]) -> Vec<u64> {
    let mut total = 0;
    let mut before = None;
    held.iter()
        .map(|keyframe| {
            let retired = keyframe.retired;
            total += match before {
                None => 0,
                Some(before) => retired.checked_sub(before).unwrap_or(retired),
            };
            before = Some(retired);
            total
        })
        .collect()
}

/// The place in `left` of the keyframe that leaves the smallest gap in relation to its age. The
/// newest one stays: it is where most seeks go.
fn least_useful(held: &[Held], works: &[u64], left: &[usize]) -> Option<usize> {
    let newest = works[*left.last()?];
    let gap_and_age = |place: usize| {
        let work = |place: usize| works[left[place]];
        let gap = work(place + 1) - work(place - 1);
        (u128::from(gap) + 1, u128::from(newest - work(place)) + 1)
    };
    let inner = 1..left.len().saturating_sub(1);
    let droppable = inner.filter(|&place| held[left[place]].role == Role::Cache);
    droppable.min_by(|&one, &other| {
        let ((gap_one, age_one), (gap_other, age_other)) = (gap_and_age(one), gap_and_age(other));
        // gap / age, without dividing.
        (gap_one * age_other).cmp(&(gap_other * age_one))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const WORK: u64 = WORK_MIN;

    #[test]
    fn keyframes_cost_a_hundredth_and_wait_for_a_burst_to_end() {
        // CPU milliseconds and instructions since the last one, which cost 50 ms.
        let check = |cpu_ms: u32, work: u64, activity, expected| {
            let last = Moment { lab_cpu: 7 * MS, retired: 1000 };
            let now = Moment { lab_cpu: (7 + cpu_ms) * MS, retired: 1000 + work };
            let due = Cadence::after(last, 50 * MS).is_due(now, activity);
            assert_eq!(due, expected, "{cpu_ms} ms, {work} instructions, {activity:?}");
        };
        check(4999, WORK, Activity::Idle, false);
        check(5000, WORK, Activity::Idle, true);
        check(5000, WORK, Activity::Busy, false);
        check(5999, WORK, Activity::Busy, false);
        check(6000, WORK, Activity::Busy, true);
        // Nothing happened, however long it took.
        check(1_000_000, WORK - 1, Activity::Idle, false);
        check(1_000_000, 0, Activity::Busy, false);
    }

    #[test]
    fn a_reset_is_something_that_happened() {
        let last = Moment { lab_cpu: Duration::ZERO, retired: 1 << 40 };
        let now = Moment { lab_cpu: 1000 * MS, retired: 5 };
        assert!(Cadence::after(last, 10 * MS).is_due(now, Activity::Idle));
        assert!(!Cadence::after(last, 11 * MS).is_due(now, Activity::Idle));
    }

    /// Keyframes of 10 bytes at these instructions; what is left within the budget.
    #[track_caller]
    fn check_left(retired: &[u64], budget_bytes: u64, expected: &[u64]) {
        let held: Vec<Held> = retired
            .iter()
            .enumerate()
            .map(|(index, &retired)| Held {
                retired,
                pack_bytes: 10,
                role: if index == 0 { Role::First } else { Role::Cache },
            })
            .collect();
        let dropped = to_drop(&held, budget_bytes);
        let left = (0..held.len()).filter(|index| !dropped.contains(index));
        let left: Vec<u64> = left.map(|index| retired[index]).collect();
        assert_eq!(left, expected);
    }

    #[test]
    fn the_older_the_sparser() {
        let even: Vec<u64> = (0..=16).map(|n| n * 100).collect();
        check_left(&even, 170, &even);
        // Room for more is made: to three quarters of the budget.
        check_left(&even, 160, &[0, 400, 600, 800, 900, 1000, 1100, 1200, 1300, 1400, 1500, 1600]);
        check_left(&even, 80, &[0, 800, 1200, 1400, 1500, 1600]);
        // The first and the newest stay, whatever the budget says.
        check_left(&even, 0, &[0, 1600]);
        check_left(&[5], 0, &[5]);
        check_left(&[], 0, &[]);
        // Instructions counted anew after a reset.
        check_left(&[0, 1000, 10, 20, 1000], 40, &[0, 20, 1000]);
    }

    #[test]
    fn first_keyframes_of_later_branches_stay() {
        let held = |retired, role| Held { retired, pack_bytes: 10, role };
        let all = [
            held(0, Role::First),
            held(10, Role::Cache),
            held(11, Role::First),
            held(12, Role::Cache),
            held(13, Role::Cache),
        ];
        assert_eq!(to_drop(&all, 20), BTreeSet::from([1, 3]));
    }
}
