//! A terminal: virtio console with one port (virtio 1.2 §5.3), `hvcN` in Linux.
//!
//! Owns the characters waiting for the guest and the terminal's size. Knows nothing of what is
//! typed at it or shown on it.

mod device;
mod persist;
mod queue;
#[cfg(test)]
mod tests;

pub use device::Console;
pub use persist::ConsoleState;
pub(in crate::devices::virtio) use queue::{fill, gather};
