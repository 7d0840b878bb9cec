//! A disk (virtio 1.2 §5.2).
//!
//! Owns the requests in flight: they are machine state, and their data moves at the instant they
//! complete. What the disk reads is [`crate::devices::disk`]'s.

mod device;
mod persist;
mod queue;
#[cfg(test)]
mod tests;

pub use device::Blk;
pub use persist::BlkState;
