//! Digests of a machine's state: the hash tree over pages and disk blocks, and how named parts
//! become one digest. Owns the format and caches hashes; what belongs to the state is the machine's
//! business, and storing trees is not done here.
//!
//! # Format
//!
//! It is fixed for good, because stores persist the same tree.
//!
//! * The digest of a page is the BLAKE3 hash of its 4096 bytes; of a page of zeroes it is 32 zero
//!   bytes (*elided*). Disks are cut into blocks of the same size, the last one filled with zeroes.
//! * A node has [`FAN_OUT`] children. Its digest is the BLAKE3 hash of its children's digests, one
//!   after another (16,384 bytes); children beyond the end of the content are elided; if all
//!   children are elided, so is the node.
//! * The height depends on the number of pages alone: the least number of node levels, but at least
//!   one, with which one root is above all pages: 1 up to 512 pages (2 MiB), 2 up to 1 GiB, 3 up to
//!   512 GiB. The root does not tell the number of pages, so it is hashed along, see
//!   [`StateHasher::tree`].
//! * Which blocks of a disk were written is a tree as well, over one bit for each block, the lowest
//!   bit of a byte first, cut into pages.
//! * A state is a set of named parts. Its digest is the BLAKE3 hash of, for each part in ascending
//!   order of its name's bytes: the name's length (one byte), the name, and the BLAKE3 hash of the
//!   part's bytes.
//!
//! A page, a node and a state cannot be taken for one another: 4096 and 16,384 bytes are hashed for
//! the first two, and a state's parts are hashed before they are joined.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::memory::{PAGE_BYTES, PageBytes};

mod trees;

pub use trees::{RamTree, StateTrees};

/// Children of a node of the hash tree.
pub const FAN_OUT: usize = 512;

/// A BLAKE3 hash, shown in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of nothing but zeroes.
    pub const ZERO: Digest = Digest([0; 32]);

    /// The digest with these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The BLAKE3 hash of `bytes`, whatever they are.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(*blake3::hash(bytes).as_bytes())
    }

    /// The digest of a page.
    pub fn of_page(page: &PageBytes) -> Digest {
        const ZEROES: &PageBytes = &[0; PAGE_BYTES];
        if page == ZEROES { Digest::ZERO } else { Digest::of(page) }
    }
}

