//! Split virtqueues (virtio 1.2 §2.7) with indirect descriptors.
//!
//! Everything in a queue is written by the guest, so nothing in it is believed: a malformed ring
//! is a [`QueueError`], which puts the device into its error state until the driver resets it.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::memory::{OutOfRam, PAGE_BYTES, Ram};

/// Largest size of any queue.
pub const QUEUE_SIZE_MAX: u16 = 256;

/// Most descriptors in a chain that uses an indirect table. The specification allows no more than
/// the queue's size, but Linux sizes tables by `seg_max` alone and QEMU takes 1024.
pub const CHAIN_DESCRIPTORS_MAX: usize = 1024;

const DESCRIPTOR_BYTES: u64 = 16;
const DESCRIPTOR_NEXT: u16 = 1;
const DESCRIPTOR_WRITE: u16 = 2;
const DESCRIPTOR_INDIRECT: u16 = 4;
const AVAILABLE_NO_INTERRUPT: u16 = 1;

/// How a driver broke a queue.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum QueueError {
    /// A ring, table or buffer is not in RAM.
    #[error(transparent)]
    Memory(#[from] OutOfRam),
    /// The available index is further ahead than the queue is long.
    #[error("{ahead} buffers available in a queue of {size}")]
    Available {
        /// How far it is ahead.
        ahead: u16,
        /// Size of the queue.
        size: u16,
    },
    /// A descriptor index that the table does not have.
    #[error("descriptor {index} of a table of {size}")]
    Descriptor {
        /// The index.
        index: u16,
        /// Entries in the table.
        size: usize,
    },
    /// A chain that is a loop, or too long to be told from one.
    #[error("a chain of more than {max} descriptors")]
    Endless {
        /// The most there can be.
        max: usize,
    },
    /// An indirect table inside an indirect table, in the middle of a chain, or of a bad length.
    #[error("a bad indirect table of {len} bytes")]
    Indirect {
        /// Its length.
        len: u32,
    },
    /// A device-readable buffer behind a device-writable one.
    #[error("a readable buffer behind a writable one")]
    Order,
    /// Buffers that are not what the device type's protocol says.
    #[error("malformed request: {0}")]
    Request(&'static str),
}

/// A queue's registers and positions.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Queue {
    pub(super) size: u16,
    pub(super) ready: bool,
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
    /// Position in the available ring up to which chains were taken.
    pub(super) next_available: u16,
    /// Position in the used ring up to which chains were given back.
    pub(super) next_used: u16,
}

/// A piece of guest memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Segment {
    /// Guest physical address.
    pub addr: u64,
    /// Length in bytes.
    pub len: u32,
}

/// A chain of buffers the driver has made available and not got back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// Index of its first descriptor, by which the driver knows it.
    pub head: u16,
    /// What the device reads.
    pub readable: Vec<Segment>,
    /// What the device writes.
    pub writable: Vec<Segment>,
}

#[derive(Clone, Copy)]
struct Descriptor {
    segment: Segment,
    flags: u16,
    next: u16,
}

impl Queue {
    /// Takes the next available chain.
    pub(super) fn pop(&mut self, ram: &Ram) -> Result<Option<Chain>, QueueError> {
        if !self.ready {
            return Ok(None);
        }
        let index = read_u16(ram, self.available.wrapping_add(2))?;
        let ahead = index.wrapping_sub(self.next_available);
        if ahead == 0 {
            return Ok(None);
        }
        if ahead > self.size {
            return Err(QueueError::Available { ahead, size: self.size });
        }
        let slot = u64::from(self.next_available % self.size);
        let head = read_u16(ram, self.available.wrapping_add(4 + 2 * slot))?;
        let chain = self.walk(head, ram)?;
        self.next_available = self.next_available.wrapping_add(1);
        Ok(Some(chain))
    }

    /// Puts the last popped chain back to be popped again.
    pub(super) fn undo_pop(&mut self) {
        self.next_available = self.next_available.wrapping_sub(1);
    }

    /// Gives a chain back. True if the driver wants an interrupt.
    pub(super) fn push_used(
        &mut self,
        head: u16,
        written: u32,
        ram: &mut Ram,
    ) -> Result<bool, QueueError> {
        // A chain in flight may outlive its queue in a hostile saved state only; it goes nowhere.
        if !self.ready {
            return Ok(false);
        }
        let slot = u64::from(self.next_used % self.size);
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        ram.write(self.used.wrapping_add(4 + 8 * slot), &element)?;
        self.next_used = self.next_used.wrapping_add(1);
        ram.write(self.used.wrapping_add(2), &self.next_used.to_le_bytes())?;
        Ok(read_u16(ram, self.available)? & AVAILABLE_NO_INTERRUPT == 0)
    }

