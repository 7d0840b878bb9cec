//! Segments on Linux: one shared mapping of a memfd, or a private one of a file that is only read.

#![expect(unsafe_code, reason = "maps and unmaps host memory")]

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};

use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, MprotectFlags, ProtFlags};

/// Protection is changed in these units: the largest page any Linux host uses.
const PROTECT_BYTES: usize = 64 << 10;

/// A memfd and its one writable mapping, or a file and a mapping to read it.
#[derive(Debug)]
pub(super) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    fd: OwnedFd,
}

// SAFETY: the mapping is plain memory; who may write which page is decided above, see `PageRef`.
unsafe impl Send for Mapping {}
// SAFETY: as above; no method of `&Mapping` reads or writes the memory.
unsafe impl Sync for Mapping {}

impl Mapping {
    pub(super) fn new(bytes: usize) -> io::Result<Mapping> {
        let fd = rustix::fs::memfd_create(
            c"guest-ram",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?;
        rustix::fs::ftruncate(&fd, bytes as u64)?;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let base = unsafe {
            rustix::mm::mmap(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                &fd,
                0,
            )?
        };
        let base = NonNull::new(base.cast()).expect("mmap does not return address 0");
        // From here on nobody else can get a writable mapping or change the size. Kernels before
        // 5.1 have no FUTURE_WRITE: there the descriptor is merely not to be given away.
        let fixed = SealFlags::SHRINK | SealFlags::GROW;
        match rustix::fs::fcntl_add_seals(&fd, fixed | SealFlags::FUTURE_WRITE) {
            Err(Errno::INVAL) => rustix::fs::fcntl_add_seals(&fd, fixed)?,
            other => other?,
        }
        Ok(Mapping { base, bytes, fd })
    }

    /// Maps the first `bytes` of a file, which must not change any more.
    pub(super) fn of_file(fd: OwnedFd, bytes: usize) -> io::Result<Mapping> {
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing.
        let base = unsafe {
            let (protection, flags) = (ProtFlags::READ, MapFlags::PRIVATE);
            rustix::mm::mmap(ptr::null_mut(), bytes, protection, flags, &fd, 0)?
        };
        let base = NonNull::new(base.cast()).expect("mmap does not return address 0");
        Ok(Mapping { base, bytes, fd })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    pub(super) fn commit(&self, offset: usize, bytes: usize) -> io::Result<()> {
        assert!(offset + bytes <= self.bytes, "{offset}+{bytes} of {}", self.bytes);
        let mode = FallocateFlags::empty();
        rustix::io::retry_on_intr(|| {
            rustix::fs::fallocate(&self.fd, mode, offset as u64, bytes as u64)
        })?;
        let start = self.base.as_ptr().wrapping_add(offset).cast::<c_void>();
        // SAFETY: the range lies in our mapping, and populating changes no byte of it.
        let done = unsafe { rustix::mm::madvise(start, bytes, Advice::LinuxPopulateWrite) };
        // It saves a page fault each; kernels before 5.14 do not know how.
        let _ = done;
        Ok(())
    }

    /// Takes this process's right to write for good: on top of the mapping comes one that, with the
    /// seal, nothing can make writable again.
    pub(super) fn make_read_only(&self) -> io::Result<()> {
        let start = self.base.as_ptr().cast::<c_void>();
        let (protection, flags) = (ProtFlags::READ, MapFlags::SHARED | MapFlags::FIXED);
        // SAFETY: it takes the place of our own mapping of the same bytes, at the same address and
        // as long; references into it stay good to read. A write through one would end the process.
        let base = unsafe { rustix::mm::mmap(start, self.bytes, protection, flags, &self.fd, 0)? };
        assert_eq!(base, start, "the kernel maps where it was told to");
        Ok(())
    }

    pub(super) fn protect(&self, bytes: usize) {
        let bytes = bytes.min(self.bytes) / PROTECT_BYTES * PROTECT_BYTES;
        if bytes == 0 {
            return;
        }
        let start = self.base.as_ptr().cast::<c_void>();
        // SAFETY: the range lies in our mapping and holds frozen pages only, which nobody writes.
        let done = unsafe { rustix::mm::mprotect(start, bytes, MprotectFlags::READ) };
        // Out of mapping slots at worst; the pages stay writable and correctness does not need it.
        let _ = done;
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: whoever holds references into the mapping also holds its segment, so none is
        // left now.
        let done = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(done.is_ok(), "munmap: {done:?}");
    }
}
