//! Requests to the disk (virtio 1.2 §5.2.6), from the driver's queue and back.

use super::device::{Blk, SERIAL_BYTES};
use super::persist::{Operation, Request};
use crate::devices::Stall;
use crate::devices::disk::SECTOR_BYTES;
use crate::devices::virtio::queue::{Chain, QUEUE_SIZE_MAX, QueueError};
use crate::devices::virtio::{FireError, Io};
use crate::instant::Ticks;
use crate::memory::Ram;

/// Most data in a request. A driver that keeps to the configuration space stays below; one that
/// does not gets an I/O error.
pub(super) const REQUEST_BYTES_MAX: u64 = 16 << 20;

const QUEUE: usize = 0;
const HEADER_BYTES: u64 = 16;

const TYPE_IN: u32 = 0;
const TYPE_OUT: u32 = 1;
const TYPE_FLUSH: u32 = 4;
const TYPE_GET_ID: u32 = 8;

pub(super) const STATUS_OK: u8 = 0;
pub(super) const STATUS_IO_ERROR: u8 = 1;
pub(super) const STATUS_UNSUPPORTED: u8 = 2;

/// What every request takes, as a good SSD would: it only has to be a fixed function of size.
const REQUEST_LATENCY: Ticks = Ticks::from_ns(20_000);
/// And each byte on top: 2 GB/s.
const TICKS_PER_BYTE: u64 = 8;

impl Blk {
    /// Takes every available request. They complete one after another.
    pub(super) fn accept(&mut self, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        while let Some(chain) = io.pop(QUEUE)? {
            if self.state.requests.len() >= usize::from(QUEUE_SIZE_MAX) {
                return Err(QueueError::Request("more requests in flight than the queue holds"));
            }
            let operation = self.parse(&chain, io.cx.ram)?;
            let start = self.state.requests.back().map_or(io.cx.now, |last| last.complete_at);
            let data = match operation {
                Operation::Read { bytes, .. } | Operation::Write { bytes, .. } => u64::from(bytes),
                Operation::Flush | Operation::GetId | Operation::Refuse { .. } => 0,
            };
            let span = Ticks::new(REQUEST_LATENCY.get() + data * TICKS_PER_BYTE);
            let complete_at = start.max(io.cx.now) + span;
            self.state.requests.push_back(Request { chain, operation, complete_at });
        }
        Ok(())
    }

    fn parse(&self, chain: &Chain, ram: &Ram) -> Result<Operation, QueueError> {
        let (readable, writable) = (chain.readable_bytes(), chain.writable_bytes());
        if readable < HEADER_BYTES || writable < 1 {
            return Err(QueueError::Request("no room for header or status"));
        }
        let mut header = [0; HEADER_BYTES as usize];
        chain.read(0, &mut header, ram)?;
        let [t0, t1, t2, t3, _, _, _, _, s0, s1, s2, s3, s4, s5, s6, s7] = header;
        let sector = u64::from_le_bytes([s0, s1, s2, s3, s4, s5, s6, s7]);
        let operation = match u32::from_le_bytes([t0, t1, t2, t3]) {
            TYPE_IN => self
                .transfer(sector, writable - 1, |sector, bytes| Operation::Read { sector, bytes }),
            TYPE_OUT if self.read_only => Operation::Refuse { status: STATUS_IO_ERROR },
            TYPE_OUT => self.transfer(sector, readable - HEADER_BYTES, |sector, bytes| {
                Operation::Write { sector, bytes }
            }),
            TYPE_FLUSH => Operation::Flush,
            TYPE_GET_ID => Operation::GetId,
            _ => Operation::Refuse { status: STATUS_UNSUPPORTED },
        };
        Ok(operation)
    }

    /// A transfer, if it is whole sectors on the disk.
    fn transfer(
        &self,
        sector: u64,
        bytes: u64,
        make: impl FnOnce(u64, u32) -> Operation,
    ) -> Operation {
        if bytes.is_multiple_of(SECTOR_BYTES) && self.on_disk(sector, bytes) {
            make(sector, bytes as u32)
        } else {
            Operation::Refuse { status: STATUS_IO_ERROR }
        }
    }

    fn on_disk(&self, sector: u64, bytes: u64) -> bool {
        let end = sector.checked_add(bytes.div_ceil(SECTOR_BYTES));
        bytes <= REQUEST_BYTES_MAX && end.is_some_and(|end| end <= self.disk.sectors())
    }

    /// Moves the data of the first request and gives it back to the driver.
    pub(super) fn complete_first(&mut self, io: &mut Io<'_, '_>) -> Result<(), FireError> {
        let Some(Request { chain, operation, .. }) = self.state.requests.front().cloned() else {
            return Ok(());
        };
        let (status, data) = self.execute(&chain, operation, io.cx.ram)?;
        self.state.requests.pop_front();
        chain.write(0, &data, io.cx.ram).map_err(QueueError::from)?;
        let status_at = chain.writable_bytes().saturating_sub(1);
        chain.write(status_at, &[status], io.cx.ram).map_err(QueueError::from)?;
        io.complete(QUEUE, &chain, data.len() as u32 + 1)?;
        Ok(())
    }

    /// Does what was asked of the disk: status, and data for the driver. The saved state a request
    /// comes from may be hostile, so the range is checked again.
    fn execute(
        &mut self,
        chain: &Chain,
        operation: Operation,
        ram: &Ram,
    ) -> Result<(u8, Vec<u8>), FireError> {
        match operation {
            Operation::Read { sector, bytes } if self.on_disk(sector, u64::from(bytes)) => {
                let mut data = vec![0; bytes as usize];
                self.disk
                    .read(sector * SECTOR_BYTES, &mut data)
                    .map_err(|e| stall("read", sector, &e))?;
                Ok((STATUS_OK, data))
            }
            Operation::Write { sector, bytes } if self.on_disk(sector, u64::from(bytes)) => {
                let mut data = vec![0; bytes as usize];
                chain.read(HEADER_BYTES, &mut data, ram).map_err(QueueError::from)?;
                self.disk
                    .write(sector * SECTOR_BYTES, &data)
                    .map_err(|e| stall("write", sector, &e))?;
                Ok((STATUS_OK, Vec::new()))
            }
            Operation::Read { .. } | Operation::Write { .. } => Ok((STATUS_IO_ERROR, Vec::new())),
            Operation::Flush => Ok((STATUS_OK, Vec::new())),
            Operation::GetId => {
                let room = chain.writable_bytes().saturating_sub(1).min(SERIAL_BYTES as u64);
                Ok((STATUS_OK, self.serial[..room as usize].to_vec()))
            }
            Operation::Refuse { status } => Ok((status, Vec::new())),
        }
    }
}

fn stall(verb: &str, sector: u64, error: &std::io::Error) -> FireError {
    FireError::Stall(Stall { reason: format!("could not {verb} disk sector {sector}: {error}") })
}
