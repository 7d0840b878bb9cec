//! Frozen RAM: the content of a machine's RAM at one moment, immutable and shared by whoever wants
//! it (forks, hashing, saving). Owns no way to change a page.

#![expect(unsafe_code, reason = "reads pages by host address")]

#[cfg(any(target_os = "linux", target_os = "android"))]
use std::io;
use std::sync::Arc;

#[cfg(any(target_os = "linux", target_os = "android"))]
use super::Ram;
#[cfg(any(target_os = "linux", target_os = "android"))]
use super::page::Epoch;
use super::page::{LEAF_PAGES, Leaf, PageBytes, PageRef};
use super::segment::Segment;
use super::{PAGE_BYTES, PageIndex};

/// RAM as it was at a [`Ram::freeze`](super::Ram::freeze). Cloning costs nothing.
#[derive(Clone, Debug)]
pub struct FrozenRam {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    pages: u32,
    leaves: Vec<Arc<Leaf>>,
    /// Every segment that a leaf refers to; they live as long as this does.
    segments: Vec<Arc<Segment>>,
}

/// Where another process that maps the segments finds a page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PageLocation {
    /// Nowhere: the page was never written and is all zeroes.
    Zero,
    /// In a segment.
    Segment {
        /// Index into [`FrozenRam::segments`].
        segment: usize,
        /// Offset of the page's first byte in the segment.
        offset_bytes: usize,
    },
}

impl FrozenRam {
    pub(super) fn new(
        pages: u32,
        leaves: Vec<Arc<Leaf>>,
        mut segments: Vec<Arc<Segment>>,
    ) -> FrozenRam {
        assert_eq!(leaves.len(), (pages as usize).div_ceil(LEAF_PAGES), "leaves cover RAM");
        segments.sort_by_key(|segment| segment.start());
        FrozenRam { shared: Arc::new(Shared { pages, leaves, segments }) }
    }

    /// RAM of `size_bytes` whose pages lie in a file: `pages` says which page of RAM is which page
    /// of the file, and all others are zeroes. The file is mapped, not read, so this costs neither
    /// by its size nor by how much of it is in memory. It must never change again.
    ///
    /// # Errors
    /// The host's; `InvalidInput` for an impossible size, or for a page outside RAM or the file.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn map(
        size_bytes: u64,
        file: std::os::fd::OwnedFd,
        pages: &[(PageIndex, u32)],
    ) -> io::Result<FrozenRam> {
        let Ram { pages: ram_pages, mut leaves, .. } = Ram::new(size_bytes)?;
        let invalid = |problem: String| io::Error::new(io::ErrorKind::InvalidInput, problem);
        let file_bytes = u64::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(0);
        let file_pages = file_bytes / PAGE_BYTES as u64;
        if let Some((page, at)) =
            pages.iter().find(|(page, at)| *page >= ram_pages || u64::from(*at) >= file_pages)
        {
            let problem = format!("page {page} of {ram_pages} is page {at} of {file_pages}");
            return Err(invalid(problem));
        }
        if pages.is_empty() {
            return Ok(FrozenRam::new(ram_pages, leaves, Vec::new()));
        }
        let file_pages = usize::try_from(file_pages).map_err(io::Error::other)?;
        let segment = Arc::new(Segment::of_file(file, file_pages)?);
        let epoch = Epoch::next();
        for &(page, at) in pages {
            let leaf = Arc::make_mut(&mut leaves[page as usize / LEAF_PAGES]);
            let host = segment.page(at as usize);
            leaf.pages[page as usize % LEAF_PAGES] = PageRef::new(host, epoch);
        }
        Ok(FrozenRam::new(ram_pages, leaves, vec![segment]))
    }

    /// In a process that was forked off: takes its right to write the pages that it shares with its
    /// original and with the other forks, for good, so that none that is taken over by its guest
    /// reaches the others through them. A machine of this process that still writes to them in place
    /// ends it with a fault; one that is thawed from here copies.
    ///
    /// # Errors
    /// The host's. Some may be written still.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub fn leave_to_original(&self) -> io::Result<()> {
        self.shared.segments.iter().try_for_each(|segment| segment.make_read_only())
    }

    /// Size in pages.
    pub fn pages(&self) -> u32 {
        self.shared.pages
    }

    /// Size in bytes.
    pub fn size_bytes(&self) -> u64 {
        u64::from(self.shared.pages) * PAGE_BYTES as u64
    }

    /// The bytes of a page, or `None` outside RAM.
    pub fn page(&self, page: PageIndex) -> Option<&PageBytes> {
        let page = self.page_ref(page)?;
        // SAFETY: the page is frozen, so nobody writes it, and `shared.segments` (or the program,
        // for the zero page) keeps it mapped for as long as `self` is borrowed.
        Some(unsafe { page.host().cast::<PageBytes>().as_ref() })
    }

    /// Calls `visit` with every page that is not all zeroes, in ascending order.
    pub fn for_each_nonzero_page(&self, mut visit: impl FnMut(PageIndex, &PageBytes)) {
        for page in 0..self.shared.pages {
            if self.is_zero_page(page) {
                continue;
            }
            let bytes = self.page(page).expect("page is in range");
            if *bytes != [0; PAGE_BYTES] {
                visit(page, bytes);
            }
        }
    }

    /// The segments that hold the pages, in no particular order.
    pub fn segments(&self) -> &[Arc<Segment>] {
        &self.shared.segments
    }

    /// Where in [`FrozenRam::segments`] a page is, or `None` outside RAM.
    pub fn locate(&self, page: PageIndex) -> Option<PageLocation> {
        let page = self.page_ref(page)?;
        if page.is_zero_page() {
            return Some(PageLocation::Zero);
        }
        let host = page.host().addr().get();
        let segments = &self.shared.segments;
        let segment = segments.partition_point(|segment| segment.end() <= host);
        let offset_bytes = host - segments[segment].start();
        assert!(offset_bytes < segments[segment].pages() * PAGE_BYTES, "page has a segment");
        Some(PageLocation::Segment { segment, offset_bytes })
    }

    /// The page table: one leaf per 2 MiB. The same leaf in two frozen RAMs has the same content.
    pub(crate) fn leaves(&self) -> &[Arc<Leaf>] {
        &self.shared.leaves
    }

    /// Whether a page was never written. (A written page may be all zeroes, too.)
    pub(crate) fn is_zero_page(&self, page: PageIndex) -> bool {
        self.page_ref(page).is_some_and(PageRef::is_zero_page)
    }

    fn page_ref(&self, page: PageIndex) -> Option<PageRef> {
        if page >= self.shared.pages {
            return None;
        }
        let page = page as usize;
        Some(self.shared.leaves[page / LEAF_PAGES].pages[page % LEAF_PAGES])
    }
}
