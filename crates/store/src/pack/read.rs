//! A pack that is read: its index in memory, its extents where they are.

use std::ops::Range;
use std::sync::Arc;

use stackvm_machine::digest::Digest;

#[cfg(unix)]
use super::codec::Decompressor;
use super::index::{HEADER_BYTES, Index, TRAILER_BYTES, Trailer, header};
use super::node::Reference;
use super::{Class, codec, prefix};
use crate::chunks::{ReadAt, ReadError};

/// A pack to read from. Its index is in memory: about 50 bytes for each chunk.
#[derive(Debug)]
pub struct Pack {
    place: String,
    source: Arc<dyn ReadAt>,
    index: Index,
    /// Extents of each class, ascending by the numbers of their chunks.
    by_class: [Vec<u32>; 2],
    /// Chunks ascending by digest: the first bytes of the digest, and where in `index.ids` it is.
    pub(super) order: Vec<(u64, u32)>,
}

/// Where a chunk is inside its pack.
pub(super) struct Place {
    pub(super) class: Class,
    pub(super) extent: u32,
    pub(super) range: Range<usize>,
}

impl Pack {
    /// Reads and checks the index. `place` names the pack in errors.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open(place: &str, source: Arc<dyn ReadAt>) -> Result<Pack, ReadError> {
        let damaged = |problem: String| ReadError::Damaged {
            what: "the pack".to_owned(),
            place: place.to_owned(),
            problem,
        };
        let failed = |error| ReadError::Io { place: place.to_owned(), error };
        let size = source.size_bytes();
        if size < HEADER_BYTES + TRAILER_BYTES {
            return Err(damaged(format!("it has only {size} bytes")));
        }
        let mut first = [0; HEADER_BYTES as usize];
        source.read_at(0, &mut first).map_err(failed)?;
        let mut last = [0; TRAILER_BYTES as usize];
        source.read_at(size - TRAILER_BYTES, &mut last).map_err(failed)?;
        if first[..12] != header()[..12] {
            return Err(damaged("it does not begin like a pack".to_owned()));
        }
        let trailer = Trailer::decode(&last, size).map_err(damaged)?;
        if first != header() {
            return Err(damaged("its header and its trailer differ in version".to_owned()));
        }
        // The trailer's counts add up to the file's size, so this is no more than the file has.
        let mut bytes = vec![0; (size - trailer.table_at) as usize];
        source.read_at(trailer.table_at, &mut bytes).map_err(failed)?;
        let index = Index::decode(&trailer, &bytes).map_err(damaged)?;
        drop(bytes);
        let order = order(&index.ids).map_err(damaged)?;
        let mut by_class = [Vec::new(), Vec::new()];
        for (number, extent) in index.extents.iter().enumerate() {
            by_class[extent.class as usize].push(number as u32);
        }
        Ok(Pack { place: place.to_owned(), source, index, by_class, order })
    }

    /// What names the pack in errors.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Bytes of the file.
    pub fn size_bytes(&self) -> u64 {
        self.source.size_bytes()
    }

    /// The hash of its index: packs with other chunks, or other bytes, have another one.
    pub fn index_hash(&self) -> Digest {
        self.index.hash
    }

    /// Digests of all chunks: pages in the order they are stored, then nodes.
    pub fn ids(&self) -> &[Digest] {
        &self.index.ids
    }

    /// Digests of the pages, in the order they are stored.
    pub fn pages(&self) -> &[Digest] {
        &self.index.ids[..self.index.pages as usize]
    }

    /// Bytes that its chunks have as they are stored, before compression.
    pub fn raw_bytes(&self) -> u64 {
        self.index.extents.iter().map(|extent| extent.raw_bytes() as u64).sum()
    }

    /// Where the chunk at `index` of [`Pack::ids`] is.
    pub(super) fn locate(&self, index: u32) -> Place {
        let (class, number) = match index.checked_sub(self.index.pages) {
            None => (Class::Page, index),
            Some(number) => (Class::Node, number),
        };
        let extents = &self.by_class[class as usize];
        let first = |&extent: &u32| self.index.extents[extent as usize].first <= number;
        let extent = extents[extents.partition_point(first) - 1];
        let found = &self.index.extents[extent as usize];
        Place { class, extent, range: found.range((number - found.first) as usize) }
    }

    /// An extent, decompressed. Its chunks are not verified.
    pub(super) fn extent(&self, number: u32) -> Result<Vec<u8>, ReadError> {
        let extent = &self.index.extents[number as usize];
        let mut stored = vec![0; extent.stored_bytes as usize];
        self.source
            .read_at(extent.offset, &mut stored)
            .map_err(|error| ReadError::Io { place: self.place.clone(), error })?;
        if !extent.compressed {
            return Ok(stored);
        }
        codec::decompress(&stored, extent.raw_bytes()).map_err(|problem| {
            let what = format!("the extent at byte {}", extent.offset);
            ReadError::Damaged { what, place: self.place.clone(), problem }
        })
    }

    /// Where the chunks of an extent are in [`Pack::ids`]; `None` behind the last extent.
    #[cfg(unix)]
    pub(super) fn chunks_of(&self, extent: usize) -> Option<Range<usize>> {
        let extent = self.index.extents.get(extent)?;
        let before = if extent.class == Class::Page { 0 } else { self.index.pages };
        let first = (before + extent.first) as usize;
        Some(first..first + extent.chunks as usize)
    }

    /// The digest that a reference of this pack stands for.
    pub(super) fn resolve(&self, reference: Reference) -> Option<Digest> {
        match reference {
            Reference::Zero => Some(Digest::ZERO),
            Reference::Digest(digest) => Some(digest),
            Reference::Own(reference) => {
                let number = usize::try_from(reference >> 1).ok()?;
                let (pages, nodes) = self.index.ids.split_at(self.index.pages as usize);
                if reference & 1 == 0 { pages } else { nodes }.get(number).copied()
            }
        }
    }

    /// That a chunk is not what its digest says.
    pub(super) fn damaged(&self, id: &Digest, problem: impl Into<String>) -> ReadError {
        let what = format!("chunk {id}");
        ReadError::Damaged { what, place: self.place.clone(), problem: problem.into() }
    }
}

