//! A lab's share of a core: after its guest has run, it rests for as long as keeps it within that.
//!
//! The first second of running is free, so that somebody who waits for a prompt has it soon. It is
//! counted in time, not by what the machine says that it is doing: a hostile guest would never be
//! done.
//!
//! Wall time is what counts, so a host with other work to do takes from the lab's share, too. Knows
//! no clock; time comes in as nanoseconds from any fixed origin.

/// What a guest runs before it has to rest.
const FREE_NS: u64 = 1_000_000_000;

/// How much of a core a guest may use, and until when it rests.
#[derive(Debug)]
pub(super) struct Share {
    percent: u64,
    free_ns: u64,
    rests_until_wall_ns: u64,
}

impl Share {
    /// So many hundredths of a core; all of it without a number.
    pub(super) fn new(percent: Option<u8>) -> Share {
        let percent = percent.unwrap_or(100).clamp(1, 100).into();
        Share { percent, free_ns: FREE_NS, rests_until_wall_ns: 0 }
    }

    /// Until when the guest rests, if it does at `wall_ns`.
    pub(super) fn rest(&self, wall_ns: u64) -> Option<u64> {
        (wall_ns < self.rests_until_wall_ns).then_some(self.rests_until_wall_ns)
    }

    /// The guest has run from one time to another.
    pub(super) fn ran(&mut self, from_wall_ns: u64, to_wall_ns: u64) {
        let ran_ns = to_wall_ns.saturating_sub(from_wall_ns);
        let free_ns = ran_ns.min(self.free_ns);
        self.free_ns -= free_ns;
        let rest_ns = (ran_ns - free_ns).saturating_mul(100 - self.percent) / self.percent;
        self.rests_until_wall_ns = to_wall_ns.saturating_add(rest_ns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_rests_for_the_rest_of_its_core() {
        let check = |percent, until| {
            let mut share = Share::new(percent);
            assert_eq!(share.rest(0), None);
            share.ran(0, FREE_NS - 500);
            assert_eq!(share.rest(FREE_NS - 500), None, "the first second is free");
            share.ran(500, 1_000);
            share.ran(1_000, 3_000);
            assert_eq!(share.rest(3_000), until, "{percent:?}");
            assert_eq!(until.and_then(|until| share.rest(until)), None);
        };
        check(None, None);
        check(Some(100), None);
        check(Some(50), Some(5_000));
        check(Some(25), Some(9_000));
        check(Some(1), Some(201_000));
        // No spec says so; a damaged one does not stop the machine.
        check(Some(0), Some(201_000));
    }
}
