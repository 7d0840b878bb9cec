//! The hash trees over a machine's RAM and disks, kept from one digest to the next. Owns how
//! changes are found without reading what did not change; the trees themselves are
//! [`HashTree`]'s.

use std::sync::Arc;

use super::{Digest, FAN_OUT, HashTree, StateHasher};
use crate::config::MachineConfig;
use crate::devices::disk::{BITMAP_BLOCKS, BLOCK_BYTES, Overlay};
use crate::memory::{FrozenRam, Leaf, PAGE_BYTES, PageIndex};

/// The hash tree over a machine's RAM: hashes only pages that changed since the last time, which
/// it sees without reading them.
#[derive(Clone, Debug)]
pub struct RamTree {
    tree: HashTree,
    /// The page table that `tree` shows. Compared only; its pages may be gone.
    seen: Vec<Arc<Leaf>>,
}

impl RamTree {
    /// The tree over `pages` pages of zeroes.
    pub fn new(pages: u32) -> RamTree {
        RamTree { tree: HashTree::new(u64::from(pages)), seen: Vec::new() }
    }

    /// The root over `ram`.
    ///
    /// # Panics
    /// When `ram` has another size.
    pub fn root(&mut self, ram: &FrozenRam) -> Digest {
        assert_eq!(u64::from(ram.pages()), self.tree.pages(), "the same RAM as before");
        let first_time = self.seen.is_empty();
        for (at, leaf) in ram.leaves().iter().enumerate() {
            if !first_time && Arc::ptr_eq(leaf, &self.seen[at]) {
                continue;
            }
            let first = (at * FAN_OUT) as u32;
            for page in first..ram.pages().min(first + FAN_OUT as u32) {
                let known = if first_time {
                    ram.is_zero_page(page)
                } else {
                    leaf.shares_page(&self.seen[at], (page - first) as usize)
                };
                if !known {
                    let bytes = ram.page(page).expect("page is in range");
                    self.tree.set(u64::from(page), Digest::of_page(bytes));
                }
            }
        }
        self.seen.clear();
        self.seen.extend_from_slice(ram.leaves());
        self.tree.root()
    }
}

/// The hash trees over a disk's written blocks.
#[derive(Clone, Debug)]
struct DiskTrees {
    /// Over the blocks; those that were not written are elided.
    blocks: HashTree,
    /// Over the bitmap of which were written: a written block may be all zeroes.
    written: HashTree,
    /// What the trees show.
    seen: Overlay,
}

impl DiskTrees {
    fn new(size_bytes: u64) -> DiskTrees {
        let blocks = size_bytes.div_ceil(BLOCK_BYTES as u64);
        DiskTrees {
            blocks: HashTree::new(blocks),
            written: HashTree::new(blocks.div_ceil(BITMAP_BLOCKS)),
            seen: Overlay::default(),
        }
    }

    fn update(&mut self, overlay: &Overlay) {
        let mut bitmap_page = None;
        overlay.differences(&self.seen, |block, old, new| {
            self.blocks.set(block, new.map_or(Digest::ZERO, |bytes| Digest::of_page(bytes)));
            let page = block / BITMAP_BLOCKS;
            if old.is_some() != new.is_some() && bitmap_page != Some(page) {
                bitmap_page = Some(page);
                self.written.set(page, Digest::of_page(&overlay.bitmap_page(page)));
            }
        });
        self.seen = overlay.clone();
    }
}

/// The hash trees over all that is large in a machine, its RAM and what its guest wrote to disks,
/// kept from one digest to the next so that only what changed is hashed again. They fit every
/// state of machines with the same memory and disks, in any order.
#[derive(Clone, Debug)]
pub struct StateTrees {
    ram: RamTree,
    disks: Vec<DiskTrees>,
}

impl StateTrees {
    /// The trees of a machine with nothing but zeroes in its RAM and nothing written to its disks.
    pub fn new(config: &MachineConfig) -> StateTrees {
        let pages = (config.memory_bytes / PAGE_BYTES as u64) as u32;
        let disks = config.disks.iter().map(|disk| DiskTrees::new(disk.source.size_bytes()));
        StateTrees { ram: RamTree::new(pages), disks: disks.collect() }
    }

    /// The trees of a state whose digests are known already, for a first digest that hashes
    /// nothing: of the pages of `ram` that are not all zeroes, in any order. They are believed.
    ///
    /// # Panics
    /// When a page is outside RAM, or `ram` is not of the size of [`StateTrees::new`].
    pub fn assume_ram(
        &mut self,
        ram: &FrozenRam,
        digests: impl IntoIterator<Item = (PageIndex, Digest)>,
    ) {
        let mut tree = HashTree::new(self.ram.tree.pages());
        assert_eq!(u64::from(ram.pages()), tree.pages(), "the same RAM as before");
        for (page, digest) in digests {
            tree.set(u64::from(page), digest);
        }
        self.ram = RamTree { tree, seen: ram.leaves().to_vec() };
    }

    /// The tree over RAM, as of the last digest.
    pub fn ram_tree(&mut self) -> &mut HashTree {
        &mut self.ram.tree
    }

    /// The tree over the written blocks of disk `disk`, as of the last digest: as many pages as
    /// the disk has blocks.
    ///
    /// # Panics
    /// When there is no such disk.
    pub fn disk_tree(&mut self, disk: usize) -> &mut HashTree {
        &mut self.disks[disk].blocks
    }

    /// The tree over the bitmap of which blocks of disk `disk` were written
    /// ([`Overlay::bitmap_page`]), as of the last digest.
    ///
    /// # Panics
    /// When there is no such disk.
    pub fn written_tree(&mut self, disk: usize) -> &mut HashTree {
        &mut self.disks[disk].written
    }

    /// Takes over RAM and disks as they are now and adds them to the parts of a digest.
    ///
    /// # Panics
    /// When they have other sizes than the trees.
    pub(crate) fn add_to(
        &mut self,
        hasher: &mut StateHasher,
        ram: &FrozenRam,
        overlays: &[Overlay],
    ) {
        assert_eq!(overlays.len(), self.disks.len(), "the same disks as before");
        hasher.tree("ram", ram.pages().into(), self.ram.root(ram));
        for (index, (trees, overlay)) in self.disks.iter_mut().zip(overlays).enumerate() {
            trees.update(overlay);
            let DiskTrees { blocks, written, .. } = trees;
            hasher.tree(&format!("disk{index}"), blocks.pages(), blocks.root());
            hasher.tree(&format!("disk{index}.written"), written.pages(), written.root());
        }
    }
}
