//! The format pinned by vectors, and every short cut against the plain definition.

use std::sync::Arc;

use super::*;
use crate::config::{DiskConfig, MachineConfig};
use crate::devices::disk::{BITMAP_BLOCKS, Overlay, ZeroSource};
use crate::memory::tests::Chance;
use crate::memory::{RAM_BASE, Ram};

/// The content of BLAKE3's published test vectors.
fn pattern<const N: usize>() -> [u8; N] {
    std::array::from_fn(|at| (at % 251) as u8)
}

/// The definition, read off the module's text, with nothing shared but BLAKE3 itself.
fn root_by_definition(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    loop {
        level.resize(level.len().next_multiple_of(512).max(512), [0; 32]);
        level = level
            .chunks(512)
            .map(|children| match children.iter().all(|child| *child == [0; 32]) {
                true => [0; 32],
                false => *blake3::hash(&children.concat()).as_bytes(),
            })
            .collect();
        if level.len() == 1 {
            return level[0];
        }
    }
}

#[test]
fn pages_are_named_by_blake3_and_zeroes_elided() {
    let check = |page: PageBytes, hex: &str| {
        assert_eq!(Digest::of_page(&page).to_string(), hex);
    };
    check([0; PAGE_BYTES], &"0".repeat(64));
    // BLAKE3's own vector for an input of 4096 bytes.
    check(pattern(), "015094013f57a5277b59d8475c0501042c0b642e531b0a1c8f58d2163229e969");
}

#[test]
fn roots_follow_the_definition() {
    let check = |pages: u64, set: &[u64]| {
        let digest_of = |page: u64| match set.contains(&page) {
            true => Digest::of(&page.to_le_bytes()),
            false => Digest::ZERO,
        };
        let digests = (0..pages).map(|page| *digest_of(page).as_bytes()).collect();
        let expected = Digest(root_by_definition(digests));
        assert_eq!(tree_root(pages, digest_of), expected, "{pages} pages, from scratch");
        let mut tree = HashTree::new(pages);
        for page in set {
            tree.set(*page, digest_of(*page));
        }
        assert_eq!(tree.root(), expected, "{pages} pages, at once");
        for page in set {
            tree.set(*page, Digest::ZERO);
            tree.root();
        }
        assert_eq!(tree.root(), Digest::ZERO, "{pages} pages, back to zeroes");
        for page in set {
            tree.set(*page, digest_of(*page));
            tree.root();
        }
        assert_eq!(tree.root(), expected, "{pages} pages, one after another");
        check_nodes(&tree, pages, digest_of);
    };
    check(0, &[]);
    check(1, &[]);
    check(1, &[0]);
    check(511, &[0, 510]);
    check(512, &[511]);
    check(513, &[512]);
    check(513, &[0, 1, 512]);
    check(512 * 512, &[0, 512 * 512 - 1]);
    check(512 * 512 + 1, &[3, 512 * 512]);
}

/// Every node is the hash of its children, from the root down to the pages.
fn check_nodes(tree: &HashTree, pages: u64, digest_of: impl Fn(u64) -> Digest) {
    let top = tree.levels() - 1;
    for level in 0..=top {
        let below = if level == 0 { pages as usize } else { nodes(pages, level - 1) };
        for node in 0..nodes(pages, level) {
            let children = tree.children(level, node);
            assert_eq!(tree.node(level, node), node_digest(children));
            for (n, child) in children.into_iter().enumerate() {
                let at = node * FAN_OUT + n;
                let expected = match level {
                    _ if at >= below => Digest::ZERO,
                    0 => digest_of(at as u64),
                    _ => tree.node(level - 1, at),
                };
                assert_eq!(child, expected, "child {n} of {node} of level {level}");
            }
        }
    }
    assert_eq!(nodes(pages, top), 1);
    assert!((0..pages).all(|page| tree.page(page) == digest_of(page)));
}

fn nodes(pages: u64, level: usize) -> usize {
    pages.div_ceil((FAN_OUT as u64).pow(level as u32 + 1)).max(1) as usize
}

