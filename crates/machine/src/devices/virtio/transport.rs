//! The virtio-mmio transport, version 2 (virtio 1.2 §4.2).
//!
//! Owns registers, feature negotiation, queues and the interrupt. Does not know what the device
//! behind it does.

mod device;
mod persist;

pub(crate) use device::{Action, FEATURE_VERSION_1};
pub use device::{Transport, read_empty};
pub use persist::TransportState;
