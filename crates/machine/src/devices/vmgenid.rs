//! Virtual machine generation id (`microsoft,vmgenid`): 16 bytes that change when a machine
//! becomes a fresh fork, with one interrupt edge, so that the guest stops trusting its randomness.
//!
//! Owns the id. Which interrupt the edge goes to is the board's.

mod device;
mod persist;
#[cfg(test)]
mod tests;

pub use device::Vmgenid;
pub use persist::VmgenidState;
