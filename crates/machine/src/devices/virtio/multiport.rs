//! Named ports: virtio console with `F_MULTIPORT` (virtio 1.2 §5.3), `/dev/virtio-ports/NAME` in
//! Linux.
//!
//! Owns both ends' open or closed state and the bytes waiting for the guest, in the order in which
//! the host gave them. Knows nothing of what is said over a port.

mod device;
mod persist;
mod queue;
#[cfg(test)]
mod tests;

pub use device::Multiport;
pub use persist::MultiportState;
