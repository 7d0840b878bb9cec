//! The blocks a guest has written, in a two-level tree whose clone costs one reference per 2 MiB.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes in a block of the overlay.
pub const BLOCK_BYTES: usize = 4096;

/// One block's content.
pub type Block = Arc<[u8; BLOCK_BYTES]>;

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

    fn slot(&mut self, block: u64) -> &mut Option<Block> {
        let chunk = self
            .chunks
            .entry(block / CHUNK_BLOCKS)
            .or_insert_with(|| Arc::new(Chunk { blocks: vec![None; CHUNK_BLOCKS as usize] }));
        &mut Arc::make_mut(chunk).blocks[place(block)]
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
