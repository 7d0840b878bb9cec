//! Whether compiled code is worth its memory.

/// Wall time between looks at how much compiled code is used.
const LOOK_NS: u64 = 60_000_000_000;
/// A guest that retired fewer instructions since the last look is idle.
const IDLE_STEPS: u64 = 20_000_000;

/// How much a guest did since it was looked at last.
#[derive(Debug, Default)]
pub(super) struct CodeUse {
    looked_at_ns: u64,
    retired: u64,
    /// It was idle at the last look.
    was_idle: bool,
}

impl CodeUse {
    /// Whether the guest has hardly done anything since the last look, if it is time for one: then
    /// its code is to be given back.
    pub(super) fn is_idle(&mut self, wall_ns: u64, retired: u64) -> bool {
        if wall_ns.saturating_sub(self.looked_at_ns) < LOOK_NS {
            return false;
        }
        // A reset counts instructions anew: what ran before it is hot no more.
        let steps = retired.saturating_sub(self.retired);
        *self = CodeUse { looked_at_ns: wall_ns, retired, was_idle: steps < IDLE_STEPS };
        self.was_idle
    }

    /// When to look even if nothing else happens: once, after the guest has gone quiet.
    pub(super) fn due(&self) -> Option<u64> {
        (!self.was_idle).then_some(self.looked_at_ns + LOOK_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_minute_gives_code_back_and_wakes_once() {
        let mut used = CodeUse::default();
        let mut retired = 0;
        let mut look = |minutes: u64, steps: u64, idle: bool, due: Option<u64>| {
            retired += steps;
            assert_eq!(used.is_idle(minutes * LOOK_NS, retired), idle, "minute {minutes}");
            assert_eq!(used.due(), due.map(|minutes| minutes * LOOK_NS), "minute {minutes}");
        };
        look(0, 5 * IDLE_STEPS, false, Some(1));
        look(1, 0, false, Some(2));
        // Busy up to the last look, and nothing since.
        look(2, IDLE_STEPS - 1, true, None);
        look(3, 1, true, None);
        look(9, IDLE_STEPS, false, Some(10));
        look(10, 0, true, None);
    }

    #[test]
    fn less_than_a_minute_is_no_look() {
        let mut used = CodeUse::default();
        assert!(!used.is_idle(LOOK_NS - 1, 0));
        assert!(used.is_idle(LOOK_NS, 0));
        assert!(!used.is_idle(2 * LOOK_NS - 1, 0));
    }
}
