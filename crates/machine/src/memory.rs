//! Guest RAM: a two-level table of references to 4 KiB pages.
//!
//! A page is *frozen* (immutable, shared by every machine and [`FrozenRam`] that refers to it) or
//! *own* (in this machine's arena, written in place). All pages start as one shared zero page. The
//! first write to a page that is not own copies it. Freezing begins a new epoch, which turns every
//! own page into a frozen one at once: its cost depends neither on how much was written nor, but
//! for one counter per 2 MiB, on the size of RAM.
//!
//! What is cached from pages (translations, decoded code, host addresses) is not known here:
//! whoever caches drops it when [`Ram::take_written`], [`Ram::freeze`] or [`Ram::compact`] says so.

#![expect(unsafe_code, reason = "reads and writes pages by host address")]

mod arena;
mod frozen;
mod page;
mod segment;
#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;

use thiserror::Error;

pub use frozen::{FrozenRam, PageLocation};
pub(crate) use page::Leaf;
pub use page::PageBytes;
pub use segment::Segment;

use crate::config::limits;
use arena::Arena;
use page::{Epoch, LEAF_PAGES, PageRef};

/// Where RAM begins on the board.
pub const RAM_BASE: u64 = 0x8000_0000;
/// Bytes in a page.
pub const PAGE_BYTES: usize = 4096;

/// A page's number, counted from [`RAM_BASE`].
pub type PageIndex = u32;

/// A segment less full than one in this many pages is compacted.
const COMPACT_BELOW: usize = 4;
/// Compacting is due when one in this many pages of RAM was copied: then looking at all of RAM
/// costs a small part of what the copies cost, and what is in vain is less than that beside what
/// compacting leaves.
const COMPACT_EVERY: usize = 16;

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
#[derive(Debug)]
pub struct Ram {
    pages: u32,
    /// Pages made in this epoch are own, all others frozen.
    epoch: Epoch,
    leaves: Vec<Arc<Leaf>>,
    /// Every segment that a leaf or the arena refers to; they live as long as this does.
    segments: Vec<Arc<Segment>>,
    arena: Arena,
    /// Pages copied since the last compaction; as many at most are in vain.
    copied: usize,
    written: Vec<PageIndex>,
    watch: Option<Box<Watch>>,
}

/// What [`Ram::watch`] looks for and what it found.
#[derive(Debug)]
struct Watch {
    range: Range<u64>,
    overwritten: Vec<Overwritten>,
}

/// A device's write to the watched range, as far as it lies inside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Overwritten {
    /// Physical address of the first byte.
    pub addr: u64,
    /// What was there before.
    pub old: Vec<u8>,
    /// What was written.
    pub new: Vec<u8>,
}

