//! Packs: written, read back, and refused when they are not what they should be.

use std::sync::Arc;

use stackvm_machine::digest::{Digest, FAN_OUT};

use super::index::TRAILER_BYTES;
use super::{Pack, PackSet, PackWriter, Worker, fuzz, node};
use crate::chunks::{Chunks, ReadError};

/// Numbers that look random and are the same every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn page(seed: u64) -> Vec<u8> {
    let mut random = Random(seed * 2 + 1);
    // Half of it compresses.
    (0..4096).map(|at| if at % 64 < 32 { random.next() as u8 } else { seed as u8 }).collect()
}

fn children(seed: u64) -> Box<[Digest; FAN_OUT]> {
    let mut children = Box::new([Digest::ZERO; FAN_OUT]);
    for (slot, child) in children.iter_mut().enumerate().skip(3) {
        *child = Digest::of(&(seed * 1000 + slot as u64).to_le_bytes());
    }
    children
}

fn id_of(children: &[Digest; FAN_OUT]) -> Digest {
    Digest::of(&node::chunk_of(children))
}

fn open(bytes: Vec<u8>) -> Result<PackSet, ReadError> {
    let set = PackSet::new();
    set.add(Pack::open("p.pack", Arc::new(bytes))?);
    Ok(set)
}

/// A pack of 200 pages, one short chunk, a node over some of the pages, and a chain of nodes.
fn sample(worker: Worker) -> Vec<u8> {
    let mut pack = PackWriter::with_worker(Vec::new(), worker);
    let mut over = Box::new([Digest::ZERO; FAN_OUT]);
    for seed in 0..200 {
        let page = page(seed);
        over[seed as usize * 2] = Digest::of(&page);
        pack.put(&Digest::of(&page), &page).expect("memory takes it");
    }
    pack.put(&Digest::of(b"short"), b"short").expect("memory takes it");
    pack.put_node(&id_of(&over), &over, None).expect("memory takes it");
    let mut before = over;
    for change in 0..20 {
        let mut after = before.clone();
        after[change + 5] = Digest::of(&[change as u8]);
        let depth = pack.difference_depth(&id_of(&before)).expect("it is there");
        let base = Some((&id_of(&before), &*before, depth));
        pack.put_node(&id_of(&after), &after, base).expect("memory takes it");
        before = after;
    }
    pack.finish().expect("memory takes it")
}

#[test]
fn what_is_put_is_read() {
    let bytes = sample(Worker::None);
    assert!(bytes.len() < 200 * 2400, "{} bytes", bytes.len());
    let pack = Pack::open("p.pack", Arc::new(bytes)).expect("a pack");
    let ids = pack.ids().to_vec();
    assert_eq!(ids.len(), 200 + 1 + 21);
    let set = PackSet::new();
    set.add(pack);
    for id in &ids {
        assert!(set.contains(id));
        let bytes = set.get(id).expect("it is whole").expect("it is there");
        assert_eq!(Digest::of(&bytes), *id);
    }
    assert_eq!(set.get(&Digest::of(b"none")).expect("no error"), None);
    assert!(!set.contains(&Digest::of(b"none")));
    assert!(ids.iter().all(|id| set.difference_depth(id) <= node::DEPTH_MAX), "chains are short");
}

#[test]
fn the_same_calls_write_the_same_bytes() {
    assert_eq!(sample(Worker::None), sample(Worker::Threads));
    assert_eq!(sample(Worker::None), sample(Worker::None));
}

#[test]
fn a_pack_without_chunks_is_a_pack() {
    let bytes = PackWriter::new(Vec::new()).finish().expect("memory takes it");
    let set = open(bytes).expect("a pack");
    assert_eq!(set.get(&Digest::of(b"")).expect("no error"), None);
}

#[test]
fn a_node_that_changed_little_takes_little() {
    let before = children(1);
    let mut first = PackWriter::new(Vec::new());
    first.put_node(&id_of(&before), &before, None).expect("memory takes it");
    let first = first.finish().expect("memory takes it");
    assert!(first.len() > 16_000, "digests do not compress: {}", first.len());

    let mut after = before.clone();
    after[100] = Digest::of(b"new");
    let mut second = PackWriter::new(Vec::new());
    let base = Some((&id_of(&before), &*before, 0));
    second.put_node(&id_of(&after), &after, base).expect("memory takes it");
    let second = second.finish().expect("memory takes it");
    assert!(second.len() < 300, "{} bytes", second.len());

    let set = open(first).expect("a pack");
    let other = Arc::new(second.clone());
    set.add(Pack::open("second", other).expect("a pack"));
    let bytes = set.get(&id_of(&after)).expect("whole").expect("there");
    assert_eq!(node::children_of(&bytes).expect("a node"), after);
    assert_eq!(set.bases_of(1).expect("whole"), [id_of(&before)].into());

    // Without its base it cannot be read, and the error names both.
    let error =
        open(second).expect("a pack").get(&id_of(&after)).map(drop).expect_err("it misses a base");
    let text = error.to_string();
    assert!(text.contains(&id_of(&before).to_string()), "{text}");
    assert!(text.contains(&id_of(&after).to_string()), "{text}");
}

