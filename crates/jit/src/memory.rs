//! Memory for code: one memfd, mapped twice.
//!
//! What is written through one mapping runs through the other, so that no mapping is ever writable
//! and executable (against a guest that finds a way to write where it should not). Beside the code,
//! in the same reserved range so that code reaches it by short distances, is plain memory for the
//! tables.
#![expect(unsafe_code, reason = "maps and unmaps host memory")]

use std::ffi::c_void;
use std::io;
use std::ptr;

use rustix::fs::MemfdFlags;
use rustix::mm::{Advice, MapFlags, ProtFlags};

/// A range of addresses: first code, to be run, then tables.
pub(crate) struct CodeMemory {
    base: *mut u8,
    /// The code, to be written.
    writable: *mut u8,
    code_bytes: usize,
    table_bytes: usize,
}

impl CodeMemory {
    /// Reserves the addresses; the host backs what is used.
    ///
    /// # Errors
    /// The host's: some forbid executable memory.
    pub(crate) fn new(code_bytes: usize, table_bytes: usize) -> io::Result<CodeMemory> {
        let fd = rustix::fs::memfd_create(c"code", MemfdFlags::CLOEXEC)?;
        rustix::fs::ftruncate(&fd, code_bytes as u64)?;
        let all = code_bytes + table_bytes;
        let protection = ProtFlags::READ | ProtFlags::EXEC;
        // SAFETY: a new mapping at an address of the kernel's choice disturbs nothing. (Of nothing
        // behind the code is anything read or run; a process in a sandbox may map code so only.)
        let base = unsafe {
            rustix::mm::mmap(ptr::null_mut(), all, protection, MapFlags::SHARED, &fd, 0)?
        }
        .cast::<u8>();
        let mut memory = CodeMemory { base, writable: ptr::null_mut(), code_bytes, table_bytes };
        // SAFETY: the range lies in the mapping just made, which nobody else knows of.
        unsafe {
            let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
            let flags = flags | MapFlags::NORESERVE | MapFlags::FIXED;
            let tables = base.add(code_bytes).cast();
            rustix::mm::mmap_anonymous(tables, table_bytes, protection, flags)?;
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: as for the first mapping.
        memory.writable = unsafe {
            rustix::mm::mmap(ptr::null_mut(), code_bytes, protection, MapFlags::SHARED, &fd, 0)?
        }
        .cast();
        Ok(memory)
    }

    /// Address that code at an offset runs at.
    pub(crate) fn code_address(&self, offset: usize) -> u64 {
        assert!(offset <= self.code_bytes);
        self.base as u64 + offset as u64
    }

    /// Address of the tables at an offset.
    pub(crate) fn table(&self, offset: usize) -> *mut u8 {
        assert!(offset < self.table_bytes);
        // SAFETY: inside the mapping.
        unsafe { self.base.add(self.code_bytes + offset) }
    }

    /// Writes code.
    pub(crate) fn write(&mut self, offset: usize, code: &[u8]) {
        assert!(offset + code.len() <= self.code_bytes, "{offset}+{}", code.len());
        // SAFETY: inside the writable mapping, as asserted; nobody runs or reads there yet.
        unsafe {
            ptr::copy_nonoverlapping(code.as_ptr(), self.writable.add(offset), code.len());
        }
    }

    /// Gives everything behind `code_used` bytes of code, and all tables, back to the host.
    pub(crate) fn give_back(&mut self, code_used: usize) {
        let keep = code_used.next_multiple_of(4096).min(self.code_bytes);
        let code = self.writable.wrapping_add(keep).cast::<c_void>();
        // SAFETY: our own mapping; nobody uses what is forgotten.
        let _ = unsafe { rustix::mm::madvise(code, self.code_bytes - keep, Advice::LinuxRemove) };
        let tables = self.table(0).cast::<c_void>();
        // SAFETY: as above.
        let _ = unsafe { rustix::mm::madvise(tables, self.table_bytes, Advice::LinuxDontNeed) };
    }
}

impl Drop for CodeMemory {
    fn drop(&mut self) {
        // SAFETY: whoever could run the code is gone with the compiler that owns this.
        unsafe {
            let _ = rustix::mm::munmap(self.base.cast(), self.code_bytes + self.table_bytes);
            if !self.writable.is_null() {
                let _ = rustix::mm::munmap(self.writable.cast(), self.code_bytes);
            }
        }
    }
}
