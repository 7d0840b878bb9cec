//! Whole hash trees: written from what changed, read, compared. Owns the walk over nodes; which
//! trees there are is the callers' business.

use std::io::{self, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use stackvm_machine::digest::{Digest, FAN_OUT, HashTree};
use stackvm_machine::memory::{PAGE_BYTES, PageBytes};

use crate::chunks::{Chunks, ReadError};
use crate::pack::{PackError, PackWriter};

mod disk;
#[cfg(test)]
mod tests;
mod walk;

pub use disk::TreeDisk;
use walk::Node;
#[cfg(unix)]
pub(crate) use walk::get;

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
/// of which `known` has everything: nodes are written as their difference from it, and what is
/// equal is not looked at. `page` delivers a page's bytes.
///
/// Nothing else is skipped because a node above it is known: `known` may have a node and lack what
/// is below it.
///
/// # Errors
/// The sink's, those of `page`, and [`ReadError::Damaged`] if `page` delivers something else than
/// the tree says.
pub fn write<W: Write>(
    tree: &mut HashTree,
    mut before: Option<&mut HashTree>,
    page: &mut dyn FnMut(u64, &mut PageBytes) -> io::Result<()>,
    known: &dyn Chunks,
    pack: &mut PackWriter<W>,
) -> Result<Tree, PackError> {
    let root = tree.root();
    if let Some(before) = before.as_mut() {
        before.root();
    }
    // Trees of other sizes have other nodes.
    let before = before.map(|before| &*before).filter(|before| before.pages() == tree.pages());
    let mut writer = Writer { tree, before, page, known, pack };
    writer.node(tree.levels() - 1, 0)?;
    Ok(Tree { pages: tree.pages(), root })
}

struct Writer<'a, W: Write> {
    tree: &'a HashTree,
    before: Option<&'a HashTree>,
    page: &'a mut dyn FnMut(u64, &mut PageBytes) -> io::Result<()>,
    known: &'a dyn Chunks,
    pack: &'a mut PackWriter<W>,
}

impl<W: Write> Writer<'_, W> {
    fn node(&mut self, level: usize, node: usize) -> Result<(), PackError> {
        let id = self.tree.node(level, node);
        let before = self.before.map(|before| before.node(level, node));
        if id == Digest::ZERO || before == Some(id) {
            return Ok(());
        }
        let children = self.tree.children(level, node);
        let old = self.before.map(|before| Box::new(before.children(level, node)));
        for (slot, child) in children.iter().enumerate() {
            if *child == Digest::ZERO || old.as_ref().is_some_and(|old| old[slot] == *child) {
                continue;
            }
            let number = node * FAN_OUT + slot;
            if level == 0 {
                self.page(number as u64, child)?;
            } else {
                self.node(level - 1, number)?;
            }
        }
        if self.known.contains(&id) || self.pack.contains(&id) {
            return Ok(());
        }
        let base = before.zip(old).filter(|(before, _)| *before != Digest::ZERO);
        let base = base.as_ref().map(|(before, old)| {
            let own = self.pack.difference_depth(before);
            (before, &**old, own.unwrap_or_else(|| self.known.difference_depth(before)))
        });
        self.pack.put_node(&id, &children, base)
    }

    fn page(&mut self, number: u64, id: &Digest) -> Result<(), PackError> {
        // The pack answers sooner.
        if self.pack.contains(id) || self.known.contains(id) {
            return Ok(());
        }
        let mut bytes = [0; PAGE_BYTES];
        (self.page)(number, &mut bytes)?;
        if Digest::of(&bytes) != *id {
            return Err(PackError::Read(ReadError::Damaged {
                what: format!("page {number}"),
                place: "what is written".to_owned(),
                problem: format!("it is not the page {id} that its tree has"),
            }));
        }
        self.pack.put(id, &bytes)
    }
}

