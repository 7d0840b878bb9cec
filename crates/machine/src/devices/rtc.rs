//! Real-time clock: the goldfish RTC, with one alarm.
//!
//! Owns the distance between virtual time and the time it shows. Does not read any clock: what it
//! shows at power-on is configuration, and it goes on with virtual time.

mod device;
mod persist;
#[cfg(test)]
mod tests;

pub use device::Rtc;
pub use persist::RtcState;
