//! Whether compiled code is worth its memory.

/// Wall time between looks at how much compiled code is used.
const LOOK_NS: u64 = 60_000_000_000;
/// A guest that retired fewer instructions since the last look is idle.
const IDLE_STEPS: u64 = 20_000_000;

/// Wall time after which a guest is looked at that has just become one of its own, for which it ran
/// much that it runs no more; there may be many like it.
const SOON_NS: u64 = 1_500_000_000;

/// How much a guest did since it was looked at last.
#[derive(Debug)]
pub(super) struct CodeUse {
    look_at_ns: u64,
    retired: u64,
    /// It was idle at the last look.
    was_idle: bool,
}

impl CodeUse {
    /// Whether the guest has hardly done anything since the last look, if it is time for one: then
    /// its code is to be given back.
    pub(super) fn is_idle(&mut self, wall_ns: u64, retired: u64) -> bool {
        if wall_ns < self.look_at_ns {
            return false;
        }
        // A reset counts instructions anew: what ran before it is hot no more.
        let steps = retired.saturating_sub(self.retired);
        *self = CodeUse { look_at_ns: wall_ns + LOOK_NS, retired, was_idle: steps < IDLE_STEPS };
        self.was_idle
    }

    /// When to look even if nothing else happens: once, after the guest has gone quiet.
    pub(super) fn due(&self) -> Option<u64> {
        (!self.was_idle).then_some(self.look_at_ns)
    }

    /// Looks soon: what ran so far says nothing of what will.
    pub(super) fn look_soon(&mut self, wall_ns: u64, retired: u64) {
        *self = CodeUse { look_at_ns: wall_ns + SOON_NS, retired, was_idle: false };
    }
}

impl Default for CodeUse {
    fn default() -> CodeUse {
        CodeUse { look_at_ns: LOOK_NS, retired: 0, was_idle: false }
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
    fn who_has_just_become_another_is_looked_at_soon() {
        let mut used = CodeUse::default();
        used.look_soon(7, 5 * IDLE_STEPS);
        assert_eq!(used.due(), Some(7 + SOON_NS));
        assert!(!used.is_idle(6 + SOON_NS, 5 * IDLE_STEPS));
        assert!(used.is_idle(7 + SOON_NS, 5 * IDLE_STEPS + 1));
        // It may go on with something that takes longer.
        used.look_soon(0, 0);
        assert!(!used.is_idle(SOON_NS, IDLE_STEPS));
        assert_eq!(used.due(), Some(SOON_NS + LOOK_NS));
    }

    #[test]
    fn less_than_a_minute_is_no_look() {
        let mut used = CodeUse::default();
        assert!(!used.is_idle(LOOK_NS - 1, 0));
        assert!(used.is_idle(LOOK_NS, 0));
        assert!(!used.is_idle(2 * LOOK_NS - 1, 0));
    }
}