    fn walk(&self, head: u16, ram: &Ram) -> Result<Chain, QueueError> {
        let mut chain = Chain { head, readable: Vec::new(), writable: Vec::new() };
        let mut table = Table { base: self.descriptors, size: usize::from(self.size) };
        let mut max = usize::from(self.size);
        let mut direct = true;
        let mut index = head;
        for count in 0.. {
            if count >= max {
                return Err(QueueError::Endless { max });
            }
            let descriptor = table.get(index, ram)?;
            if descriptor.flags & DESCRIPTOR_INDIRECT != 0 {
                let Segment { addr, len } = descriptor.segment;
                let size = len as usize / DESCRIPTOR_BYTES as usize;
                let whole = u64::from(len).is_multiple_of(DESCRIPTOR_BYTES);
                let last = descriptor.flags & DESCRIPTOR_NEXT == 0;
                if !direct || !last || !whole || size == 0 || size > CHAIN_DESCRIPTORS_MAX {
                    return Err(QueueError::Indirect { len });
                }
                table = Table { base: addr, size };
                (direct, index, max) = (false, 0, CHAIN_DESCRIPTORS_MAX);
                continue;
            }
            chain.add(descriptor)?;
            if descriptor.flags & DESCRIPTOR_NEXT == 0 {
                break;
            }
            index = descriptor.next;
        }
        Ok(chain)
    }
}

impl Chain {
    /// Bytes the device may read.
    pub fn readable_bytes(&self) -> u64 {
        total(&self.readable)
    }

    /// Bytes the device may write.
    pub fn writable_bytes(&self) -> u64 {
        total(&self.writable)
    }

    /// Fills `buf` from the readable part, starting `offset` bytes into it. What `buf` wants
    /// beyond the end stays as it is.
    ///
    /// # Errors
    /// [`OutOfRam`] for a buffer outside RAM; part of `buf` may have been filled.
    pub fn read(&self, offset: u64, buf: &mut [u8], ram: &Ram) -> Result<(), OutOfRam> {
        for (at, range) in pieces(&self.readable, offset, buf.len()) {
            ram.read(at, &mut buf[range])?;
        }
        Ok(())
    }

    /// Copies `bytes` into the writable part, starting `offset` bytes into it. What does not fit
    /// is dropped.
    ///
    /// # Errors
    /// [`OutOfRam`] for a buffer outside RAM; part of `bytes` may have been written.
    pub fn write(&self, offset: u64, bytes: &[u8], ram: &mut Ram) -> Result<(), OutOfRam> {
        for (at, range) in pieces(&self.writable, offset, bytes.len()) {
            ram.write(at, &bytes[range])?;
        }
        Ok(())
    }

    fn add(&mut self, descriptor: Descriptor) -> Result<(), QueueError> {
        if descriptor.flags & DESCRIPTOR_WRITE != 0 {
            self.writable.push(descriptor.segment);
        } else if self.writable.is_empty() {
            self.readable.push(descriptor.segment);
        } else {
            return Err(QueueError::Order);
        }
        Ok(())
    }
}

/// A descriptor table: the queue's, or an indirect one.
struct Table {
    base: u64,
    size: usize,
}

impl Table {
    fn get(&self, index: u16, ram: &Ram) -> Result<Descriptor, QueueError> {
        if usize::from(index) >= self.size {
            return Err(QueueError::Descriptor { index, size: self.size });
        }
        let mut bytes = [0; DESCRIPTOR_BYTES as usize];
        ram.read(self.base.wrapping_add(DESCRIPTOR_BYTES * u64::from(index)), &mut bytes)?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = bytes;
        Ok(Descriptor {
            segment: Segment {
                addr: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
                len: u32::from_le_bytes([l0, l1, l2, l3]),
            },
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        })
    }
}

fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

/// The page-wise pieces of `len` bytes that start `offset` bytes into `segments`: guest address,
/// and where in the caller's buffer.
fn pieces(
    segments: &[Segment],
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u64, std::ops::Range<usize>)> {
    let mut segments = segments.iter();
    let mut skip = offset;
    let mut done = 0;
    let mut rest: Option<(u64, u64)> = None;
    std::iter::from_fn(move || {
        while done < len {
            let Some((at, left)) = rest.filter(|&(_, left)| left > 0) else {
                let segment = segments.next()?;
                let skipped = skip.min(u64::from(segment.len));
                skip -= skipped;
                let at = segment.addr.wrapping_add(skipped);
                rest = Some((at, u64::from(segment.len) - skipped));
                continue;
            };
            let to_page_end = PAGE_BYTES as u64 - at % PAGE_BYTES as u64;
            let part = left.min(to_page_end).min((len - done) as u64);
            rest = Some((at.wrapping_add(part), left - part));
            done += part as usize;
            return Some((at, done - part as usize..done));
        }
        None
    })
}

fn read_u16(ram: &Ram, addr: u64) -> Result<u16, OutOfRam> {
    let mut bytes = [0; 2];
    ram.read(addr, &mut bytes)?;
    Ok(u16::from_le_bytes(bytes))
}
