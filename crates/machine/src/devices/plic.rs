//! Platform-level interrupt controller, as on QEMU's `virt` board: 95 sources, priorities 0 to 7,
//! context `2 * hart` for M-mode and `2 * hart + 1` for S-mode.
//!
//! Owns gateways, priorities, enables and claims. Does not know which device has which source.

mod device;
mod persist;
#[cfg(test)]
mod tests;

pub use device::{Level, Plic, SOURCES};
pub use persist::PlicState;
