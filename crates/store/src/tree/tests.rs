//! Trees: stored, read, compared, copied.

use std::sync::Arc;

use stackvm_machine::devices::disk::BlockSource;
use stackvm_machine::digest::{Digest, HashTree, tree_root};
use stackvm_machine::memory::PageBytes;

use super::*;
use crate::chunks::NoChunks;
use crate::pack::{Pack, PackSet};

/// Pages of RAM or a disk, with what is written to them.
#[derive(Clone)]
struct Content {
    pages: u64,
    bytes: std::collections::BTreeMap<u64, PageBytes>,
}

impl Content {
    fn new(pages: u64, numbers: impl IntoIterator<Item = u64>) -> Content {
        let bytes = numbers.into_iter().map(|number| (number, page(number))).collect();
        Content { pages, bytes }
    }

    fn tree(&self) -> HashTree {
        let mut tree = HashTree::new(self.pages);
        for (number, page) in &self.bytes {
            tree.set(*number, Digest::of_page(page));
        }
        tree
    }

    /// Writes what `known` does not have; returns the tree, the pack and how many pages were read.
    fn store(&self, before: Option<&Content>, known: &PackSet) -> (Tree, Vec<u8>, u64) {
        let mut read = 0;
        let mut pack = PackWriter::new(Vec::new());
        let mut before = before.map(Content::tree);
        let mut page = |number: u64, page: &mut PageBytes| {
            read += 1;
            *page = self.bytes[&number];
            Ok(())
        };
        let tree = write(&mut self.tree(), before.as_mut(), &mut page, known, &mut pack)
            .expect("memory takes it");
        (tree, pack.finish().expect("memory takes it"), read)
    }
}

fn page(number: u64) -> PageBytes {
    let mut page = [0; PAGE_BYTES];
    page[..8].copy_from_slice(&(number + 1).to_le_bytes());
    page[4000] = 1;
    page
}

fn add(set: &PackSet, bytes: Vec<u8>) {
    set.add(Pack::open("pack", Arc::new(bytes)).expect("a pack"));
}

fn pages(set: &PackSet, tree: &Tree) -> Vec<(u64, Digest)> {
    let mut pages = Vec::new();
    visit_pages(set, tree, &mut |number, id| {
        pages.push((number, *id));
        Ok(())
    })
    .expect("whole");
    pages
}

#[test]
fn a_tree_is_written_and_read() {
    let check = |count: u64, numbers: &[u64]| {
        let content = Content::new(count, numbers.iter().copied());
        let set = PackSet::new();
        let (tree, bytes, read) = content.store(None, &set);
        add(&set, bytes);
        let root = tree_root(count, |number| {
            content.bytes.get(&number).map_or(Digest::ZERO, Digest::of_page)
        });
        assert_eq!(tree, Tree { pages: count, root });
        assert_eq!(read, numbers.len() as u64);
        let expected: Vec<(u64, Digest)> =
            content.bytes.iter().map(|(number, page)| (*number, Digest::of_page(page))).collect();
        assert_eq!(pages(&set, &tree), expected);
        assert_eq!(load(&set, &tree, count).expect("whole").root(), root);
    };
    check(0, &[]);
    check(1, &[]);
    check(1, &[0]);
    check(512, &[0, 511]);
    check(513, &[512]);
    check(300_000, &[0, 1, 700, 262_143, 262_144, 299_999]);
}

#[test]
fn only_what_changed_is_written() {
    let before = Content::new(100_000, (0..100_000).step_by(3));
    let set = PackSet::new();
    let (old, bytes, _) = before.store(None, &set);
    let full = bytes.len();
    add(&set, bytes);
    let mut after = before.clone();
    after.bytes.insert(5, page(7_000_000));
    after.bytes.remove(&3);
    after.bytes.insert(50_000, page(0));
    let (new, bytes, read) = after.store(Some(&before), &set);
    assert_eq!(read, 1, "the other new page is known already");
    assert!(bytes.len() < 1000 && bytes.len() < full / 100, "{} of {full}", bytes.len());
    add(&set, bytes);
    let mut changes = Vec::new();
    visit_changes(&set, &old, &new, &mut |number, old, new| {
        changes.push((number, *old, *new));
        Ok(())
    })
    .expect("whole");
    let id = |number| Digest::of_page(&page(number));
    let zero = Digest::ZERO;
    let expected = [(3, id(3), zero), (5, zero, id(7_000_000)), (50_000, zero, id(0))];
    assert_eq!(changes, expected);
}

#[test]
fn a_known_node_does_not_stand_for_what_is_below() {
    let content = Content::new(10, [1, 2]);
    let set = PackSet::new();
    let mut nodes_only = PackWriter::new(Vec::new());
    let mut tree = content.tree();
    let root = tree.root();
    nodes_only.put_node(&root, &tree.children(0, 0), None).expect("memory takes it");
    add(&set, nodes_only.finish().expect("memory takes it"));
    let (tree, bytes, read) = content.store(None, &set);
    assert_eq!(read, 2);
    add(&set, bytes);
    for (_, id) in pages(&set, &tree) {
        assert!(read_page(&set, &id).is_ok());
    }
}

