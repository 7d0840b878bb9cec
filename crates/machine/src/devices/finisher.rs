//! Test finisher: how bare-metal programs and firmware switch the machine off or reset it.
//!
//! Owns only the request. Carrying it out is the machine's.

mod device;
mod persist;
#[cfg(test)]
mod tests;

pub use device::{Finisher, FinisherRequest};
pub use persist::FinisherState;
