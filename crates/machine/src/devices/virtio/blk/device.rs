//! Configuration of the disk (virtio 1.2 §5.2.4) and its time.

use super::persist::BlkState;
use crate::config::DiskConfig;
use crate::devices::DeviceContext;
use crate::devices::disk::{Disk, SECTOR_BYTES};
use crate::devices::virtio::queue::{QUEUE_SIZE_MAX, QueueError};
use crate::devices::virtio::{FireError, Function, Io};
use crate::instant::Instant;

const FEATURE_SIZE_MAX: u64 = 1 << 1;
const FEATURE_SEGMENTS_MAX: u64 = 1 << 2;
const FEATURE_READ_ONLY: u64 = 1 << 5;
const FEATURE_BLOCK_SIZE: u64 = 1 << 6;
const FEATURE_FLUSH: u64 = 1 << 9;

/// Largest buffer of a request, and most buffers: together below
/// what one request may carry.
const SEGMENT_BYTES_MAX: u32 = 1 << 16;
const SEGMENTS_MAX: u32 = 254;

/// Bytes of the serial number.
pub(super) const SERIAL_BYTES: usize = 20;

/// A disk with its driver's requests.
pub struct Blk {
    pub(super) disk: Disk,
    pub(super) read_only: bool,
    pub(super) serial: [u8; SERIAL_BYTES],
    pub(super) state: BlkState,
}

impl Blk {
    /// The disk described by `config`. A serial number longer than 20 bytes is cut.
    pub fn new(config: &DiskConfig) -> Self {
        let mut serial = [0; SERIAL_BYTES];
        for (to, from) in serial.iter_mut().zip(config.serial.bytes()) {
            *to = from;
        }
        Blk {
            disk: Disk::new(config.source.clone()),
            read_only: config.read_only,
            serial,
            state: BlkState::default(),
        }
    }

    /// The disk's content. What the guest has written is not part of the saved state, because it
    /// can be large: it is saved from here block by block, and put back into
    /// [`Blk::disk_mut`].
    pub fn disk(&self) -> &Disk {
        &self.disk
    }

    /// The disk's content, to put back what the guest had written.
    pub fn disk_mut(&mut self) -> &mut Disk {
        &mut self.disk
    }
}

impl Function for Blk {
    fn device_id(&self) -> u32 {
        2
    }

    fn features(&self) -> u64 {
        let read_only = if self.read_only { FEATURE_READ_ONLY } else { 0 };
        FEATURE_SIZE_MAX | FEATURE_SEGMENTS_MAX | FEATURE_BLOCK_SIZE | FEATURE_FLUSH | read_only
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE_MAX]
    }

    fn config(&self) -> Vec<u8> {
        let mut config = Vec::with_capacity(24);
        config.extend(self.disk.sectors().to_le_bytes());
        config.extend(SEGMENT_BYTES_MAX.to_le_bytes());
        config.extend(SEGMENTS_MAX.to_le_bytes());
        // Geometry: none.
        config.extend([0; 4]);
        config.extend((SECTOR_BYTES as u32).to_le_bytes());
        config
    }

    fn notify(&mut self, _queue: usize, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        self.accept(io)
    }

    /// Requests in flight are gone, and nothing of them has happened.
    fn reset(&mut self, _cx: &mut DeviceContext<'_>) {
        self.state = BlkState::default();
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.state.requests.front().map(|request| request.complete_at)
    }

    fn fire(&mut self, io: &mut Io<'_, '_>) -> Result<(), FireError> {
        while self.next_deadline().is_some_and(|at| at <= io.cx.now) {
            self.complete_first(io)?;
        }
        Ok(())
    }
}
