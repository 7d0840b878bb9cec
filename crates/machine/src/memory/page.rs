//! Page references: where a guest page's bytes are and whether they may still change. Owns no
//! memory; whoever holds references also holds the segments they point into.

#![expect(unsafe_code, reason = "page references are host addresses")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use super::PAGE_BYTES;

/// The bytes of one page.
pub type PageBytes = [u8; PAGE_BYTES];

/// Pages named by one [`Leaf`]: 2 MiB.
pub(super) const LEAF_PAGES: usize = 512;

#[repr(align(4096))]
struct ZeroPage(PageBytes);

static ZERO_PAGE: ZeroPage = ZeroPage([0; PAGE_BYTES]);

/// A span of a machine's life between two freezes. Numbers are never used twice in a process, so
/// a page made in an older one is immutable and (address, epoch) names its content for good.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Epoch(u64);

impl Epoch {
    /// The epoch of pages that no machine ever made: the zero page.
    const NEVER: Epoch = Epoch(0);

    /// An epoch that nothing has been written in.
    pub(super) fn next() -> Epoch {
        static LAST: AtomicU64 = AtomicU64::new(0);
        // Only uniqueness matters and nothing a guest sees depends on the number.
        Epoch(LAST.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Where a page is and when it was made: *own* while its machine is still in that epoch, *frozen*
/// ever after.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct PageRef {
    host: NonNull<u8>,
    epoch: Epoch,
}

// SAFETY: a reference is an address; its page is either frozen, thus immutable, or own, thus
// reached for writing only through the one `&mut Ram` it belongs to.
unsafe impl Send for PageRef {}
// SAFETY: as above.
unsafe impl Sync for PageRef {}

impl PageRef {
    /// The page that all of RAM is at first.
    pub(super) fn zero() -> PageRef {
        PageRef { host: NonNull::from(&ZERO_PAGE.0).cast(), epoch: Epoch::NEVER }
    }

    /// A page at `host` that may be written during `epoch`.
    pub(super) fn new(host: NonNull<u8>, epoch: Epoch) -> PageRef {
        debug_assert!(host.addr().get().is_multiple_of(PAGE_BYTES));
        PageRef { host, epoch }
    }

    /// Host address of its first byte.
    #[inline]
    pub(super) fn host(self) -> NonNull<u8> {
        self.host
    }

    /// Whether it was made in `epoch`.
    #[inline]
    pub(super) fn is_of(self, epoch: Epoch) -> bool {
        self.epoch == epoch
    }

    /// Whether this is the shared zero page (a written page may be all zeroes too).
    pub(super) fn is_zero_page(self) -> bool {
        self.epoch == Epoch::NEVER
    }
}

/// The second level of the page table: the references of 2 MiB of RAM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Leaf {
    pub(super) pages: [PageRef; LEAF_PAGES],
}

impl Leaf {
    /// 2 MiB of zeroes.
    pub(super) fn zero() -> Leaf {
        Leaf { pages: [PageRef::zero(); LEAF_PAGES] }
    }

    /// Whether page `index` of both leaves is the same frozen page. Sound even if the pages
    /// themselves are gone, because an epoch and an address never name two contents.
    pub(crate) fn shares_page(&self, other: &Leaf, index: usize) -> bool {
        self.pages[index] == other.pages[index]
    }
}
