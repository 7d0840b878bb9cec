//! From chunks to a machine. Every length is checked before anything is read or reserved.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use stackvm_machine::devices::disk::{BITMAP_BLOCKS, BLOCK_BYTES, Block, Overlay};
use stackvm_machine::memory::{FrozenRam, PageIndex, RAM_BASE, Ram};
use stackvm_machine::persist::StateTrees;
use stackvm_machine::{Frozen, MachineConfig, RestoreError};
use stackvm_store::tree::{self, Tree};
use stackvm_store::{Chunks, Digest, PAGE_BYTES, ReadError};
use thiserror::Error;

use super::{Keyframe, WrittenBlocks};
use crate::limits::{DERIVED_BYTES_MAX, STATE_BYTES_MAX, WRITTEN_BLOCKS_MAX};
use crate::screen::Derived;

/// Why a keyframe cannot be used.
#[derive(Debug, Error)]
pub enum KeyframeError {
    /// Its chunks cannot be read.
    #[error(transparent)]
    Chunks(#[from] ReadError),
    /// No machine could be in that state.
    #[error(transparent)]
    State(#[from] RestoreError),
    /// It contradicts the header or itself.
    #[error("{0}")]
    Invalid(String),
    /// The host has no memory for it.
    #[error("the host has no memory for the machine")]
    HostMemory(#[source] io::Error),
}

/// A keyframe that is in memory already: what is equal is shared with it, not read.
#[derive(Clone, Copy)]
pub struct Near<'a> {
    /// The keyframe.
    pub keyframe: &'a Keyframe,
    /// Its machine.
    pub frozen: &'a Frozen,
}

/// The machine of a keyframe, and what its terminals showed. `config` is that of the timeline's
/// header; its kernel, initial RAM disk and firmware are not looked at. `trees` become those of
/// the machine; they may show any state of the same machine, which saves hashing.
///
/// # Errors
/// See [`KeyframeError`].
pub fn load(
    config: &MachineConfig,
    chunks: &dyn Chunks,
    keyframe: &Keyframe,
    near: Option<Near<'_>>,
    trees: &mut StateTrees,
) -> Result<(Frozen, Derived), KeyframeError> {
    let config = MachineConfig { seed: keyframe.seed, rtc_ns: keyframe.rtc_ns, ..config.clone() };
    let near = near.filter(|near| near.fits(keyframe));
    check_shape(&config, keyframe)?;
    let state = tree::read_blob(chunks, &keyframe.state, STATE_BYTES_MAX)?;
    let derived = tree::read_blob(chunks, &keyframe.derived, DERIVED_BYTES_MAX)?;
    let derived = postcard::from_bytes(&derived)
        .map_err(|error| KeyframeError::Invalid(format!("what terminals showed: {error}")))?;
    let ram = load_ram(chunks, &keyframe.ram, near, trees)?;
    let mut overlays = Vec::new();
    for (number, disk) in keyframe.disks.iter().enumerate() {
        let near =
            near.map(|near| (&near.keyframe.disks[number].blocks, &near.frozen.overlays()[number]));
        overlays.push(load_overlay(chunks, disk, near)?);
    }
    let frozen = Frozen::from_parts(&config, &state, ram, overlays)?;
    if frozen.instant() != keyframe.at {
        let problem = format!("its machine is at {}", frozen.instant());
        return Err(KeyframeError::Invalid(problem));
    }
    let digest = frozen.digest(trees);
    if digest != keyframe.digest {
        let problem = format!("its digest is {digest}, {} was noted", keyframe.digest);
        return Err(KeyframeError::Invalid(problem));
    }
    Ok((frozen, derived))
}

impl Near<'_> {
    /// Whether the other keyframe is one of the same machine.
    fn fits(&self, other: &Keyframe) -> bool {
        let blocks = |keyframe: &Keyframe| -> Vec<u64> {
            keyframe.disks.iter().map(|disk| disk.blocks.pages).collect()
        };
        self.keyframe.ram.pages == other.ram.pages && blocks(self.keyframe) == blocks(other)
    }
}

fn check_shape(config: &MachineConfig, keyframe: &Keyframe) -> Result<(), KeyframeError> {
    let equal = |what: &str, found: u64, expected: u64| {
        if found == expected {
            return Ok(());
        }
        Err(KeyframeError::Invalid(format!("{found} {what} where the header has {expected}")))
    };
    equal("pages of RAM", keyframe.ram.pages, config.memory_bytes / PAGE_BYTES as u64)?;
    equal("disks", keyframe.disks.len() as u64, config.disks.len() as u64)?;
    for (disk, config) in keyframe.disks.iter().zip(&config.disks) {
        let blocks = config.source.size_bytes().div_ceil(BLOCK_BYTES as u64);
        equal("blocks of a disk", disk.blocks.pages, blocks)?;
        equal("bytes of a map of blocks", disk.written.bytes, blocks.div_ceil(8))?;
        let pages = blocks.div_ceil(BITMAP_BLOCKS);
        equal("pages of a map of blocks", disk.written.tree.pages, pages)?;
    }
    Ok(())
}

fn load_ram(
    chunks: &dyn Chunks,
    tree: &Tree,
    near: Option<Near<'_>>,
    trees: &mut StateTrees,
) -> Result<FrozenRam, KeyframeError> {
    let mut ram = match near {
        Some(near) => Ram::thaw(near.frozen.ram()),
        None => Ram::new(tree.pages * PAGE_BYTES as u64).map_err(KeyframeError::HostMemory)?,
    };
    let mut no_memory = None;
    let mut digests = Vec::new();
    let mut put = |page: u64, digest: &Digest| -> Result<(), ReadError> {
        let bytes = read_page(chunks, digest)?;
        if no_memory.is_none()
            && let Err(error) = ram.reserve(1)
        {
            no_memory = Some(error);
        }
        if no_memory.is_none() {
            ram.write(RAM_BASE + page * PAGE_BYTES as u64, &*bytes).expect("a page of RAM");
        }
        Ok(())
    };
    match near {
        Some(near) => {
            tree::visit_changes(chunks, &near.keyframe.ram, tree, &mut |page, _, new| {
                put(page, new)
            })?;
        }
        None => tree::visit_pages(chunks, tree, &mut |page, digest| {
            digests.push((page as PageIndex, *digest));
            put(page, digest)
        })?,
    }
    if let Some(error) = no_memory {
        return Err(KeyframeError::HostMemory(error));
    }
    ram.take_written();
    let ram = ram.freeze();
    if near.is_none() {
        // Each page was verified against its digest as it was read.
        trees.assume_ram(&ram, digests);
    }
    Ok(ram)
}

/// The blocks a guest has written; those that are equal in `near` are shared with it.
fn load_overlay(
    chunks: &dyn Chunks,
    disk: &WrittenBlocks,
    near: Option<(&Tree, &Overlay)>,
) -> Result<Overlay, KeyframeError> {
    let mut map = BTreeMap::new();
    let mut count = 0;
    tree::visit_pages(chunks, &disk.written.tree, &mut |page, digest| {
        let bits = read_page(chunks, digest)?;
        count += bits.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>();
        if count > WRITTEN_BLOCKS_MAX {
            let bytes = |blocks| blocks * BLOCK_BYTES as u64;
            return Err(ReadError::TooLarge {
                bytes: bytes(count),
                max: bytes(WRITTEN_BLOCKS_MAX),
            });
        }
        map.insert(page, bits);
        Ok(())
    })?;
    let is_written = |block: u64| {
        let bit = block % BITMAP_BLOCKS;
        let bits = map.get(&(block / BITMAP_BLOCKS));
        bits.is_some_and(|bits| bits[(bit / 8) as usize] >> (bit % 8) & 1 == 1)
    };
    // One for all: a map of nothing but ones costs its reader little.
    let zeroes: Block = Arc::new([0; BLOCK_BYTES]);
    let mut overlay = Overlay::default();
    for page in map.keys() {
        let blocks = page * BITMAP_BLOCKS..(page + 1) * BITMAP_BLOCKS;
        for block in blocks.filter(|&block| is_written(block)) {
            let content = near.and_then(|(_, overlay)| overlay.get(block)).unwrap_or(&zeroes);
            overlay.insert(block, content.clone());
        }
    }
    let mut stray = None;
    let mut put = |block: u64, digest: &Digest| -> Result<(), ReadError> {
        if is_written(block) {
            overlay.insert(block, read_page(chunks, digest)?);
        } else if *digest != Digest::ZERO {
            stray = stray.or(Some(block));
        }
        Ok(())
    };
    match near {
        Some((near, _)) => {
            tree::visit_changes(chunks, near, &disk.blocks, &mut |block, _, new| put(block, new))?;
        }
        None => tree::visit_pages(chunks, &disk.blocks, &mut put)?,
    }
    match stray {
        Some(block) => {
            let problem = format!("block {block} has content and was never written");
            Err(KeyframeError::Invalid(problem))
        }
        None => Ok(overlay),
    }
}

/// The bytes of a page by its digest.
fn read_page(chunks: &dyn Chunks, digest: &Digest) -> Result<Arc<[u8; PAGE_BYTES]>, ReadError> {
    if *digest == Digest::ZERO {
        return Ok(Arc::new([0; PAGE_BYTES]));
    }
    let missing = || ReadError::Missing { id: *digest, place: "the recording".into() };
    let bytes = chunks.get(digest)?.ok_or_else(missing)?;
    let bytes: &[u8] = &bytes;
    let page = bytes.try_into().map_err(|_| ReadError::Damaged {
        what: format!("chunk {digest}"),
        place: "the recording".into(),
        problem: format!("it has {} bytes, a page has {PAGE_BYTES}", bytes.len()),
    })?;
    Ok(Arc::new(page))
}
