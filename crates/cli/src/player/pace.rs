//! How fast a recording is played: from wall time to the machine's time. Pure: wall time is passed
//! in.

use std::time::Duration;

use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;

/// Shorter pauses between events are none that anybody wants to pass over.
const QUIET_MIN: Ticks = Ticks::from_ns(100_000_000);
/// The slowest and fastest.
const SPEED_MIN: f64 = 0.125;
const SPEED_MAX: f64 = 128.0;

/// The stretches of a recording in which nothing happens: no input, no output.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Quiet {
    stretches: Vec<(Instant, Instant)>,
}

impl Quiet {
    /// From the instants at which something happens, in order.
    pub(crate) fn new(events: impl IntoIterator<Item = Instant>) -> Quiet {
        let mut stretches = Vec::new();
        let mut last: Option<Instant> = None;
        for at in events {
            if let Some(last) = last
                && at.since(last) > QUIET_MIN
            {
                stretches.push((last, at));
            }
            last = Some(at);
        }
        Quiet { stretches }
    }

    /// Where playing for `span` leads from `from`, when no more than `limit` of a quiet stretch is
    /// played.
    fn ahead(&self, from: Instant, mut span: Ticks, limit: Ticks) -> Instant {
        let mut at = from;
        let first = self.stretches.partition_point(|(_, end)| *end <= from);
        for (start, end) in &self.stretches[first..] {
            let cut = *start + limit;
            if cut >= *end {
                continue;
            }
            let before = cut.since(at);
            if span < before {
                break;
            }
            span = Ticks::new(span.get() - before.get());
            at = *end;
        }
        at + span
    }
}

/// The pace at which a recording is played.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    speed: f64,
    limit: Option<Ticks>,
    quiet: Quiet,
}

impl Pace {
    /// `speed` times as fast as it was; with `limit`, quiet stretches are cut to it.
    pub(crate) fn new(speed: f64, limit: Option<Ticks>) -> Pace {
        Pace { speed, limit, quiet: Quiet::default() }
    }

    /// Where the quiet stretches are.
    pub(crate) fn set_quiet(&mut self, quiet: Quiet) {
        self.quiet = quiet;
    }

    /// Another speed.
    pub(crate) fn set_speed(&mut self, speed: f64) {
        self.speed = speed;
    }

    /// Another limit.
    pub(crate) fn set_limit(&mut self, limit: Option<Ticks>) {
        self.limit = limit;
    }

    /// Where playing for `wall` leads from `from`.
    pub(crate) fn ahead(&self, from: Instant, wall: Duration) -> Instant {
        let span = Ticks::from_ns((wall.as_nanos() as f64 * self.speed) as u64);
        match self.limit {
            Some(limit) => self.quiet.ahead(from, span, limit),
            None => from + span,
        }
    }
}

/// Half of `speed`, not too slow.
pub(crate) fn slower(speed: f64) -> f64 {
    (speed / 2.0).max(SPEED_MIN)
}

/// Twice `speed`, not too fast.
pub(crate) fn faster(speed: f64) -> f64 {
    (speed * 2.0).min(SPEED_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_ns(ms * 1_000_000)
    }

    fn check(speed: f64, limit_ms: Option<u64>, from_ms: u64, wall_ms: u64, expected_ms: u64) {
        let mut pace = Pace::new(speed, limit_ms.map(|ms| Ticks::from_ns(ms * 1_000_000)));
        // Typing at 0 and 0.05 s, at 10 s, and from 20 s on.
        pace.set_quiet(Quiet::new([0, 50, 10_000, 20_000, 20_010].map(at)));
        let seen = pace.ahead(at(from_ms), Duration::from_millis(wall_ms));
        assert_eq!(seen, at(expected_ms), "{speed} {limit_ms:?} {from_ms} {wall_ms}");
    }

    #[test]
    fn time_passes_at_the_speed_asked_for() {
        check(1.0, None, 0, 33, 33);
        check(2.0, None, 100, 1000, 2100);
        check(0.5, None, 100, 1000, 600);
    }

    #[test]
    fn quiet_times_are_cut_to_the_limit() {
        check(1.0, Some(2000), 0, 1000, 1000);
        // Two seconds after 50 ms of typing, the next thing is at 10 s.
        check(1.0, Some(2000), 0, 2050, 10_000);
        check(1.0, Some(2000), 0, 2051, 10_001);
        check(1.0, Some(2000), 0, 4051, 20_001);
        // In the middle of what is passed over.
        check(1.0, Some(2000), 5000, 10, 10_010);
        check(1.0, Some(0), 0, 51, 20_001);
        // Longer than any pause: as if there were none.
        check(1.0, Some(60_000), 0, 9000, 9000);
        // After the last thing that happened nothing is known.
        check(1.0, Some(2000), 20_010, 9000, 29_010);
        check(4.0, Some(2000), 0, 1000, 11_950);
    }

    #[test]
    fn speeds_have_ends() {
        assert_eq!(faster(1.0), 2.0);
        assert_eq!(slower(1.0), 0.5);
        assert_eq!((0..20).fold(1.0, |speed, _| faster(speed)), SPEED_MAX);
        assert_eq!((0..20).fold(1.0, |speed, _| slower(speed)), SPEED_MIN);
    }
}