/// Writes bytes as a blob.
///
/// # Errors
/// The sink's.
pub fn write_blob<W: Write>(
    bytes: &[u8],
    known: &dyn Chunks,
    pack: &mut PackWriter<W>,
) -> Result<Blob, PackError> {
    let pages = bytes.chunks(PAGE_BYTES).map(|part| {
        let mut page = [0; PAGE_BYTES];
        page[..part.len()].copy_from_slice(part);
        page
    });
    let mut tree = HashTree::new(pages.len() as u64);
    for (number, page) in pages.clone().enumerate() {
        tree.set(number as u64, Digest::of_page(&page));
    }
    let mut read = |number: u64, page: &mut PageBytes| {
        let part = &bytes[number as usize * PAGE_BYTES..];
        let part = &part[..part.len().min(PAGE_BYTES)];
        page[..part.len()].copy_from_slice(part);
        Ok(())
    };
    let tree = write(&mut tree, None, &mut read, known, pack)?;
    Ok(Blob { bytes: bytes.len() as u64, tree })
}

/// Reads a blob of at most `bytes_max`.
///
/// # Errors
/// See [`ReadError`].
pub fn read_blob(chunks: &dyn Chunks, blob: &Blob, bytes_max: u64) -> Result<Vec<u8>, ReadError> {
    let Blob { bytes, tree } = *blob;
    let len = usize::try_from(bytes).ok().filter(|_| bytes <= bytes_max);
    let len = len.ok_or(ReadError::TooLarge { bytes, max: bytes_max })?;
    if tree.pages != bytes.div_ceil(PAGE_BYTES as u64) {
        return Err(ReadError::Damaged {
            what: format!("a blob of {bytes} bytes"),
            place: "what refers to it".to_owned(),
            problem: format!("it has {} pages", tree.pages),
        });
    }
    let mut all = vec![0; len];
    visit_pages(chunks, &tree, &mut |number, id| {
        let page = read_page(chunks, id)?;
        let part = &mut all[number as usize * PAGE_BYTES..];
        let part_len = part.len().min(PAGE_BYTES);
        part[..part_len].copy_from_slice(&page[..part_len]);
        Ok(())
    })?;
    Ok(all)
}

/// The bytes of a page that is not all zeroes.
///
/// # Errors
/// See [`ReadError`]; a chunk of another size is no page.
pub fn read_page(chunks: &dyn Chunks, id: &Digest) -> Result<Arc<[u8]>, ReadError> {
    let page = walk::get(chunks, id)?;
    if page.len() != PAGE_BYTES {
        return Err(walk::damaged(id, format!("a page of {} bytes", page.len())));
    }
    Ok(page)
}

/// Copies every chunk below `trees` that `known` does not have into a pack, in an order that reads
/// well.
///
/// # Errors
/// See [`PackError`]; a missing or damaged chunk is named.
pub fn copy<W: Write>(
    from: &dyn Chunks,
    trees: &[Tree],
    known: &dyn Chunks,
    pack: &mut PackWriter<W>,
) -> Result<(), PackError> {
    trees.iter().try_for_each(|tree| copy_below(from, Node::root(tree), known, pack))
}

fn copy_below<W: Write>(
    from: &dyn Chunks,
    node: Node,
    known: &dyn Chunks,
    pack: &mut PackWriter<W>,
) -> Result<(), PackError> {
    // What this pack has, it has with everything below.
    if node.id == Digest::ZERO || pack.contains(&node.id) {
        return Ok(());
    }
    let children = node.children(from)?;
    for child in node.below(&children).filter(|child| child.id != Digest::ZERO) {
        if child.is_page() {
            if !pack.contains(&child.id) && !known.contains(&child.id) {
                pack.put(&child.id, &read_page(from, &child.id)?)?;
            }
        } else {
            copy_below(from, child, known, pack)?;
        }
    }
    if known.contains(&node.id) { Ok(()) } else { pack.put_node(&node.id, &children, None) }
}

