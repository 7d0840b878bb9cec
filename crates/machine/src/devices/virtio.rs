//! virtio-mmio devices (virtio 1.2). A [`VirtioSlot`] is one transport with one device in it.
//!
//! Owns what every device type has in common: the transport, queues, the traits behind them and
//! what crosses from the host. Which slot a device sits in is the board's.

pub mod blk;
pub mod console;
pub mod multiport;
pub mod net;
pub mod queue;
pub mod rng;
mod slot;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod transport;

pub use slot::{VirtioDevice, VirtioDeviceState, VirtioSlot, VirtioSlotState};

use crate::devices::{DeviceContext, Stall};
use crate::instant::Instant;
use crate::io::PortId;
use queue::QueueError;
use transport::Transport;

/// Something from outside for the device in a slot. A device ignores what is not for its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HostEvent<'a> {
    /// Bytes typed at a terminal.
    Input(&'a [u8]),
    /// A terminal's new size in characters.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The host opened its end of a port.
    PortOpen(PortId),
    /// The host closed its end of a port.
    PortClose(PortId),
    /// Bytes for a port.
    PortInput(PortId, &'a [u8]),
    /// An Ethernet frame from outside.
    Frame(&'a [u8]),
    /// The machine is a fresh fork; what is random or unique is derived anew from this.
    Identity {
        /// The new seed.
        seed: u64,
    },
}

/// What a device type does behind the transport.
pub(crate) trait Function {
    /// Device id (virtio 1.2 §5).
    fn device_id(&self) -> u32;

    /// Feature bits of the device type, without the transport's.
    fn features(&self) -> u64;

    /// The largest size of each queue, which also says how many there are.
    fn queue_sizes(&self) -> Vec<u16>;

    /// The configuration space.
    fn config(&self) -> Vec<u8>;

    /// The driver has made buffers available in `queue`, or may have.
    fn notify(&mut self, queue: usize, io: &mut Io<'_, '_>) -> Result<(), QueueError>;

    /// Something happened outside. The queues may not be live: then [`Io::pop`] finds nothing, and
    /// the device only remembers.
    fn event(&mut self, event: HostEvent<'_>, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        let _ = (event, io);
        Ok(())
    }

    /// The driver has reset the device: what it knew of the driver is gone.
    fn reset(&mut self, cx: &mut DeviceContext<'_>);

    /// When the device next does something by itself.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what is due at or before `io.cx.now`.
    fn fire(&mut self, io: &mut Io<'_, '_>) -> Result<(), FireError> {
        let _ = io;
        Ok(())
    }
}

/// What a device works with: its transport's queues, and the machine around it.
pub(crate) struct Io<'a, 'b> {
    pub(crate) transport: &'a mut Transport,
    pub(crate) cx: &'a mut DeviceContext<'b>,
}

impl Io<'_, '_> {
    /// Takes the next chain of buffers the driver has made available, if there is one.
    pub(crate) fn pop(&mut self, queue: usize) -> Result<Option<queue::Chain>, QueueError> {
        self.transport.pop(queue, self.cx.ram)
    }

    /// Gives a chain back, with `written` bytes in its writable part, and interrupts the driver if
    /// it wants that.
    pub(crate) fn complete(
        &mut self,
        queue: usize,
        chain: &queue::Chain,
        written: u32,
    ) -> Result<(), QueueError> {
        self.transport.complete(queue, chain.head, written, self.cx.ram)
    }
}

/// Why a device could not do what was due.
#[derive(Debug)]
pub(crate) enum FireError {
    /// A host condition; nothing has changed.
    Stall(Stall),
    /// The driver's queue is broken.
    Queue(QueueError),
}

impl From<QueueError> for FireError {
    fn from(error: QueueError) -> Self {
        FireError::Queue(error)
    }
}
