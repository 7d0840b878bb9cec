//! One step down a stored tree.

use std::sync::Arc;

use stackvm_machine::digest::{Digest, FAN_OUT};

use super::Tree;
use crate::chunks::{Chunks, ReadError};

/// A node or a page in a tree.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) id: Digest,
    /// Number of the first page below it.
    pub(super) first: u64,
    /// Levels of nodes from here on: 0 for a page.
    pub(super) height: u32,
    /// Pages of the whole tree.
    pages: u64,
}

/// Levels of nodes above so many pages.
pub(super) fn height(pages: u64) -> u32 {
    let mut height = 1;
    while span(height) < u128::from(pages) {
        height += 1;
    }
    height
}

/// Pages below a node, at most.
fn span(height: u32) -> u128 {
    (FAN_OUT as u128).pow(height)
}

impl Node {
    pub(super) fn root(tree: &Tree) -> Node {
        Node { id: tree.root, first: 0, height: height(tree.pages), pages: tree.pages }
    }

    pub(super) fn is_page(&self) -> bool {
        self.height == 0
    }

    /// The digests below; none behind the last page.
    pub(super) fn children(
        &self,
        chunks: &dyn Chunks,
    ) -> Result<Box<[Digest; FAN_OUT]>, ReadError> {
        let mut children = Box::new([Digest::ZERO; FAN_OUT]);
        if self.id == Digest::ZERO {
            return Ok(children);
        }
        let bytes = get(chunks, &self.id)?;
        if bytes.len() != FAN_OUT * 32 {
            return Err(damaged(&self.id, format!("a node of {} bytes", bytes.len())));
        }
        for (child, bytes) in children.iter_mut().zip(bytes.chunks_exact(32)) {
            *child = Digest::from_bytes(bytes.try_into().expect("32 bytes"));
        }
        let pages = u128::from(self.pages - self.first);
        let inside = pages.div_ceil(span(self.height - 1)).min(FAN_OUT as u128);
        if children[inside as usize..].iter().any(|child| *child != Digest::ZERO) {
            let problem = format!("it has children behind the last of {} pages", self.pages);
            return Err(damaged(&self.id, problem));
        }
        Ok(children)
    }

    /// The nodes or pages that `children` are, up to the last page.
    pub(super) fn below(&self, children: &[Digest; FAN_OUT]) -> impl Iterator<Item = Node> {
        let Node { first, height, pages, .. } = *self;
        let step = span(height - 1);
        children.iter().enumerate().map_while(move |(slot, id)| {
            let first = u128::from(first) + slot as u128 * step;
            let inside = first < u128::from(pages);
            inside.then(|| Node { id: *id, first: first as u64, height: height - 1, pages })
        })
    }
}

/// A chunk that has to be there.
pub(crate) fn get(chunks: &dyn Chunks, id: &Digest) -> Result<Arc<[u8]>, ReadError> {
    let missing = || ReadError::Missing { id: *id, place: "the chunks at hand".to_owned() };
    chunks.get(id)?.ok_or_else(missing)
}

pub(super) fn damaged(id: &Digest, problem: String) -> ReadError {
    let what = format!("chunk {id}");
    ReadError::Damaged { what, place: "a tree".to_owned(), problem }
}
