//! Saved state of the real-time clock.

use serde::{Deserialize, Serialize};

use super::device::Rtc;
use crate::devices::{InvalidState, Persist, Validate};
use crate::instant::Instant;

/// Everything the guest can see of the clock.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct RtcState {
    /// Nanoseconds since 1970 shown at [`Instant::ZERO`], modulo 2^64.
    pub(super) base_ns: u64,
    /// High half of the time, from the moment the low half was read.
    pub(super) time_high: u32,
    /// Time of day of the alarm.
    pub(super) alarm_ns: u64,
    /// When a running alarm rings.
    pub(super) alarm_at: Option<Instant>,
    /// The alarm has rung.
    pub(super) interrupt: bool,
    pub(super) interrupt_enabled: bool,
}

impl Validate for RtcState {
    /// Every combination of values is a clock.
    fn validate(&self) -> Result<(), InvalidState> {
        Ok(())
    }
}

impl Persist for Rtc {
    const NAME: &'static str = "rtc";
    type State = RtcState;

    fn save(&self) -> RtcState {
        self.state.clone()
    }

    fn restore(&mut self, state: RtcState) -> Result<(), InvalidState> {
        state.validate()?;
        self.state = state;
        Ok(())
    }
}