/// Hashes extents of pages as they lie, without making chunks of them.
#[cfg(unix)]
pub(super) struct PagesCheck<'a> {
    pack: &'a Pack,
    decompressor: Decompressor,
    stored: Vec<u8>,
    raw: Vec<u8>,
}

#[cfg(unix)]
impl PagesCheck<'_> {
    pub(super) fn new(pack: &Pack) -> PagesCheck<'_> {
        let decompressor = Decompressor::new();
        PagesCheck { pack, decompressor, stored: Vec::new(), raw: Vec::new() }
    }

    /// Whether an extent of pages, `chunks` of [`Pack::ids`], is certainly whole. Of nodes this is
    /// never certain: their records are no chunks.
    pub(super) fn is_whole(&mut self, number: u32, chunks: &Range<usize>) -> bool {
        let extent = &self.pack.index.extents[number as usize];
        if extent.class != Class::Page {
            return false;
        }
        self.stored.resize(extent.stored_bytes as usize, 0);
        if self.pack.source.read_at(extent.offset, &mut self.stored).is_err() {
            return false;
        }
        let raw = if extent.compressed {
            let bytes = extent.raw_bytes();
            let done = self.decompressor.decompress_into(&self.stored, bytes, &mut self.raw);
            if done.is_err() {
                return false;
            }
            &self.raw
        } else {
            &self.stored
        };
        let ids = &self.pack.index.ids[chunks.clone()];
        ids.iter().enumerate().all(|(index, id)| Digest::of(&raw[extent.range(index)]) == *id)
    }
}

/// Sorts digests; none may be there twice, nor that of zeroes.
fn order(ids: &[Digest]) -> Result<Vec<(u64, u32)>, String> {
    let mut order: Vec<(u64, u32)> =
        ids.iter().enumerate().map(|(index, id)| (prefix(id), index as u32)).collect();
    order.sort_unstable_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| ids[a.1 as usize].cmp(&ids[b.1 as usize]))
    });
    let twice = order.windows(2).find(|two| ids[two[0].1 as usize] == ids[two[1].1 as usize]);
    match (twice, order.first()) {
        (Some(two), _) => Err(format!("chunk {} is in it twice", ids[two[0].1 as usize])),
        (_, Some(first)) if ids[first.1 as usize] == Digest::ZERO => {
            Err("it names a chunk of zeroes, which are never stored".to_owned())
        }
        _ => Ok(order),
    }
}