/// Whatever was written to a disk, in whatever order its states are seen.
#[test]
fn disk_trees_agree_with_hashing_everything() {
    const BLOCKS: u64 = 40_000;
    let source = Arc::new(ZeroSource { size_bytes: BLOCKS * 4096 - 512 });
    let disk = DiskConfig { source, read_only: false, serial: String::new() };
    let config = MachineConfig { disks: vec![disk], ..MachineConfig::default() };
    let mut trees = StateTrees::new(&config);
    let ram = Ram::new(config.memory_bytes).unwrap().freeze();
    let chance = &mut Chance::new(5);
    let mut overlay = Overlay::default();
    let mut kept = vec![overlay.clone()];
    for round in 0..40 {
        for _ in 0..chance.below(20) {
            // Some blocks again and again, and both ends; half of them zeroes.
            let block = [chance.below(BLOCKS), chance.below(8), BLOCKS - 1][round % 3];
            let byte = (chance.next() * chance.below(2)) as u8;
            overlay.insert(block, Arc::new([byte; 4096]));
        }
        kept.push(overlay.clone());
        if chance.below(3) == 0 {
            overlay = kept[chance.below(kept.len() as u64) as usize].clone();
        }
        trees.add_to(&mut StateHasher::new(), &ram, std::slice::from_ref(&overlay));
        let block = |n| overlay.get(n).map_or(Digest::ZERO, |bytes| Digest::of_page(bytes));
        assert_eq!(trees.disk_tree(0).pages(), BLOCKS);
        assert_eq!(trees.disk_tree(0).root(), tree_root(BLOCKS, block), "round {round}");
        let bitmap = |page: u64| {
            let mut bits = [0u8; 4096];
            for (n, _) in overlay.iter().filter(|(n, _)| n / BITMAP_BLOCKS == page) {
                bits[(n % BITMAP_BLOCKS / 8) as usize] |= 1 << (n % 8);
            }
            Digest::of_page(&bits)
        };
        assert_eq!(trees.written_tree(0).root(), tree_root(2, bitmap), "round {round}");
        assert_eq!(overlay.len(), overlay.iter().count() as u64);
    }
}

#[test]
fn the_format_is_pinned() {
    let page = Digest::of_page(&pattern());
    let check = |digest: Digest, hex: &str| assert_eq!(digest.to_string(), hex);
    let root = |pages| tree_root(pages, |at| if at == 0 { page } else { Digest::ZERO });
    check(root(1), "33929ad7b976e6ae4d7486efb1a7c0a3d8dc40c41c29eecf7495b7a22a5ced07");
    check(root(512), "33929ad7b976e6ae4d7486efb1a7c0a3d8dc40c41c29eecf7495b7a22a5ced07");
    check(root(513), "98506b2a4b29ed524903ccef15a05944835e947172fb33e78e395c525d527851");
    let mut state = StateHasher::new();
    check(state.finish(), "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262");
    state.part("hart0", b"registers");
    state.tree("ram", 1, root(1));
    check(state.finish(), "ce775cb67d406ea993b027d79765fafdea36aa9ace9b6b0fb22b0b28ce5f0fe4");
}

#[test]
fn states_differ_when_any_part_does() {
    let digest = |parts: &[(&str, &[u8])]| {
        let mut state = StateHasher::new();
        parts.iter().for_each(|(name, bytes)| state.part(name, bytes));
        state.finish()
    };
    let base = digest(&[("a", b"1"), ("b", b"2")]);
    assert_eq!(digest(&[("b", b"2"), ("a", b"1")]), base, "order does not matter");
    let others: [&[(&str, &[u8])]; 6] = [
        &[("a", b"1")],
        &[("a", b"1"), ("b", b"")],
        &[("a", b"2"), ("b", b"1")],
        &[("a", b"12"), ("b", b"")],
        &[("ab", b"1"), ("", b"2")],
        &[("a", b"1"), ("b", b"2"), ("c", b"")],
    ];
    for parts in others {
        assert_ne!(digest(parts), base, "{parts:?}");
    }
    let twice = std::panic::catch_unwind(|| digest(&[("a", b"1"), ("a", b"1")]));
    assert!(twice.is_err(), "duplicates are a programming error");
}

/// Whatever happened to a RAM, its cached tree agrees with hashing everything.
#[test]
fn ram_trees_agree_with_hashing_everything() {
    for seed in 0..6 {
        let chance = &mut Chance::new(seed);
        let pages = [5, 512, 1300][seed as usize % 3];
        let mut ram = Ram::new(pages * PAGE_BYTES as u64).unwrap();
        let mut tree = RamTree::new(pages as u32);
        let mut kept = Vec::new();
        for round in 0..40 {
            for _ in 0..chance.below(30) {
                let addr = RAM_BASE + chance.below(pages * PAGE_BYTES as u64 - 8);
                // Half the writes are zeroes, so that pages become elided again.
                ram.write(addr, &(chance.next() * chance.below(2)).to_le_bytes()).unwrap();
            }
            let frozen = ram.freeze();
            let expected =
                tree_root(pages, |page| Digest::of_page(frozen.page(page as u32).unwrap()));
            assert_eq!(tree.root(&frozen), expected, "seed {seed}, round {round}");
            match chance.below(4) {
                0 => kept.push(frozen),
                1 if !kept.is_empty() => {
                    let at = chance.below(kept.len() as u64) as usize;
                    ram = Ram::thaw(&kept.swap_remove(at));
                }
                2 => ram.compact().unwrap(),
                _ => {}
            }
        }
    }
}