impl Serialize for Digest {
    /// Its bytes; in formats for people, as they are shown.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            return serializer.collect_str(self);
        }
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        if !deserializer.is_human_readable() {
            return <[u8; 32]>::deserialize(deserializer).map(Digest);
        }
        let text = String::deserialize(deserializer)?;
        let digit = |byte: u8| char::from(byte).to_digit(16).filter(|_| !byte.is_ascii_uppercase());
        let mut digest = [0; 32];
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let sound = rest.is_empty() && pairs.len() == digest.len();
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) if sound => *byte = (high << 4 | low) as u8,
                _ => return Err(D::Error::custom("a hash is no 64 hexadecimal digits")),
            }
        }
        if sound { Ok(Digest(digest)) } else { Err(D::Error::custom("a hash is cut off")) }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The root of the hash tree over `pages` pages, from the digest of each (asked for once each, in
/// ascending order).
pub fn tree_root(pages: u64, mut page_digest: impl FnMut(u64) -> Digest) -> Digest {
    let mut span = FAN_OUT as u64;
    while span < pages {
        span *= FAN_OUT as u64;
    }
    node_over(0, span, pages, &mut page_digest)
}

/// The digest of the node above pages `first..first + span`.
fn node_over(
    first: u64,
    span: u64,
    pages: u64,
    page_digest: &mut impl FnMut(u64) -> Digest,
) -> Digest {
    if first >= pages {
        return Digest::ZERO;
    }
    if span == 1 {
        return page_digest(first);
    }
    let step = span / FAN_OUT as u64;
    let children =
        (0..FAN_OUT as u64).map(|child| node_over(first + child * step, step, pages, page_digest));
    node_digest(children)
}

/// The digest of a node, from those of its children; missing ones at the end are elided.
fn node_digest(children: impl IntoIterator<Item = Digest>) -> Digest {
    let mut bytes = [0; FAN_OUT * 32];
    let mut slots = bytes.chunks_exact_mut(32);
    let mut elided = true;
    for child in children {
        slots.next().expect("at most 512 children").copy_from_slice(&child.0);
        elided &= child == Digest::ZERO;
    }
    if elided { Digest::ZERO } else { Digest::of(&bytes) }
}

/// A hash tree that remembers: only what is above changed pages is hashed again.
#[derive(Clone, Debug)]
pub struct HashTree {
    pages: u64,
    /// Digests of 512 pages each; `None` if all are elided.
    leaves: Vec<Option<Box<[Digest; FAN_OUT]>>>,
    /// Node digests, from those above the pages up to the root.
    levels: Vec<Vec<Digest>>,
    /// Leaves with changes that `levels` does not show yet.
    changed: BTreeSet<usize>,
}

impl HashTree {
    /// The tree over `pages` pages of zeroes.
    pub fn new(pages: u64) -> HashTree {
        let nodes = usize::try_from(pages.div_ceil(FAN_OUT as u64).max(1)).expect("fits in memory");
        let mut levels = vec![vec![Digest::ZERO; nodes]];
        while let Some(below) = levels.last().map(Vec::len)
            && below > 1
        {
            levels.push(vec![Digest::ZERO; below.div_ceil(FAN_OUT)]);
        }
        HashTree { pages, leaves: vec![None; nodes], levels, changed: BTreeSet::new() }
    }

    /// Number of pages below it.
    pub fn pages(&self) -> u64 {
        self.pages
    }

    /// Sets the digest of a page.
    ///
    /// # Panics
    /// When `page` is not below [`HashTree::pages`].
    pub fn set(&mut self, page: u64, digest: Digest) {
        assert!(page < self.pages, "page {page} of {}", self.pages);
        let (leaf, slot) = ((page / FAN_OUT as u64) as usize, (page % FAN_OUT as u64) as usize);
        if self.leaves[leaf].is_none() && digest == Digest::ZERO {
            return;
        }
        let digests = self.leaves[leaf].get_or_insert_with(|| Box::new([Digest::ZERO; FAN_OUT]));
        if digests[slot] != digest {
            digests[slot] = digest;
            self.changed.insert(leaf);
        }
    }

    /// The digest of a page.
    ///
    /// # Panics
    /// When `page` is not below [`HashTree::pages`].
    pub fn page(&self, page: u64) -> Digest {
        assert!(page < self.pages, "page {page} of {}", self.pages);
        let digests = self.leaves[(page / FAN_OUT as u64) as usize].as_ref();
        digests.map_or(Digest::ZERO, |digests| digests[(page % FAN_OUT as u64) as usize])
    }

    /// Number of levels of nodes, at least one. Level 0 is right above the pages; the last one
    /// has the root alone.
    pub fn levels(&self) -> usize {
        self.levels.len()
    }

    /// The digest of node `node` of level `level`.
    ///
    /// # Panics
    /// When there is no such node, or pages were set since the last [`HashTree::root`].
    pub fn node(&self, level: usize, node: usize) -> Digest {
        assert!(self.changed.is_empty(), "the root is asked for first");
        self.levels[level][node]
    }

    /// The digests below node `node` of level `level`: of pages for level 0, else of nodes of the
    /// level below. Those beyond the end are [`Digest::ZERO`].
    ///
    /// # Panics
    /// As [`HashTree::node`].
    pub fn children(&self, level: usize, node: usize) -> [Digest; FAN_OUT] {
        assert!(self.changed.is_empty(), "the root is asked for first");
        let Some(below) = level.checked_sub(1) else {
            return self.leaves[node].as_deref().copied().unwrap_or([Digest::ZERO; FAN_OUT]);
        };
        assert!(node < self.levels[level].len(), "node {node} of level {level}");
        let mut children = [Digest::ZERO; FAN_OUT];
        let digests = self.levels[below].chunks(FAN_OUT).nth(node).expect("a node has children");
        children[..digests.len()].copy_from_slice(digests);
        children
    }

    /// The root's digest, as [`tree_root`] has it.
    pub fn root(&mut self) -> Digest {
        let mut changed = std::mem::take(&mut self.changed);
        for &leaf in &changed {
            let digests = self.leaves[leaf].as_ref().expect("a changed leaf has digests");
            let digest = node_digest(digests.iter().copied());
            self.levels[0][leaf] = digest;
            if digest == Digest::ZERO {
                self.leaves[leaf] = None;
            }
        }
        for level in 1..self.levels.len() {
            changed = changed.into_iter().map(|node| node / FAN_OUT).collect();
            let (below, here) = self.levels.split_at_mut(level);
            let below = &below[level - 1];
            for &node in &changed {
                let children = below.chunks(FAN_OUT).nth(node).expect("a node has children");
                here[0][node] = node_digest(children.iter().copied());
            }
        }
        self.levels.last().expect("there is a level")[0]
    }
}

/// Joins the named parts of a state into one digest. The order of adding does not matter.
#[derive(Clone, Default, Debug)]
pub struct StateHasher {
    parts: BTreeMap<String, Digest>,
}

impl StateHasher {
    /// A state without parts.
    pub fn new() -> StateHasher {
        StateHasher::default()
    }

    /// Adds a part.
    ///
    /// # Panics
    /// When there is a part of that name already, or the name is longer than 255 bytes.
    pub fn part(&mut self, name: &str, bytes: &[u8]) {
        assert!(name.len() <= 255, "part name of {} bytes", name.len());
        let before = self.parts.insert(name.to_owned(), Digest::of(bytes));
        assert!(before.is_none(), "two parts are called {name}");
    }

    /// Adds a hash tree as a part: its number of pages (eight bytes, little-endian) and its root.
    ///
    /// # Panics
    /// As [`StateHasher::part`].
    pub fn tree(&mut self, name: &str, pages: u64, root: Digest) {
        let mut bytes = [0; 40];
        bytes[..8].copy_from_slice(&pages.to_le_bytes());
        bytes[8..].copy_from_slice(&root.0);
        self.part(name, &bytes);
    }

    /// The digest of the state.
    pub fn finish(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for (name, digest) in &self.parts {
            hasher.update(&[name.len() as u8]).update(name.as_bytes()).update(&digest.0);
        }
        Digest(*hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests;
