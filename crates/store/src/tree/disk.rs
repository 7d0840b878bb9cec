//! A tree as a disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use stackvm_machine::devices::disk::{BlockSource, SECTOR_BYTES};
use stackvm_machine::digest::{Digest, FAN_OUT};
use stackvm_machine::memory::PAGE_BYTES;

use super::walk::Node;
use super::{Tree, read_page};
use crate::chunks::{Chunks, ReadError};

/// Nodes kept, at most: 1 MiB.
const NODES_MAX: usize = 64;

type Children = [Digest; FAN_OUT];

/// A tree as the content of a disk, read where it is needed.
#[derive(Debug)]
pub struct TreeDisk {
    chunks: Arc<dyn Chunks>,
    tree: Tree,
    size_bytes: u64,
    /// Nodes read last, by height and first page.
    nodes: Mutex<BTreeMap<(u32, u64), Arc<Children>>>,
}

impl TreeDisk {
    /// A disk of `size_bytes` (a multiple of 512) whose blocks are the tree's pages.
    ///
    /// # Panics
    /// When the tree has fewer pages, or the size is no multiple of 512.
    pub fn new(chunks: Arc<dyn Chunks>, tree: Tree, size_bytes: u64) -> TreeDisk {
        assert_eq!(size_bytes % SECTOR_BYTES, 0, "whole sectors");
        assert!(size_bytes.div_ceil(PAGE_BYTES as u64) <= tree.pages, "the tree covers the disk");
        TreeDisk { chunks, tree, size_bytes, nodes: Mutex::default() }
    }

    fn page(&self, number: u64) -> Result<Option<Arc<[u8]>>, ReadError> {
        let mut node = Node::root(&self.tree);
        while node.id != Digest::ZERO {
            if node.is_page() {
                return read_page(&*self.chunks, &node.id).map(Some);
            }
            let children = self.children(&node)?;
            let holds = |child: &Node| child.first <= number;
            let below = node.below(&children).take_while(holds).last();
            node = below.expect("the page is inside the tree");
        }
        Ok(None)
    }

    fn children(&self, node: &Node) -> Result<Arc<Children>, ReadError> {
        let nodes = || self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (node.height, node.first);
        if let Some(children) = nodes().get(&key) {
            return Ok(Arc::clone(children));
        }
        let children: Arc<Children> = node.children(&*self.chunks)?.into();
        let mut nodes = nodes();
        if nodes.len() >= NODES_MAX {
            nodes.clear();
        }
        nodes.insert(key, Arc::clone(&children));
        Ok(children)
    }
}

impl BlockSource for TreeDisk {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (mut offset, mut rest) = (offset, buf);
        while !rest.is_empty() {
            let at = (offset % PAGE_BYTES as u64) as usize;
            let (part, behind) = rest.split_at_mut(rest.len().min(PAGE_BYTES - at));
            match self.page(offset / PAGE_BYTES as u64).map_err(io::Error::other)? {
                Some(page) => part.copy_from_slice(&page[at..at + part.len()]),
                None => part.fill(0),
            }
            offset += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }
}
