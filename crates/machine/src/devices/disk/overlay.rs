//! The blocks a guest has written, in a two-level tree whose clone costs one reference per 2 MiB.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes in a block of the overlay.
pub const BLOCK_BYTES: usize = 4096;

/// One block's content.
pub type Block = Arc<[u8; BLOCK_BYTES]>;

/// Blocks that a page of the bitmap of written blocks tells of.
pub const BITMAP_BLOCKS: u64 = 8 * BLOCK_BYTES as u64;

/// Blocks in a chunk.
const CHUNK_BLOCKS: u64 = 512;

/// The blocks a guest has written, by block number.
#[derive(Clone, Debug, Default)]
pub struct Overlay {
    chunks: BTreeMap<u64, Arc<Chunk>>,
}

/// The written ones of [`CHUNK_BLOCKS`] neighbouring blocks; a chunk in the tree is never empty.
#[derive(Clone, Debug)]
struct Chunk {
    /// How many of the blocks were written.
    written: u16,
    blocks: Vec<Option<Block>>,
}

impl Overlay {
    /// The content of a block, if it was written.
    pub fn get(&self, block: u64) -> Option<&Block> {
        self.chunks.get(&(block / CHUNK_BLOCKS))?.blocks[place(block)].as_ref()
    }

    /// Puts a whole block in.
    pub fn insert(&mut self, block: u64, content: Block) {
        *self.slot(block) = Some(content);
    }

    /// Every written block with its number, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Block)> {
        self.chunks.iter().flat_map(|(chunk, content)| {
            let blocks = content.blocks.iter().zip(0..);
            blocks.filter_map(move |(block, n)| Some((chunk * CHUNK_BLOCKS + n, block.as_ref()?)))
        })
    }

    /// Number of written blocks. Costs one counter per 2 MiB written to.
    pub fn len(&self) -> u64 {
        self.chunks.values().map(|chunk| u64::from(chunk.written)).sum()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Which of [`BITMAP_BLOCKS`] blocks from number `page * BITMAP_BLOCKS` on were written: one
    /// bit each, the lowest of a byte first.
    pub fn bitmap_page(&self, page: u64) -> [u8; BLOCK_BYTES] {
        let mut bits = [0; BLOCK_BYTES];
        let first = page * (BITMAP_BLOCKS / CHUNK_BLOCKS);
        for (chunk, content) in self.chunks.range(first..first + BITMAP_BLOCKS / CHUNK_BLOCKS) {
            let start = ((chunk - first) * CHUNK_BLOCKS) as usize;
            for (n, block) in content.blocks.iter().enumerate() {
                bits[(start + n) / 8] |= u8::from(block.is_some()) << (n % 8);
            }
        }
        bits
    }

    /// Calls `visit` with every block that may not be as in `before`: its number, as it was and
    /// as it is; in ascending order. Chunks and blocks that both share are not looked at.
    pub(crate) fn differences(
        &self,
        before: &Overlay,
        mut visit: impl FnMut(u64, Option<&Block>, Option<&Block>),
    ) {
        let numbers: BTreeSet<u64> =
            self.chunks.keys().chain(before.chunks.keys()).copied().collect();
        for number in numbers {
            let (new, old) = (self.chunks.get(&number), before.chunks.get(&number));
            if let (Some(new), Some(old)) = (new, old)
                && Arc::ptr_eq(new, old)
            {
                continue;
            }
            for n in 0..CHUNK_BLOCKS {
                let new = new.and_then(|chunk| chunk.blocks[n as usize].as_ref());
                let old = old.and_then(|chunk| chunk.blocks[n as usize].as_ref());
                let same = match (new, old) {
                    (Some(new), Some(old)) => Arc::ptr_eq(new, old),
                    (None, None) => true,
                    _ => false,
                };
                if !same {
                    visit(number * CHUNK_BLOCKS + n, old, new);
                }
            }
        }
    }

    /// The number of the last written block.
    pub fn last(&self) -> Option<u64> {
        let (chunk, content) = self.chunks.last_key_value()?;
        let place = content.blocks.iter().rposition(Option::is_some)?;
        Some(chunk * CHUNK_BLOCKS + place as u64)
    }

    /// A block for writing: unshared, and zeroes if it was not written before.
    pub(super) fn block_mut(&mut self, block: u64) -> &mut [u8; BLOCK_BYTES] {
        let content = self.slot(block).get_or_insert_with(|| Arc::new([0; BLOCK_BYTES]));
        Arc::make_mut(content)
    }

    /// The place of a block that is about to be written.
    fn slot(&mut self, block: u64) -> &mut Option<Block> {
        let chunk = self.chunks.entry(block / CHUNK_BLOCKS).or_insert_with(|| {
            Arc::new(Chunk { written: 0, blocks: vec![None; CHUNK_BLOCKS as usize] })
        });
        let chunk = Arc::make_mut(chunk);
        let slot = &mut chunk.blocks[place(block)];
        chunk.written += u16::from(slot.is_none());
        slot
    }
}

impl FromIterator<(u64, Block)> for Overlay {
    fn from_iter<I: IntoIterator<Item = (u64, Block)>>(blocks: I) -> Self {
        let mut overlay = Overlay::default();
        for (block, content) in blocks {
            overlay.insert(block, content);
        }
        overlay
    }
}

fn place(block: u64) -> usize {
    (block % CHUNK_BLOCKS) as usize
}
