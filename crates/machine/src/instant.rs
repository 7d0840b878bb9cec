//! Virtual time: one `u64` of 1/16 ns ticks since the machine was switched on.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

/// A point in virtual time, in ticks of 1/16 ns. It names exactly one instruction boundary,
/// because every instruction takes at least one tick.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Instant(u64);

/// A span of virtual time, in ticks of 1/16 ns.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Ticks(u64);

/// Ticks in a nanosecond.
pub const TICKS_PER_NS: u64 = 16;

/// Ticks in one step of `mtime`, which counts at 10 MHz as on QEMU's `virt` board.
pub const TICKS_PER_MTIME: u64 = 100 * TICKS_PER_NS;

impl Instant {
    /// The moment the machine was switched on.
    pub const ZERO: Instant = Instant(0);
    /// Later than anything a machine reaches.
    pub const MAX: Instant = Instant(u64::MAX);

    /// The instant `ticks` sixteenths of a nanosecond after the start.
    pub const fn from_ticks(ticks: u64) -> Self {
        Instant(ticks)
    }

    /// The instant `ns` nanoseconds after the start; saturates at [`Instant::MAX`].
    pub const fn from_ns(ns: u64) -> Self {
        Instant(ns.saturating_mul(TICKS_PER_NS))
    }

    /// Sixteenths of a nanosecond since the start.
    pub const fn ticks(self) -> u64 {
        self.0
    }

    /// Whole nanoseconds since the start.
    pub const fn ns(self) -> u64 {
        self.0 / TICKS_PER_NS
    }

    /// What `mtime` shows at this instant (10 MHz).
    pub const fn mtime(self) -> u64 {
        self.0 / TICKS_PER_MTIME
    }

    /// The first instant at which `mtime` shows at least `mtime`; saturates.
    pub const fn from_mtime(mtime: u64) -> Self {
        Instant(mtime.saturating_mul(TICKS_PER_MTIME))
    }

    /// The span from `earlier` to here, or zero if `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Ticks {
        Ticks(self.0.saturating_sub(earlier.0))
    }
}

impl Ticks {
    /// A span of `ticks` sixteenths of a nanosecond.
    pub const fn new(ticks: u64) -> Self {
        Ticks(ticks)
    }

    /// A span of `ns` nanoseconds; saturates.
    pub const fn from_ns(ns: u64) -> Self {
        Ticks(ns.saturating_mul(TICKS_PER_NS))
    }

    /// Sixteenths of a nanosecond.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Whole nanoseconds.
    pub const fn ns(self) -> u64 {
        self.0 / TICKS_PER_NS
    }
}

impl Add<Ticks> for Instant {
    type Output = Instant;
    fn add(self, span: Ticks) -> Instant {
        Instant(self.0.saturating_add(span.0))
    }
}

impl AddAssign<Ticks> for Instant {
    fn add_assign(&mut self, span: Ticks) {
        *self = *self + span;
    }
}

impl Sub<Ticks> for Instant {
    type Output = Instant;
    fn sub(self, span: Ticks) -> Instant {
        Instant(self.0.saturating_sub(span.0))
    }
}

impl fmt::Display for Instant {
    /// Nanoseconds with up to four decimals, exact: `123456.0625ns`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / TICKS_PER_NS, self.0 % TICKS_PER_NS);
        if part == 0 {
            return write!(f, "{whole}ns");
        }
        let decimals = format!("{:04}", part * 625);
        write!(f, "{whole}.{}ns", decimals.trim_end_matches('0'))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Ticks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Instant(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_print_exactly() {
        let check = |ticks, text: &str| assert_eq!(Instant::from_ticks(ticks).to_string(), text);
        check(0, "0ns");
        check(16, "1ns");
        check(1, "0.0625ns");
        check(24, "1.5ns");
        check(123_456 * 16 + 1, "123456.0625ns");
    }

    #[test]
    fn mtime_counts_at_ten_megahertz() {
        assert_eq!(Instant::from_ns(1_000_000_000).mtime(), 10_000_000);
        assert_eq!(Instant::from_mtime(7).mtime(), 7);
        assert_eq!(Instant::from_mtime(u64::MAX), Instant::MAX);
    }
}