#[test]
fn nodes_that_need_each_other_are_refused() {
    let (one, mut other) = (children(1), children(1));
    other[7] = Digest::of(b"x");
    let pack = |id: &Digest, node: &[Digest; FAN_OUT], from: &[Digest; FAN_OUT]| {
        let mut pack = PackWriter::new(Vec::new());
        pack.put_node(id, node, Some((&id_of(from), from, 0))).expect("memory takes it");
        Pack::open("circle", Arc::new(pack.finish().expect("memory takes it"))).expect("a pack")
    };
    let set = PackSet::new();
    set.add(pack(&id_of(&one), &one, &other));
    set.add(pack(&id_of(&other), &other, &one));
    let error = set.get(&id_of(&one)).map(drop).expect_err("a circle").to_string();
    assert!(error.contains("difference from a difference"), "{error}");

    // As soon as one of them is there in full, both can be read.
    let mut full = PackWriter::new(Vec::new());
    full.put_node(&id_of(&one), &one, None).expect("memory takes it");
    let full = full.finish().expect("memory takes it");
    set.add(Pack::open("full", Arc::new(full)).expect("a pack"));
    assert!(set.get(&id_of(&one)).expect("whole").is_some());
    assert!(set.get(&id_of(&other)).expect("whole").is_some());
}

#[test]
fn another_copy_helps_where_one_is_damaged() {
    let bytes = sample(Worker::None);
    let mut bad = bytes.clone();
    bad[17] ^= 1;
    let id = Digest::of(&page(1));
    let set = open(bad).expect("the index is fine");
    let error = set.get(&id).map(drop).expect_err("damaged").to_string();
    assert!(error.contains("p.pack"), "{error}");
    set.add(Pack::open("good", Arc::new(bytes)).expect("a pack"));
    assert!(set.get(&id).expect("the other copy is whole").is_some());
}

#[test]
fn a_pack_that_was_cut_or_changed_is_refused() {
    let bytes = sample(Worker::None);
    let check = |change: &dyn Fn(&mut Vec<u8>), expected: &str| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        let error = open(bytes).expect_err("it is not whole").to_string();
        assert!(error.contains(expected), "{error}");
        assert!(error.contains("p.pack"), "{error}");
    };
    let end = bytes.len();
    let trailer = end - TRAILER_BYTES as usize;
    check(&|bytes| bytes.truncate(50), "only 50 bytes");
    check(&|bytes| bytes.truncate(end - 1), "does not end like a pack");
    check(&|bytes| bytes[0] = 0, "does not begin like a pack");
    check(&|bytes| bytes[end - 16] = 2, "version is 2");
    check(&|bytes| bytes[12] = 2, "differ in version");
    check(&|bytes| bytes[trailer + 7] = 0xff, "does not fit");
    check(&|bytes| bytes[trailer + 15] = 0xff, "a table of");
    check(&|bytes| bytes[trailer + 23] = 0xff, "does not fit");
    check(&|bytes| bytes[trailer + 40] ^= 1, "not what its hash says");
    check(&|bytes| bytes[trailer - 40] ^= 1, "not what its hash says");
    check(&|bytes| bytes.truncate(1000), "does not end like a pack");
}

#[test]
fn every_flipped_byte_of_an_extent_is_seen() {
    let bytes = sample(Worker::None);
    let ids = open(bytes.clone()).expect("a pack").packs()[0].ids().to_vec();
    let extents_end = open(bytes.clone()).expect("a pack").packs()[0].size_bytes() as usize
        - TRAILER_BYTES as usize
        - ids.len() * 32
        - 100;
    let mut random = Random(9);
    for _ in 0..60 {
        let mut bytes = bytes.clone();
        let at = 16 + random.below(extents_end - 16);
        bytes[at] ^= 1 << random.below(8);
        let Ok(set) = open(bytes) else { continue };
        // Whatever is delivered has the right hash, and something is refused. Bits that zstd
        // does not use are the exception, then everything is right.
        for id in &ids {
            if let Ok(Some(bytes)) = set.get(id) {
                assert_eq!(Digest::of(&bytes), *id, "byte {at}");
            }
        }
    }
}

#[test]
fn both_decoders_agree() {
    let mut compressor = super::codec::Compressor::new();
    for size in [1000, 4096, 70_000, 262_144] {
        let raw: Vec<u8> = (0..64).flat_map(page).take(size).collect();
        let stored = compressor.compress(&raw).expect("it compresses");
        let fresh = super::codec::Compressor::new().compress(&raw).expect("it compresses");
        assert_eq!(stored, fresh, "a used compressor writes the same");
        assert_eq!(super::codec::decompress(&stored, size).expect("whole"), raw);
        assert_eq!(super::codec::in_rust::decompress(&stored, size).expect("whole"), raw);
        for wrong in [0, size - 1, size + 1] {
            assert!(super::codec::decompress(&stored, wrong).is_err());
            assert!(super::codec::in_rust::decompress(&stored, wrong).is_err());
        }
    }
}

#[test]
fn arbitrary_bytes_do_no_harm() {
    let mut random = Random(77);
    let small = {
        let mut pack = PackWriter::new(Vec::new());
        let node = children(3);
        pack.put(&Digest::of(&page(1)), &page(1)).expect("memory takes it");
        pack.put_node(&id_of(&node), &node, None).expect("memory takes it");
        let mut other = node.clone();
        other[1] = Digest::of(&page(1));
        let base = Some((&id_of(&node), &*node, 0));
        pack.put_node(&id_of(&other), &other, base).expect("memory takes it");
        pack.finish().expect("memory takes it")
    };
    fuzz::read(&small);
    for round in 0..3000 {
        let mut bytes = small.clone();
        for _ in 0..=random.below(4) {
            // The end, where all lengths are, as often as the rest.
            let at = match round % 2 {
                0 => random.below(bytes.len()),
                _ => bytes.len() - 1 - random.below(200),
            };
            bytes[at] = random.next() as u8;
        }
        if round % 5 == 0 {
            bytes.truncate(random.below(bytes.len()));
        }
        fuzz::read(&bytes);
    }
}
