//! How often something may be done: a little at once, then evenly over time. Pure.

use std::time::{Duration, Instant};

/// What may be done every `each`, and `burst` times at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    each: Duration,
    burst: u32,
    /// When everything that was done is paid for.
    paid: Option<Instant>,
}

impl Budget {
    pub(super) const fn new(burst: u32, each: Duration) -> Budget {
        Budget { each, burst, paid: None }
    }

    /// Whether it may be done once more now; then it is.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let owed = self.paid.map_or(Duration::ZERO, |paid| paid.saturating_duration_since(now));
        let may = owed + self.each <= self.each * self.burst;
        if may {
            self.paid = Some(now + owed + self.each);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_at_once_then_one_at_a_time() {
        let mut budget = Budget::new(3, Duration::from_secs(2));
        let start = Instant::now();
        for (second, expected) in [
            (0, true),
            (0, true),
            (0, true),
            (0, false),
            (1, false),
            (2, true),
            (2, false),
            (9, true),
        ] {
            let now = start + Duration::from_secs(second);
            assert_eq!(budget.take(now), expected, "second {second}");
        }
    }
}
