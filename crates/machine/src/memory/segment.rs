//! Segments: the host memory that pages are carved from. Owns mapping and backing; which page of
//! a segment belongs to whom is the arena's and the page table's business.

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::PAGE_BYTES;

#[cfg(any(target_os = "linux", target_os = "android"))]
#[path = "segment/memfd.rs"]
mod mapping;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[path = "segment/heap.rs"]
mod mapping;

use mapping::Mapping;

/// A run of host pages at a fixed address, unmapped when the last holder lets go.
///
/// On Linux it is a memfd sealed against every writer but this process's one mapping, so another
/// process may be given [`Segment::fd`] and map it read-only; or a file that nobody writes.
#[derive(Debug)]
pub struct Segment {
    mapping: Mapping,
    pages: usize,
    /// The first so many pages are frozen: nobody writes them any more.
    frozen: AtomicUsize,
    /// The first so many pages are write-protected; at most `frozen`.
    protected: AtomicUsize,
    /// Whether its memory stays when this process lets go of it: a file's, or another process's.
    is_others: AtomicBool,
}

impl Segment {
    /// Address space for `pages` pages. Nothing is committed before [`Segment::commit`].
    pub(super) fn new(pages: usize) -> io::Result<Segment> {
        assert!(pages > 0, "a segment has pages");
        let mapping = Mapping::new(pages * PAGE_BYTES)?;
        let (frozen, protected) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Ok(Segment { mapping, pages, frozen, protected, is_others: AtomicBool::new(false) })
    }

    /// The first `pages` pages of a file, which must not change any more, to read.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn of_file(fd: std::os::fd::OwnedFd, pages: usize) -> io::Result<Segment> {
        assert!(pages > 0, "a segment has pages");
        let mapping = Mapping::of_file(fd, pages * PAGE_BYTES)?;
        let (frozen, protected) = (AtomicUsize::new(pages), AtomicUsize::new(pages));
        Ok(Segment { mapping, pages, frozen, protected, is_others: AtomicBool::new(true) })
    }

    /// Its size in pages.
    pub fn pages(&self) -> usize {
        self.pages
    }

    /// The memfd or file behind it: its bytes are the segment's, from offset 0.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.mapping.fd()
    }

    /// Has the host back `count` pages from page `first`, so that touching them cannot fail.
    pub(super) fn commit(&self, first: usize, count: usize) -> io::Result<()> {
        assert!(first + count <= self.pages, "pages {first}+{count} of {}", self.pages);
        self.mapping.commit(first * PAGE_BYTES, count * PAGE_BYTES)
    }

    /// Notes that the machine that fills the segment will not write its first `count` pages again.
    pub(super) fn set_frozen(&self, count: usize) {
        assert!(count <= self.pages, "{count} pages of {}", self.pages);
        let before = self.frozen.swap(count, Ordering::Relaxed);
        assert!(before <= count, "frozen pages stay frozen");
    }

    /// How many pages are frozen.
    pub(super) fn frozen(&self) -> usize {
        self.frozen.load(Ordering::Relaxed)
    }

    /// Makes the frozen pages read-only for this process too, as far as the host's own page size
    /// allows: an aid against stray writers, so a host that refuses is ignored.
    pub(super) fn protect(&self) {
        let frozen = self.frozen();
        if self.protected.swap(frozen, Ordering::Relaxed) != frozen {
            self.mapping.protect(frozen * PAGE_BYTES);
        }
    }

    /// Whether it would be no gain for the host if this process let go of it.
    pub(super) fn is_others(&self) -> bool {
        self.is_others.load(Ordering::Relaxed)
    }

    /// Takes this process's right to write any page of it, for good: they are its original's.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn make_read_only(&self) -> io::Result<()> {
        self.is_others.store(true, Ordering::Relaxed);
        self.mapping.make_read_only()
    }

    /// Host address of page `index`.
    pub(super) fn page(&self, index: usize) -> NonNull<u8> {
        assert!(index < self.pages, "page {index} of {}", self.pages);
        let base = self.mapping.base();
        // The mapping is `pages` long and does not wrap around the address space.
        let host = base.as_ptr().wrapping_add(index * PAGE_BYTES);
        NonNull::new(host).expect("a mapping does not reach address 0")
    }

    /// Address of the first byte, to sort and find by.
    pub(super) fn start(&self) -> usize {
        self.mapping.base().addr().get()
    }

    /// Address after the last byte.
    pub(super) fn end(&self) -> usize {
        self.start() + self.pages * PAGE_BYTES
    }
}
