//! The index at the end of a pack: written, and read with every length checked against the file's
//! size before it is believed.

use stackvm_machine::digest::Digest;

use super::codec::{self, Compressor};
use super::varint::{self, Input};
use super::{Class, EXTENT_BYTES_MAX, EXTENT_CHUNKS_MAX};
use crate::{CHUNK_BYTES_MAX, PAGE_BYTES};

pub(super) const MAGIC: &[u8; 12] = b"STACKVM PACK";
pub(super) const VERSION: u32 = 1;
pub(super) const HEADER_BYTES: u64 = 16;
pub(super) const TRAILER_BYTES: u64 = 80;
/// Bytes of the trailer in front of the hash.
const TRAILER_HASHED: usize = 32;
/// Bytes that an extent takes in the table, at most, beside the lengths of its chunks.
const EXTENT_ENTRY_MAX: u64 = 2 + 4;
/// Bytes that a chunk's length takes in the table, at most.
const LENGTH_MAX: u64 = 3;

const UNIFORM: u64 = 4;
const COMPRESSED: u64 = 2;

/// The first bytes of a pack.
pub(super) fn header() -> [u8; HEADER_BYTES as usize] {
    let mut header = [0; HEADER_BYTES as usize];
    header[..12].copy_from_slice(MAGIC);
    header[12..].copy_from_slice(&VERSION.to_le_bytes());
    header
}

/// An extent in its file.
#[derive(Clone, Debug)]
pub(super) struct Extent {
    pub(super) class: Class,
    pub(super) compressed: bool,
    pub(super) offset: u64,
    pub(super) stored_bytes: u32,
    /// Number of its first chunk within the class.
    pub(super) first: u32,
    pub(super) chunks: u32,
    /// Where each chunk ends in the uncompressed extent; `None` if all are pages of 4 KiB.
    pub(super) ends: Option<Box<[u32]>>,
}

impl Extent {
    /// Bytes before compression.
    pub(super) fn raw_bytes(&self) -> usize {
        match &self.ends {
            None => self.chunks as usize * PAGE_BYTES,
            Some(ends) => *ends.last().expect("an extent has chunks") as usize,
        }
    }

    /// Where its chunk `index` is in the uncompressed extent.
    pub(super) fn range(&self, index: usize) -> std::ops::Range<usize> {
        match &self.ends {
            None => index * PAGE_BYTES..(index + 1) * PAGE_BYTES,
            Some(ends) => {
                let start = if index == 0 { 0 } else { ends[index - 1] as usize };
                start..ends[index] as usize
            }
        }
    }
}

/// Everything that is known of a pack without reading its extents.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) extents: Vec<Extent>,
    pub(super) pages: u32,
    /// Digests of pages, then of nodes.
    pub(super) ids: Vec<Digest>,
    /// The hash of all of this, which no other pack has.
    pub(super) hash: Digest,
}

/// Writes table, digests and trailer. `lengths` are those of the chunks in the extents' order.
pub(super) fn encode(table_at: u64, extents: &[Extent], ids: [&[Digest]; 2]) -> Vec<u8> {
    let mut table = Vec::new();
    for extent in extents {
        let uniform = if extent.ends.is_none() { UNIFORM } else { 0 };
        let compressed = if extent.compressed { COMPRESSED } else { 0 };
        let head = u64::from(extent.chunks) << 3 | uniform | compressed | extent.class as u64;
        varint::put(&mut table, head);
        varint::put(&mut table, u64::from(extent.stored_bytes));
        if extent.ends.is_some() {
            for index in 0..extent.chunks as usize {
                varint::put(&mut table, extent.range(index).len() as u64);
            }
        }
    }
    let raw_bytes = table.len();
    let mut bytes = Compressor::new().compress(&table).unwrap_or(table);
    let table_bytes = bytes.len();
    bytes.extend(ids.iter().flat_map(|ids| ids.iter()).flat_map(|id| id.as_bytes()));
    bytes.extend_from_slice(&table_at.to_le_bytes());
    let counts = [table_bytes, raw_bytes, extents.len(), ids[0].len(), ids[1].len(), 0];
    for count in counts {
        let count = u32::try_from(count).expect("the writer's limit on chunks");
        bytes.extend_from_slice(&count.to_le_bytes());
    }
    let hash = *blake3::hash(&bytes).as_bytes();
    bytes.extend_from_slice(&hash);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(MAGIC);
    bytes
}

/// The trailer's fields.
pub(super) struct Trailer {
    pub(super) table_at: u64,
    table_bytes: u32,
    table_raw: u32,
    extents: u32,
    pages: u32,
    nodes: u32,
}

