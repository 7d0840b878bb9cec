//! Guest RAM.

use std::io;

use thiserror::Error;

/// Where RAM begins on the board.
pub const RAM_BASE: u64 = 0x8000_0000;
/// Bytes in a page.
pub const PAGE_BYTES: usize = 4096;

/// An access that is not wholly inside RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("{len} bytes at {addr:#x} are outside RAM")]
pub struct OutOfRam {
    /// Physical address of the first byte.
    pub addr: u64,
    /// Length of the access in bytes.
    pub len: usize,
}

/// Guest RAM: pages that are shared until written.
pub struct Ram {
    bytes: Vec<u8>,
    written: Vec<u32>,
}

impl Ram {
    /// `size_bytes` of zeroes (a multiple of [`PAGE_BYTES`]).
    ///
    /// # Errors
    /// The host's, when it has no memory to give.
    pub fn new(size_bytes: u64) -> io::Result<Ram> {
        Ok(Ram { bytes: vec![0; size_bytes as usize], written: Vec::new() })
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Copies `buf.len()` bytes from physical address `addr`.
    ///
    /// # Errors
    /// [`OutOfRam`], and `buf` is untouched.
    pub fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), OutOfRam> {
        let at = self.range(addr, buf.len())?;
        buf.copy_from_slice(&self.bytes[at..at + buf.len()]);
        Ok(())
    }

    /// Copies `bytes` to physical address `addr`, as a device does: the pages are noted in
    /// [`Ram::take_written`] so that cached code and translations made from them are dropped.
    ///
    /// # Errors
    /// [`OutOfRam`], and nothing is written.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), OutOfRam> {
        let at = self.range(addr, bytes.len())?;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        if !bytes.is_empty() {
            for page in at / PAGE_BYTES..=(at + bytes.len() - 1) / PAGE_BYTES {
                self.written.push(page as u32);
            }
        }
        Ok(())
    }

    /// Pages (counted from [`RAM_BASE`]) that devices wrote since the last call.
    pub fn take_written(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.written)
    }

    /// Host address of a page for reading, or `None` outside RAM. Valid until the next
    /// [`Ram::page_mut`] of the same page, [`Ram::freeze`] or drop.
    pub fn page(&self, page: u32) -> Option<*const u8> {
        self.bytes.chunks(PAGE_BYTES).nth(page as usize).map(<[u8]>::as_ptr)
    }

    /// Host address of a page for writing, unsharing it first; `None` outside RAM. Valid until the
    /// next [`Ram::freeze`] or drop.
    pub fn page_mut(&mut self, page: u32) -> Option<*mut u8> {
        self.bytes.chunks_mut(PAGE_BYTES).nth(page as usize).map(<[u8]>::as_mut_ptr)
    }

    fn range(&self, addr: u64, len: usize) -> Result<usize, OutOfRam> {
        let at = addr.checked_sub(RAM_BASE).ok_or(OutOfRam { addr, len })?;
        match at.checked_add(len as u64) {
            Some(end) if end <= self.size_bytes() => Ok(at as usize),
            _ => Err(OutOfRam { addr, len }),
        }
    }
}
