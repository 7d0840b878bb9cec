//! Whole hash trees: written from what changed, read, compared.

use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stackvm_machine::devices::disk::BlockSource;
use stackvm_machine::digest::{Digest, HashTree};
use stackvm_machine::memory::PageBytes;

use crate::chunks::{Chunks, ReadError};
use crate::pack::{PackError, PackWriter};

/// A hash tree over so many pages, as `stackvm_machine::digest` defines it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Tree {
    /// Number of pages below it.
    pub pages: u64,
    /// Digest of the root; [`Digest::ZERO`] if all pages are zeroes.
    pub root: Digest,
}

/// Bytes of any length: a tree over pages, the last one filled with zeroes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Blob {
    /// Length.
    pub bytes: u64,
    /// The tree over its pages.
    pub tree: Tree,
}

/// Writes a tree and those of its pages and nodes that `known` does not have. `before` is a tree
/// whose nodes `known` has: nodes are written as their difference from it, and what is equal is not
/// looked at. `page` delivers a page's bytes.
///
/// # Errors
/// The sink's, or those of `page`.
pub fn write<W: Write>(
    _tree: &mut HashTree,
    _before: Option<&mut HashTree>,
    _page: &mut dyn FnMut(u64, &mut PageBytes) -> io::Result<()>,
    _known: &dyn Chunks,
    _pack: &mut PackWriter<W>,
) -> Result<Tree, PackError> {
    unimplemented!()
}

/// Writes bytes as a blob.
///
/// # Errors
/// The sink's.
pub fn write_blob<W: Write>(
    _bytes: &[u8],
    _known: &dyn Chunks,
    _pack: &mut PackWriter<W>,
) -> Result<Blob, PackError> {
    unimplemented!()
}

/// Reads a blob of at most `bytes_max`.
///
/// # Errors
/// See [`ReadError`].
pub fn read_blob(
    _chunks: &dyn Chunks,
    _blob: &Blob,
    _bytes_max: u64,
) -> Result<Vec<u8>, ReadError> {
    unimplemented!()
}

/// Copies every chunk below `trees` that `known` does not have into a pack, in an order that reads
/// well.
///
/// # Errors
/// See [`PackError`]; a missing or damaged chunk is named.
pub fn copy<W: Write>(
    _from: &dyn Chunks,
    _trees: &[Tree],
    _known: &dyn Chunks,
    _pack: &mut PackWriter<W>,
) -> Result<(), PackError> {
    unimplemented!()
}

/// Calls `visit` with the number and digest of every page that is not all zeroes, ascending.
///
/// # Errors
/// See [`ReadError`], or what `visit` returns.
pub fn visit_pages(
    _chunks: &dyn Chunks,
    _tree: &Tree,
    _visit: &mut dyn FnMut(u64, &Digest) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    unimplemented!()
}

/// Calls `visit` with number, old and new digest of every page that differs, ascending; equal
/// subtrees are not read. Both trees have the same number of pages.
///
/// # Errors
/// See [`ReadError`], or what `visit` returns.
pub fn visit_changes(
    _chunks: &dyn Chunks,
    _old: &Tree,
    _new: &Tree,
    _visit: &mut dyn FnMut(u64, &Digest, &Digest) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    unimplemented!()
}

/// A tree as the content of a disk, read where it is needed.
#[derive(Debug)]
pub struct TreeDisk {}

impl TreeDisk {
    /// A disk of `size_bytes` (a multiple of 512) whose blocks are the tree's pages.
    pub fn new(_chunks: Arc<dyn Chunks>, _tree: Tree, _size_bytes: u64) -> TreeDisk {
        unimplemented!()
    }
}

impl BlockSource for TreeDisk {
    fn size_bytes(&self) -> u64 {
        unimplemented!()
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
        unimplemented!()
    }
}