impl Ram {
    /// `size_bytes` of zeroes (a multiple of [`PAGE_BYTES`]). Costs the host nothing yet.
    ///
    /// # Errors
    /// `InvalidInput` for a size that is zero, not whole pages, or beyond
    /// [`limits::MEMORY_BYTES_MAX`].
    pub fn new(size_bytes: u64) -> io::Result<Ram> {
        let whole = size_bytes.is_multiple_of(PAGE_BYTES as u64);
        if size_bytes == 0 || !whole || size_bytes > limits::MEMORY_BYTES_MAX {
            let problem = format!("RAM of {size_bytes} bytes is not possible");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, problem));
        }
        let pages = (size_bytes / PAGE_BYTES as u64) as u32;
        let zero = Arc::new(Leaf::zero());
        let leaves = vec![zero; (pages as usize).div_ceil(LEAF_PAGES)];
        Ok(Ram::from_parts(pages, leaves, Vec::new()))
    }

    /// RAM that starts with the content of `frozen`, sharing its pages until either side's owner
    /// writes. Costs one counter per 2 MiB.
    pub fn thaw(frozen: &FrozenRam) -> Ram {
        Ram::from_parts(frozen.pages(), frozen.leaves().to_vec(), frozen.segments().to_vec())
    }

    fn from_parts(pages: u32, leaves: Vec<Arc<Leaf>>, segments: Vec<Arc<Segment>>) -> Ram {
        let arena = Arena::new(pages as usize);
        Ram {
            pages,
            epoch: Epoch::next(),
            leaves,
            segments,
            arena,
            copied: 0,
            written: Vec::new(),
            watch: None,
        }
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        u64::from(self.pages) * PAGE_BYTES as u64
    }

    /// Copies `buf.len()` bytes from physical address `addr`.
    ///
    /// # Errors
    /// [`OutOfRam`], and `buf` is untouched.
    pub fn read(&self, addr: u64, buf: &mut [u8]) -> Result<(), OutOfRam> {
        for piece in self.pieces(addr, buf.len())? {
            let from = self.page(piece.page).expect("checked above");
            let to = &mut buf[piece.bytes];
            // SAFETY: the piece lies within one page of RAM; `buf` is not guest memory, which no
            // safe code can borrow while it is written.
            unsafe { from.add(piece.offset).copy_to_nonoverlapping(to.as_mut_ptr(), to.len()) };
        }
        Ok(())
    }

    /// Copies `bytes` to physical address `addr`, as a device does: the pages are noted in
    /// [`Ram::take_written`] so that cached code and translations made from them are dropped.
    ///
    /// # Errors
    /// [`OutOfRam`], and nothing is written.
    pub fn write(&mut self, addr: u64, bytes: &[u8]) -> Result<(), OutOfRam> {
        self.note_overwritten(addr, bytes);
        for piece in self.pieces(addr, bytes.len())? {
            let to = self.page_mut(piece.page).expect("checked above");
            let from = &bytes[piece.bytes];
            // SAFETY: the piece lies within one page, which `page_mut` made ours alone; `bytes`
            // may be a frozen page, but never an own one.
            unsafe { to.add(piece.offset).copy_from_nonoverlapping(from.as_ptr(), from.len()) };
            if self.written.last() != Some(&piece.page) {
                self.written.push(piece.page);
            }
        }
        Ok(())
    }

    /// Pages that devices wrote since the last call.
    pub fn take_written(&mut self) -> Vec<PageIndex> {
        std::mem::take(&mut self.written)
    }

    /// Has [`Ram::write`] note what it changes in a range of physical addresses, from now on and
    /// instead of any earlier range; an empty range ends it.
    pub fn watch(&mut self, range: Range<u64>) {
        self.watch =
            (!range.is_empty()).then(|| Box::new(Watch { range, overwritten: Vec::new() }));
    }

    /// Takes what was noted since the last call.
    pub fn take_overwritten(&mut self) -> Vec<Overwritten> {
        self.watch.as_mut().map_or_else(Vec::new, |watch| std::mem::take(&mut watch.overwritten))
    }

    fn note_overwritten(&mut self, addr: u64, bytes: &[u8]) {
        let Some(watch) = &self.watch else { return };
        let start = addr.max(watch.range.start);
        let end = addr.saturating_add(bytes.len() as u64).min(watch.range.end);
        if start >= end {
            return;
        }
        let new = bytes[(start - addr) as usize..(end - addr) as usize].to_vec();
        let mut old = vec![0; new.len()];
        // A write that leaves RAM changes nothing.
        if self.read(start, &mut old).is_ok() && self.pieces(addr, bytes.len()).is_ok() {
            let watch = self.watch.as_mut().expect("looked at above");
            watch.overwritten.push(Overwritten { addr: start, old, new });
        }
    }

    /// Host address of a page for reading, or `None` outside RAM. Valid until the next
    /// [`Ram::page_mut`] of the same page, [`Ram::compact`] or drop.
    #[inline]
    pub fn page(&self, page: PageIndex) -> Option<*const u8> {
        Some(self.page_ref(page)?.host().as_ptr())
    }

    /// Host address of a page for writing, unsharing it first; `None` outside RAM. Valid until the
    /// next [`Ram::freeze`], [`Ram::compact`] or drop. There is no other way to a page's bytes for
    /// writing.
    ///
    /// # Panics
    /// When the host has no memory for a copy, which [`Ram::reserve`] beforehand rules out.
    #[inline]
    pub fn page_mut(&mut self, page: PageIndex) -> Option<*mut u8> {
        let found = self.page_ref(page)?;
        if found.is_of(self.epoch) {
            return Some(found.host().as_ptr());
        }
        Some(self.unshare(page, found).as_ptr())
    }

    /// Whether a page is own: written since the last freeze, and [`Ram::page_mut`] copies nothing.
    pub fn is_own(&self, page: PageIndex) -> bool {
        self.page_ref(page).is_some_and(|found| found.is_of(self.epoch))
    }

    /// Has the host back enough memory for the next `pages` pages that are written first (at most
    /// all of RAM), so that until then nothing can fail.
    ///
    /// # Errors
    /// The host's, when it has no memory to give. RAM is unchanged, and trying again is fine.
    pub fn reserve(&mut self, pages: usize) -> io::Result<()> {
        self.arena.reserve(pages.min(self.pages as usize), &mut self.segments)
    }

    /// How many pages are still backed ahead.
    pub fn reserved_pages(&self) -> usize {
        self.arena.ready()
    }

    /// The content of RAM at this moment. From now on every page is frozen, so addresses from
    /// [`Ram::page_mut`] must not be written through any more; those from [`Ram::page`] stay good.
    pub fn freeze(&mut self) -> FrozenRam {
        self.begin_epoch();
        FrozenRam::new(self.pages, self.leaves.clone(), self.segments.clone())
    }

    /// Whether so much was copied since the last [`Ram::compact`] that the next one is worth its
    /// while. Who freezes again and again and never asks grows without end: every freeze leaves
    /// behind the pages that are written after it.
    pub fn is_compaction_due(&self) -> bool {
        self.copied * COMPACT_EVERY >= self.pages as usize
    }

    /// Gives memory back to the host that only this machine holds and hardly uses: empties segments
    /// of which less than a quarter is in use. Also write-protects frozen pages against this
    /// process's own mistakes. Content does not change, but all host addresses become invalid, so
    /// the best moment is beside a freeze, when they are dropped anyway; before it, since what a
    /// frozen RAM holds is not given back.
    ///
    /// # Errors
    /// The host's, when it has no memory for the copies. Nothing was given back then.
    pub fn compact(&mut self) -> io::Result<()> {
        self.segments.sort_by_key(|segment| segment.start());
        let live = self.live_pages();
        // (address, epoch) must not name two contents, and addresses are about to be reused.
        self.begin_epoch();
        let sparse: Vec<bool> = std::iter::zip(&self.segments, &live)
            .map(|(segment, &live)| {
                // Held by a frozen RAM, another machine, another process or the arena, it would
                // stay anyway.
                let ours_alone = Arc::strong_count(segment) == 1 && !segment.is_others();
                ours_alone && live > 0 && live * COMPACT_BELOW < segment.frozen()
            })
            .collect();
        self.move_pages(&sparse, &live)?;
        self.drop_unused_segments();
        self.copied = 0;
        for segment in &self.segments {
            segment.protect();
        }
        Ok(())
    }

    fn begin_epoch(&mut self) {
        self.arena.freeze();
        self.epoch = Epoch::next();
    }

    /// Copies the pages of those segments that are `sparse` out of them.
    fn move_pages(&mut self, sparse: &[bool], live: &[usize]) -> io::Result<()> {
        let moving: usize =
            std::iter::zip(sparse, live).filter(|(sparse, _)| **sparse).map(|(_, live)| live).sum();
        if moving == 0 {
            return Ok(());
        }
        let segments = self.segments.clone();
        let mut finder = SegmentFinder::new(&segments);
        self.reserve(moving)?;
        for page in 0..self.pages {
            let found = self.page_ref(page).expect("page is in range");
            if finder.find(found).is_some_and(|at| sparse[at]) {
                self.unshare(page, found);
            }
        }
        Ok(())
    }

    #[inline]
    fn page_ref(&self, page: PageIndex) -> Option<PageRef> {
        if page >= self.pages {
            return None;
        }
        let page = page as usize;
        Some(self.leaves[page / LEAF_PAGES].pages[page % LEAF_PAGES])
    }

    /// Replaces a page that others may see by a copy of our own.
    #[cold]
    fn unshare(&mut self, page: PageIndex, from: PageRef) -> NonNull<u8> {
        let host = self.arena.take().unwrap_or_else(|| {
            if let Err(error) = self.reserve(1) {
                // Nobody reserved, and a store that is half done cannot be reported any more.
                panic!("no host memory for a page of guest RAM: {error}");
            }
            self.arena.take().expect("just reserved")
        });
        // SAFETY: both are whole pages of live segments (or the zero page), and the arena hands
        // out each page once, so they do not overlap and nobody else writes.
        unsafe { host.copy_from_nonoverlapping(from.host(), PAGE_BYTES) };
        let leaf = Arc::make_mut(&mut self.leaves[page as usize / LEAF_PAGES]);
        leaf.pages[page as usize % LEAF_PAGES] = PageRef::new(host, self.epoch);
        self.copied += 1;
        host
    }

    /// Pages in use of each of `segments`, which are sorted.
    fn live_pages(&self) -> Vec<usize> {
        let mut live = vec![0; self.segments.len()];
        let mut finder = SegmentFinder::new(&self.segments);
        for page in self.leaves.iter().flat_map(|leaf| &leaf.pages) {
            if let Some(at) = finder.find(*page) {
                live[at] += 1;
            }
        }
        live
    }

    /// Drops the segments that neither a page nor the arena refers to.
    fn drop_unused_segments(&mut self) {
        self.segments.sort_by_key(|segment| segment.start());
        let live = self.live_pages();
        let mut live = live.iter();
        let arena = &self.arena;
        self.segments
            .retain(|segment| *live.next().expect("one each") > 0 || arena.is_open(segment));
    }

    /// The access cut at page boundaries.
    fn pieces(
        &self,
        addr: u64,
        len: usize,
    ) -> Result<impl Iterator<Item = Piece> + use<>, OutOfRam> {
        let outside = OutOfRam { addr, len };
        let start = addr.checked_sub(RAM_BASE).ok_or(outside)?;
        match start.checked_add(len as u64) {
            Some(end) if end <= self.size_bytes() => {}
            _ => return Err(outside),
        }
        let mut done = 0;
        Ok(std::iter::from_fn(move || {
            if done == len {
                return None;
            }
            let at = start + done as u64;
            let offset = (at % PAGE_BYTES as u64) as usize;
            let count = (PAGE_BYTES - offset).min(len - done);
            let bytes = done..done + count;
            done += count;
            Some(Piece { page: (at / PAGE_BYTES as u64) as PageIndex, offset, bytes })
        }))
    }
}

/// The part of an access that falls into one page.
struct Piece {
    page: PageIndex,
    /// Where in the page it begins.
    offset: usize,
    /// Which bytes of the access they are.
    bytes: Range<usize>,
}

/// Finds the segments that pages lie in. All of RAM is looked through in order, and neighbours
/// mostly lie in the same one.
struct SegmentFinder<'a> {
    /// Sorted.
    segments: &'a [Arc<Segment>],
    last: usize,
    /// The addresses of the last one.
    host: Range<usize>,
}

impl SegmentFinder<'_> {
    fn new(segments: &[Arc<Segment>]) -> SegmentFinder<'_> {
        SegmentFinder { segments, last: 0, host: 0..0 }
    }

    /// Index of the segment a page lies in; `None` for the zero page.
    fn find(&mut self, page: PageRef) -> Option<usize> {
        if page.is_zero_page() {
            return None;
        }
        let host = page.host().addr().get();
        if !self.host.contains(&host) {
            self.last = self.segments.partition_point(|segment| segment.end() <= host);
            let found = &self.segments[self.last];
            assert!(found.start() <= host, "every page lies in a segment");
            self.host = found.start()..found.end();
        }
        Some(self.last)
    }
}
