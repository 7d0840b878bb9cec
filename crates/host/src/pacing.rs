//! Real-time pacing: how far a machine may run now, at which rate, and when it may sleep.
//!
//! Virtual time follows the wall clock. While the guest is busy only the cost of an instruction
//! (the rate) is steered: a busy guest never sleeps, and virtual time leaps only in WFI. When the
//! machine lags more than [`LAG_NS_MAX`] behind, the lag is forgiven. This module is pure: it reads
//! no clock; wall time comes in as nanoseconds from any fixed origin.

use stackvm_machine::Instant;
use stackvm_machine::instant::{TICKS_PER_NS, Ticks};

/// Wall time of the longest slice, in nanoseconds: input waits no longer than this.
pub const SLICE_NS_MAX: u64 = 2_000_000;
/// Wall time of the first slice after the machine was idle; each next one is twice as long. Short,
/// so that a guest that soon waits again does not leap ahead of the wall clock.
pub const SLICE_NS_MIN: u64 = 100_000;
/// Lag behind the wall clock that is made up for; above it the wall offset moves.
pub const LAG_NS_MAX: u64 = 1_000_000_000;
/// Least wall time between two changes of rate.
pub const RATE_CHANGE_NS_MIN: u64 = 100_000_000;

const RATE_MAX: u32 = 1024;
/// Distance from the wall clock that is not steered against.
const SLACK_NS: u64 = 10_000_000;
/// Slices with fewer instructions say nothing about speed: they are leaps and wake-ups.
const MEASURED_INSTRUCTIONS_MIN: u64 = 20_000;
/// Instructions per second assumed before the first measurement.
const SPEED_AT_FIRST: u64 = 50_000_000;

/// What to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Plan {
    /// Put in a rate input if there is one, then run to `until`, then report [`Pacer::ran`].
    Run {
        /// How far.
        until: Instant,
        /// A new rate in ticks per instruction.
        rate: Option<u32>,
    },
    /// Every hart waits: sleep until this wall time or the next input.
    Sleep {
        /// Nanoseconds; `None` without an end.
        until_wall_ns: Option<u64>,
    },
}

/// Decides for one machine.
#[derive(Debug)]
pub struct Pacer {
    /// Virtual and wall time that belong together.
    anchor: Instant,
    anchor_wall_ns: u64,
    rate: u32,
    rate_changed_wall_ns: Option<u64>,
    /// Instructions per second of wall time, smoothed; `None` before the first measurement.
    speed: Option<u64>,
    slice_ns: u64,
}

impl Pacer {
    /// A pacer for a machine that has reached `now` at rate `rate_ticks`.
    pub fn new(wall_ns: u64, now: Instant, rate_ticks: u32) -> Pacer {
        assert!(rate_ticks.is_power_of_two() && rate_ticks <= RATE_MAX, "rate {rate_ticks}");
        Pacer {
            anchor: now,
            anchor_wall_ns: wall_ns,
            rate: rate_ticks,
            rate_changed_wall_ns: None,
            speed: None,
            slice_ns: SLICE_NS_MIN,
        }
    }

    /// The rate last planned, in ticks per instruction.
    pub fn rate_ticks(&self) -> u32 {
        self.rate
    }

    /// Makes `wall_ns` and `now` belong together: after the machine was held still.
    pub fn anchor(&mut self, wall_ns: u64, now: Instant) {
        self.anchor = now;
        self.anchor_wall_ns = wall_ns;
    }

    /// The instant that belongs to a wall time.
    pub fn instant_at(&self, wall_ns: u64) -> Instant {
        self.anchor + Ticks::from_ns(wall_ns.saturating_sub(self.anchor_wall_ns))
    }

    /// How far an idle machine must leap before an input that arrives now, so that the input gets
    /// the instant at which it arrived. `idle_until` as of `Machine::idle_until`.
    pub fn leap(&self, wall_ns: u64, now: Instant, idle_until: Option<Instant>) -> Option<Instant> {
        let to = self.instant_at(wall_ns).min(idle_until?);
        (to > now).then_some(to)
    }

    /// What to do at `wall_ns` with a machine that has reached `now`.
    pub fn plan(&mut self, wall_ns: u64, now: Instant, idle_until: Option<Instant>) -> Plan {
        let start = match idle_until {
            Some(event) if event > now => {
                if self.instant_at(wall_ns) < event {
                    self.slice_ns = SLICE_NS_MIN;
                    return Plan::Sleep { until_wall_ns: self.wall_at(event) };
                }
                // Waiting is not lag: the leap to the event costs nothing.
                event
            }
            _ => now,
        };
        if self.instant_at(wall_ns).since(start).ns() > LAG_NS_MAX {
            self.anchor(wall_ns, start);
        }
        let rate = if idle_until.is_none() { self.steer(wall_ns, now) } else { None };
        let instructions = self.speed() as u128 * u128::from(self.slice_ns) / 1_000_000_000;
        let ticks = instructions.max(1) * u128::from(self.rate);
        let until = start + Ticks::new(u64::try_from(ticks).unwrap_or(u64::MAX));
        self.slice_ns = (self.slice_ns * 2).min(SLICE_NS_MAX);
        Plan::Run { until, rate }
    }

    /// Reports a slice: how long it took and how many instructions it retired.
    pub fn ran(&mut self, took_ns: u64, instructions: u64) {
        if instructions < MEASURED_INSTRUCTIONS_MIN {
            return;
        }
        let measured = u128::from(instructions) * 1_000_000_000 / u128::from(took_ns.max(1));
        let measured = u64::try_from(measured).unwrap_or(u64::MAX).clamp(1_000_000, 1 << 36);
        // Slowing down is believed at once, so that slices stay short; speeding up is smoothed.
        self.speed = Some(match self.speed {
            Some(speed) if measured > speed => speed + (measured - speed) / 8,
            Some(speed) => (speed + measured) / 2,
            None => measured,
        });
    }

    fn speed(&self) -> u64 {
        self.speed.unwrap_or(SPEED_AT_FIRST)
    }

    /// A change of rate if one is due.
    fn steer(&mut self, wall_ns: u64, now: Instant) -> Option<u32> {
        let speed = self.speed?;
        let changed = self.rate_changed_wall_ns;
        if changed.is_some_and(|at| wall_ns.saturating_sub(at) < RATE_CHANGE_NS_MIN) {
            return None;
        }
        // The two powers of two between which virtual time runs exactly as fast as the wall's.
        let exact = (TICKS_PER_NS * 1_000_000_000 / speed).clamp(1, RATE_MAX.into()) as u32;
        let slow = 1 << exact.ilog2();
        let fast = (slow * 2).min(RATE_MAX);
        let wanted = self.instant_at(wall_ns);
        let rate = if wanted.since(now).ns() > SLACK_NS {
            fast
        } else if now.since(wanted).ns() > SLACK_NS {
            slow
        } else {
            self.rate.clamp(slow, fast)
        };
        if rate == self.rate {
            return None;
        }
        self.rate = rate;
        self.rate_changed_wall_ns = Some(wall_ns);
        Some(rate)
    }

    /// When `instant` is due; `None` for never.
    fn wall_at(&self, instant: Instant) -> Option<u64> {
        if instant == Instant::MAX {
            return None;
        }
        // Up to the next nanosecond, or the sleeper would wake a tick too early and sleep again.
        let ahead_ns = instant.since(self.anchor).get().div_ceil(TICKS_PER_NS);
        self.anchor_wall_ns.checked_add(ahead_ns)
    }
}

#[cfg(test)]
mod tests;
