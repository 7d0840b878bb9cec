//! Registers of the goldfish RTC (Android "goldfish" virtual hardware; QEMU `goldfish_rtc`).

use super::persist::RtcState;
use crate::devices::{Device, DeviceContext, Stall};
use crate::instant::{Instant, Ticks};

const TIME_LOW: u64 = 0x00;
const TIME_HIGH: u64 = 0x04;
const ALARM_LOW: u64 = 0x08;
const ALARM_HIGH: u64 = 0x0c;
const IRQ_ENABLED: u64 = 0x10;
const CLEAR_ALARM: u64 = 0x14;
const ALARM_STATUS: u64 = 0x18;
const CLEAR_INTERRUPT: u64 = 0x1c;

/// The clock.
pub struct Rtc {
    pub(super) state: RtcState,
}

impl Rtc {
    /// A clock that shows `rtc_ns` nanoseconds since 1970 at [`Instant::ZERO`].
    pub fn new(rtc_ns: u64) -> Self {
        Rtc { state: RtcState { base_ns: rtc_ns, ..RtcState::default() } }
    }

    /// Makes the clock show `rtc_ns` at `now`. An alarm keeps the time of day it was set to.
    pub fn set_time(&mut self, rtc_ns: u64, now: Instant) {
        self.state.base_ns = rtc_ns.wrapping_sub(now.ns());
        self.plan_alarm(now);
    }

    /// Nanoseconds since 1970 at `now`.
    pub fn time_ns(&self, now: Instant) -> u64 {
        self.state.base_ns.wrapping_add(now.ns())
    }

    /// Finds the instant of a running alarm, or lets it ring when it has passed.
    fn plan_alarm(&mut self, now: Instant) {
        if self.state.alarm_at.is_none() {
            return;
        }
        match self.state.alarm_ns.checked_sub(self.time_ns(now)) {
            Some(ahead) if ahead > 0 => {
                // Whole nanoseconds, so that the clock shows the alarm's time when it rings.
                self.state.alarm_at = Some(Instant::from_ns(now.ns()) + Ticks::from_ns(ahead));
            }
            _ => {
                self.state.alarm_at = None;
                self.state.interrupt = true;
            }
        }
    }
}

impl Device for Rtc {
    fn read(&mut self, offset: u64, _size: u8, cx: &mut DeviceContext<'_>) -> u64 {
        match offset {
            TIME_LOW => {
                let time = self.time_ns(cx.now);
                // The guest reads low, then high; both must come from one moment.
                self.state.time_high = (time >> 32) as u32;
                time & 0xffff_ffff
            }
            TIME_HIGH => u64::from(self.state.time_high),
            ALARM_LOW => self.state.alarm_ns & 0xffff_ffff,
            ALARM_HIGH => self.state.alarm_ns >> 32,
            IRQ_ENABLED => u64::from(self.state.interrupt_enabled),
            ALARM_STATUS => u64::from(self.state.alarm_at.is_some()),
            _ => 0,
        }
    }

    fn write(&mut self, offset: u64, _size: u8, value: u64, cx: &mut DeviceContext<'_>) {
        let value = value & 0xffff_ffff;
        match offset {
            TIME_LOW => {
                let time = self.time_ns(cx.now);
                self.set_time((time & !0xffff_ffff) | value, cx.now);
            }
            TIME_HIGH => {
                let time = self.time_ns(cx.now);
                self.set_time((time & 0xffff_ffff) | value << 32, cx.now);
            }
            ALARM_LOW => {
                // Writing the low half arms it, so drivers write the high half first.
                self.state.alarm_ns = (self.state.alarm_ns & !0xffff_ffff) | value;
                self.state.alarm_at = Some(Instant::MAX);
                self.plan_alarm(cx.now);
            }
            ALARM_HIGH => {
                self.state.alarm_ns = (self.state.alarm_ns & 0xffff_ffff) | value << 32;
            }
            IRQ_ENABLED => self.state.interrupt_enabled = value & 1 != 0,
            CLEAR_ALARM => self.state.alarm_at = None,
            CLEAR_INTERRUPT => self.state.interrupt = false,
            _ => {}
        }
    }

    fn irq(&self) -> bool {
        self.state.interrupt && self.state.interrupt_enabled
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.state.alarm_at
    }

    fn fire(&mut self, cx: &mut DeviceContext<'_>) -> Result<(), Stall> {
        if self.state.alarm_at.is_some_and(|at| at <= cx.now) {
            self.state.alarm_at = None;
            self.state.interrupt = true;
        }
        Ok(())
    }
}