#[test]
fn many_small_steps_stay_readable() {
    let set = PackSet::new();
    let mut content = Content::new(2000, 0..2000);
    let (mut tree, bytes, _) = content.store(None, &set);
    add(&set, bytes);
    for step in 0..40_u64 {
        let before = content.clone();
        content.bytes.insert(step * 13 % 2000, page(10_000 + step));
        let (next, bytes, _) = content.store(Some(&before), &set);
        assert!(bytes.len() < 40_000);
        add(&set, bytes);
        tree = next;
        assert_eq!(pages(&set, &tree).len(), 2000);
    }
    assert!(set.difference_depth(&tree.root) <= 8);
}

#[test]
fn pages_that_do_not_fit_their_tree_are_refused() {
    let mut pack = PackWriter::new(Vec::new());
    let mut wrong = |_: u64, bytes: &mut PageBytes| {
        *bytes = page(99);
        Ok(())
    };
    let tree = &mut Content::new(5, [4]).tree();
    let error = write(tree, None, &mut wrong, &NoChunks, &mut pack).expect_err("another page");
    assert!(error.to_string().contains("page 4"), "{error}");
}

#[test]
fn blobs_have_any_length() {
    for len in [0, 1, 4095, 4096, 4097, 100_000] {
        let bytes: Vec<u8> = (0..len).map(|at| (at / 3) as u8).collect();
        let mut pack = PackWriter::new(Vec::new());
        let blob = write_blob(&bytes, &NoChunks, &mut pack).expect("memory takes it");
        let set = PackSet::new();
        add(&set, pack.finish().expect("memory takes it"));
        assert_eq!(read_blob(&set, &blob, len).expect("whole"), bytes);
        if len > 0 {
            let error = read_blob(&set, &blob, len - 1).expect_err("too large");
            assert!(matches!(error, ReadError::TooLarge { .. }), "{error}");
        }
        let wrong = Blob { bytes: len + 5000, ..blob };
        assert!(read_blob(&set, &wrong, u64::MAX).is_err());
        let absurd = Blob { bytes: u64::MAX, ..blob };
        assert!(read_blob(&set, &absurd, u64::MAX).is_err());
    }
}

#[test]
fn copies_have_everything_and_nothing_twice() {
    let one = Content::new(3000, (0..3000).step_by(2));
    let mut other = one.clone();
    other.bytes.insert(1, page(12_345));
    let set = PackSet::new();
    let (first, bytes, _) = one.store(None, &set);
    add(&set, bytes);
    let (second, bytes, _) = other.store(Some(&one), &set);
    add(&set, bytes);

    let mut pack = PackWriter::new(Vec::new());
    copy(&set, &[first, second], &NoChunks, &mut pack).expect("whole");
    assert_eq!(pack.chunks(), 1500 + 1 + 7 + 2, "pages and nodes of both");
    let copied = PackSet::new();
    add(&copied, pack.finish().expect("memory takes it"));
    for tree in [first, second] {
        assert_eq!(pages(&copied, &tree), pages(&set, &tree));
    }

    let mut rest = PackWriter::new(Vec::new());
    copy(&set, &[second], &copied, &mut rest).expect("whole");
    assert_eq!(rest.chunks(), 0, "all is known");
    let error = copy(&PackSet::new(), &[first], &NoChunks, &mut rest).expect_err("nothing there");
    assert!(error.to_string().contains(&first.root.to_string()), "{error}");
}

#[test]
fn a_tree_is_a_disk() {
    let content = Content::new(2000, [0, 1, 600, 1999]);
    let set = PackSet::new();
    let (tree, bytes, _) = content.store(None, &set);
    add(&set, bytes);
    let size = 2000 * 4096 - 512;
    let disk = TreeDisk::new(Arc::new(set), tree, size);
    assert_eq!(disk.size_bytes(), size);
    let check = |offset: u64, len: usize| {
        let mut seen = vec![9; len];
        disk.read_at(offset, &mut seen).expect("it is inside");
        let expected: Vec<u8> = (offset..offset + len as u64)
            .map(|at| content.bytes.get(&(at / 4096)).map_or(0, |page| page[at as usize % 4096]))
            .collect();
        assert_eq!(seen, expected, "{len} at {offset}");
    };
    check(0, 512);
    check(4000, 5000);
    check(600 * 4096 - 512, 3 * 4096);
    check(size - 4096, 4096);
    assert!(disk.read_at(size, &mut [0; 512]).is_err());
    assert!(disk.read_at(u64::MAX, &mut [0; 512]).is_err());
}

#[test]
fn nodes_with_children_behind_the_end_are_refused() {
    let content = Content::new(10, [9]);
    let set = PackSet::new();
    let (tree, bytes, _) = content.store(None, &set);
    add(&set, bytes);
    let shorter = Tree { pages: 9, ..tree };
    let error = visit_pages(&set, &shorter, &mut |_, _| Ok(())).expect_err("one too many");
    assert!(error.to_string().contains("behind the last of 9 pages"), "{error}");
    let taller = Tree { pages: u64::MAX, ..tree };
    assert!(visit_pages(&set, &taller, &mut |_, _| Ok(())).is_err(), "pages are no nodes");
}
