//! Segments where there is no memfd (browsers, other systems): the allocator's memory.

#![expect(unsafe_code, reason = "allocates and frees host memory")]

use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;

use super::PAGE_BYTES;

/// Zeroed memory on page boundaries.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    layout: Layout,
}

// SAFETY: this is plain memory; who may write which page is decided above, see `PageRef`.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method of `&Mapping` reads or writes the memory.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new(bytes: usize) -> io::Result<Mapping> {
        let layout = Layout::from_size_align(bytes, PAGE_BYTES)
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        assert!(bytes > 0, "a segment has bytes");
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc::alloc_zeroed(layout) };
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Mapping { base, layout })
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn commit(&self, offset: usize, bytes: usize) -> io::Result<()> {
        // The allocator's promise is all there is to be had here.
        assert!(offset + bytes <= self.layout.size());
        Ok(())
    }

    pub(super) fn protect(&self, bytes: usize) {
        assert!(bytes <= self.layout.size());
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; whoever holds references into it also holds
        // its segment, so none is left now.
        unsafe { alloc::dealloc(self.base.as_ptr(), self.layout) };
    }
}