impl Trailer {
    /// Reads the trailer of a file of `size_bytes`.
    pub(super) fn decode(
        bytes: &[u8; TRAILER_BYTES as usize],
        size_bytes: u64,
    ) -> Result<Trailer, String> {
        if &bytes[68..] != MAGIC {
            return Err("it does not end like a pack; it may be cut off".to_owned());
        }
        let u32_at =
            |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        if u32_at(64) != VERSION {
            let version = u32_at(64);
            return Err(format!("its version is {version}, and only {VERSION} is known"));
        }
        let table_at = u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"));
        let [table_bytes, table_raw, extents, pages, nodes, zero] =
            [8, 12, 16, 20, 24, 28].map(u32_at);
        let chunks = u64::from(pages) + u64::from(nodes);
        let index_bytes = u64::from(table_bytes) + chunks * 32 + TRAILER_BYTES;
        let end = table_at.checked_add(index_bytes);
        if zero != 0 || table_at < HEADER_BYTES || end != Some(size_bytes) {
            return Err(format!("its index does not fit into {size_bytes} bytes"));
        }
        let raw_max = u64::from(extents) * EXTENT_ENTRY_MAX + chunks * LENGTH_MAX;
        if u64::from(extents) > chunks || u64::from(table_raw) > raw_max {
            return Err(format!("a table of {table_raw} bytes for {chunks} chunks"));
        }
        Ok(Trailer { table_at, table_bytes, table_raw, extents, pages, nodes })
    }
}

impl Index {
    /// Reads what is between extents and the end of the file, the trailer included.
    pub(super) fn decode(trailer: &Trailer, bytes: &[u8]) -> Result<Index, String> {
        let hashed = bytes.len() - TRAILER_BYTES as usize + TRAILER_HASHED;
        let hash = Digest::of(&bytes[..hashed]);
        if hash.as_bytes()[..] != bytes[hashed..hashed + 32] {
            return Err("its index is not what its hash says".to_owned());
        }
        let (table, rest) = bytes.split_at(trailer.table_bytes as usize);
        let chunks = trailer.pages as usize + trailer.nodes as usize;
        let ids = rest[..chunks * 32]
            .chunks_exact(32)
            .map(|id| Digest::from_bytes(id.try_into().expect("32 bytes")))
            .collect();
        let raw;
        let table = if trailer.table_bytes == trailer.table_raw {
            table
        } else {
            raw = codec::decompress(table, trailer.table_raw as usize)?;
            &raw
        };
        let extents = extents(trailer, table)?;
        Ok(Index { extents, pages: trailer.pages, ids, hash })
    }
}

fn extents(trailer: &Trailer, table: &[u8]) -> Result<Vec<Extent>, String> {
    let mut input = Input(table);
    let mut extents = Vec::with_capacity(trailer.extents as usize);
    let (mut offset, mut next) = (HEADER_BYTES, [0_u32; 2]);
    for number in 0..trailer.extents {
        let extent = extent(&mut input, offset, next)
            .ok_or_else(|| format!("extent {number} has impossible lengths"))?;
        offset += u64::from(extent.stored_bytes);
        next[extent.class as usize] += extent.chunks;
        if offset > trailer.table_at {
            return Err(format!("extent {number} reaches into the index"));
        }
        extents.push(extent);
    }
    if offset != trailer.table_at || !input.0.is_empty() || next != [trailer.pages, trailer.nodes] {
        return Err("its table is not as long as its trailer says".to_owned());
    }
    Ok(extents)
}

fn extent(input: &mut Input<'_>, offset: u64, next: [u32; 2]) -> Option<Extent> {
    let head = input.number()?;
    let chunks = u32::try_from(head >> 3).ok()?;
    if chunks == 0 || chunks as usize > EXTENT_CHUNKS_MAX {
        return None;
    }
    let class = if head & 1 == 0 { Class::Page } else { Class::Node };
    let compressed = head & COMPRESSED != 0;
    let stored_bytes = u32::try_from(input.number()?).ok()?;
    let mut ends = None;
    if head & UNIFORM == 0 {
        let mut end = 0;
        let mut all = Vec::with_capacity(chunks as usize);
        for _ in 0..chunks {
            let bytes = input.number()?;
            // A record of a node without anything to spare is a little longer than its chunk.
            if bytes > 2 * CHUNK_BYTES_MAX as u64 {
                return None;
            }
            end += bytes as u32;
            all.push(end);
        }
        ends = Some(all.into_boxed_slice());
    }
    let first = next[class as usize];
    let extent = Extent { class, compressed, offset, stored_bytes, first, chunks, ends };
    let raw = extent.raw_bytes();
    let stored = stored_bytes as usize;
    let fits = if compressed { stored < raw } else { stored == raw };
    (fits && raw <= EXTENT_BYTES_MAX).then_some(extent)
}
