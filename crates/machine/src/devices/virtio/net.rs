//! A network interface (virtio 1.2 §5.1).
//!
//! Owns the MAC address and the frames waiting for the guest. Offloads nothing: a frame is what is
//! on the wire.

mod device;
mod persist;
mod queue;
#[cfg(test)]
mod tests;

pub use device::Net;
pub use persist::NetState;
