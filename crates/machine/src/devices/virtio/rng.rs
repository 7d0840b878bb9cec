//! A source of randomness (virtio 1.2 §5.4).
//!
//! Owns a position in a stream that the seed decides: no host randomness is in a machine.

mod device;
mod persist;
mod queue;
#[cfg(test)]
mod tests;

pub use device::Rng;
pub use persist::RngState;
