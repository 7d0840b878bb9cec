//! Disk content: an immutable source below a copy-on-write overlay.
//!
//! Owns what a disk reads after any number of writes and forks. Does not own how a guest reaches
//! it (the virtio block device does), nor files: file-backed sources live with the host.

mod overlay;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io;
use std::sync::Arc;

pub use overlay::{BITMAP_BLOCKS, BLOCK_BYTES, Block, Overlay};

use crate::devices::InvalidState;

/// Bytes in a sector, the unit in which guests address disks.
pub const SECTOR_BYTES: u64 = 512;

/// Immutable content of a disk. The same offset always reads the same bytes; a source that cannot
/// deliver right now returns the error, and the machine waits (the guest never sees it).
pub trait BlockSource: fmt::Debug + Send + Sync {
    /// Size in bytes; a multiple of 512.
    fn size_bytes(&self) -> u64;

    /// Fills `buf` from `offset`; the range is always inside [`BlockSource::size_bytes`].
    ///
    /// # Errors
    /// Whatever the host's storage says.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// A source held in memory. A last part of a sector is padded with zeroes.
pub struct MemorySource(Vec<u8>);

impl MemorySource {
    /// A disk that starts as `bytes`.
    pub fn new(mut bytes: Vec<u8>) -> Self {
        bytes.resize(bytes.len().next_multiple_of(SECTOR_BYTES as usize), 0);
        MemorySource(bytes)
    }
}

impl fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySource({} bytes)", self.0.len())
    }
}

impl BlockSource for MemorySource {
    fn size_bytes(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = offset as usize;
        buf.copy_from_slice(&self.0[start..start + buf.len()]);
        Ok(())
    }
}

/// A blank disk.
#[derive(Clone, Copy, Debug)]
pub struct ZeroSource {
    /// Size in bytes; a multiple of 512.
    pub size_bytes: u64,
}

impl BlockSource for ZeroSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }
}

/// A disk as the guest has changed it. A clone shares every block until one side writes it.
#[derive(Clone, Debug)]
pub struct Disk {
    source: Arc<dyn BlockSource>,
    overlay: Overlay,
}

impl Disk {
    /// A disk nobody has written to.
    pub fn new(source: Arc<dyn BlockSource>) -> Self {
        Disk { source, overlay: Overlay::default() }
    }

    /// Size in whole sectors.
    pub fn sectors(&self) -> u64 {
        self.source.size_bytes() / SECTOR_BYTES
    }

    /// Size in blocks, the last of which may be cut short.
    pub fn blocks(&self) -> u64 {
        self.source.size_bytes().div_ceil(BLOCK_BYTES as u64)
    }

    /// What the guest has written, as whole blocks. A block in here counts even if it is all
    /// zeroes or equal to the source's.
    pub fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Replaces what the guest has written.
    ///
    /// # Errors
    /// [`InvalidState`] if a block lies behind the end of the disk.
    pub fn set_overlay(&mut self, overlay: Overlay) -> Result<(), InvalidState> {
        let blocks = self.blocks();
        if let Some(last) = overlay.last().filter(|&last| last >= blocks) {
            let problem = format!("block {last} of a disk of {blocks} blocks was written");
            return Err(InvalidState { device: "disk", problem });
        }
        self.overlay = overlay;
        Ok(())
    }

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// The source's.
    ///
    /// # Panics
    /// If the range is not inside the disk: callers check what guests ask for.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.check_range(offset, buf.len());
        let mut done = 0;
        while done < buf.len() {
            let (block, start) = split(offset + done as u64);
            let part = (BLOCK_BYTES - start).min(buf.len() - done);
            if let Some(bytes) = self.overlay.get(block) {
                buf[done..done + part].copy_from_slice(&bytes[start..start + part]);
                done += part;
                continue;
            }
            // One call for a whole run of untouched blocks: sources may be files.
            let mut run = part;
            while run < buf.len() - done
                && self.overlay.get(split(offset + (done + run) as u64).0).is_none()
            {
                run = (run + BLOCK_BYTES).min(buf.len() - done);
            }
            self.source.read_at(offset + done as u64, &mut buf[done..done + run])?;
            done += run;
        }
        Ok(())
    }

    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// The source's, when a block is written in part and its rest must be read first; nothing has
    /// changed then.
    ///
    /// # Panics
    /// If the range is not inside the disk.
    pub fn write(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.check_range(offset, bytes.len());
        if bytes.is_empty() {
            return Ok(());
        }
        // Only the first and the last block can be partial. Both are fetched before anything is
        // changed.
        let (first, start) = split(offset);
        let (last, end) = split(offset + bytes.len() as u64 - 1);
        let head = if start > 0 { self.fetch_unwritten(first)? } else { None };
        let tail = if end + 1 < BLOCK_BYTES && (last > first || head.is_none()) {
            self.fetch_unwritten(last)?
        } else {
            None
        };
        for (block, content) in [(first, head), (last, tail)] {
            if let Some(content) = content {
                self.overlay.insert(block, content);
            }
        }
        let mut done = 0;
        while done < bytes.len() {
            let (block, start) = split(offset + done as u64);
            let part = (BLOCK_BYTES - start).min(bytes.len() - done);
            let target = self.overlay.block_mut(block);
            target[start..start + part].copy_from_slice(&bytes[done..done + part]);
            done += part;
        }
        Ok(())
    }

    /// The source's content of a block that is not in the overlay, padded behind the disk's end.
    fn fetch_unwritten(&self, block: u64) -> io::Result<Option<Block>> {
        if self.overlay.get(block).is_some() {
            return Ok(None);
        }
        let offset = block * BLOCK_BYTES as u64;
        let inside = (self.source.size_bytes() - offset).min(BLOCK_BYTES as u64) as usize;
        let mut content = [0; BLOCK_BYTES];
        self.source.read_at(offset, &mut content[..inside])?;
        Ok(Some(Arc::new(content)))
    }

    fn check_range(&self, offset: u64, len: usize) {
        let end = offset.checked_add(len as u64);
        assert!(
            end.is_some_and(|end| end <= self.source.size_bytes()),
            "{len} bytes at {offset} of a disk of {} bytes",
            self.source.size_bytes()
        );
    }
}

/// Block of a byte offset, and where in the block it is.
fn split(offset: u64) -> (u64, usize) {
    (offset / BLOCK_BYTES as u64, (offset % BLOCK_BYTES as u64) as usize)
}