/// Calls `visit` with the number and digest of every page that is not all zeroes, ascending. How
/// many pages are possible is for the caller to say: `tree.pages` is not doubted.
///
/// # Errors
/// See [`ReadError`], or what `visit` returns.
pub fn visit_pages(
    chunks: &dyn Chunks,
    tree: &Tree,
    visit: &mut dyn FnMut(u64, &Digest) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    visit_below(chunks, Node::root(tree), visit)
}

fn visit_below(
    chunks: &dyn Chunks,
    node: Node,
    visit: &mut dyn FnMut(u64, &Digest) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    if node.id == Digest::ZERO {
        return Ok(());
    }
    if node.is_page() {
        return visit(node.first, &node.id);
    }
    let children = node.children(chunks)?;
    node.below(&children).try_for_each(|child| visit_below(chunks, child, visit))
}

/// Calls `visit` with the digest of every node and page that is not elided, from the root down;
/// `visit` says whether what is below is of interest.
///
/// # Errors
/// See [`ReadError`], or what `visit` returns.
pub fn visit_nodes(
    chunks: &dyn Chunks,
    tree: &Tree,
    visit: &mut dyn FnMut(&Digest) -> Result<Descend, ReadError>,
) -> Result<(), ReadError> {
    visit_nodes_below(chunks, Node::root(tree), visit)
}

/// Whether a walk goes on below a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Descend {
    /// It does.
    Yes,
    /// It goes on beside it.
    No,
}

fn visit_nodes_below(
    chunks: &dyn Chunks,
    node: Node,
    visit: &mut dyn FnMut(&Digest) -> Result<Descend, ReadError>,
) -> Result<(), ReadError> {
    if node.id == Digest::ZERO || visit(&node.id)? == Descend::No || node.is_page() {
        return Ok(());
    }
    let children = node.children(chunks)?;
    node.below(&children).try_for_each(|child| visit_nodes_below(chunks, child, visit))
}

/// Calls `visit` with number, old and new digest of every page that differs, ascending; equal
/// subtrees are not read.
///
/// # Errors
/// See [`ReadError`], or what `visit` returns.
///
/// # Panics
/// When the trees have different numbers of pages.
pub fn visit_changes(
    chunks: &dyn Chunks,
    old: &Tree,
    new: &Tree,
    visit: &mut dyn FnMut(u64, &Digest, &Digest) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    assert_eq!(old.pages, new.pages, "trees over the same pages");
    changes_below(chunks, Node::root(old), Node::root(new), visit)
}

fn changes_below(
    chunks: &dyn Chunks,
    old: Node,
    new: Node,
    visit: &mut dyn FnMut(u64, &Digest, &Digest) -> Result<(), ReadError>,
) -> Result<(), ReadError> {
    if old.id == new.id {
        return Ok(());
    }
    if new.is_page() {
        return visit(new.first, &old.id, &new.id);
    }
    let (before, after) = (old.children(chunks)?, new.children(chunks)?);
    let mut pairs = old.below(&before).zip(new.below(&after));
    pairs.try_for_each(|(old, new)| changes_below(chunks, old, new, visit))
}

/// The tree in memory, page digests and all, for [`write`] and comparisons.
///
/// # Errors
/// See [`ReadError`]; [`ReadError::TooLarge`] above `pages_max`, counted in bytes.
pub fn load(chunks: &dyn Chunks, tree: &Tree, pages_max: u64) -> Result<HashTree, ReadError> {
    if tree.pages > pages_max {
        let bytes = |pages: u64| pages.saturating_mul(PAGE_BYTES as u64);
        return Err(ReadError::TooLarge { bytes: bytes(tree.pages), max: bytes(pages_max) });
    }
    let mut loaded = HashTree::new(tree.pages);
    visit_pages(chunks, tree, &mut |number, id| {
        loaded.set(number, *id);
        Ok(())
    })?;
    assert_eq!(loaded.root(), tree.root, "verified nodes make the same tree");
    Ok(loaded)
}
