//! Overlays against a plain model.

use std::io;
use std::sync::Arc;

use super::{BLOCK_BYTES, BlockSource, Disk, MemorySource, Overlay, ZeroSource};

const SIZE: usize = 5 * BLOCK_BYTES + 1024;

fn content() -> Vec<u8> {
    (0..SIZE).map(|at| (at / 7) as u8).collect()
}

fn disk() -> Disk {
    Disk::new(Arc::new(MemorySource::new(content())))
}

fn read_all(disk: &Disk) -> Vec<u8> {
    let mut bytes = vec![0; SIZE];
    disk.read(0, &mut bytes).unwrap();
    bytes
}

/// Offsets and lengths that meet block borders and the disk's end in every way.
const RANGES: [(usize, usize); 11] = [
    (0, 512),
    (512, 512),
    (3584, 512),
    (3584, 1024),
    (0, 4096),
    (4096, 8192),
    (512, 8192),
    (512, 11_776),
    (SIZE - 512, 512),
    (4 * BLOCK_BYTES + 512, SIZE - 4 * BLOCK_BYTES - 512),
    (0, SIZE),
];

#[test]
fn writes_are_read_back() {
    for first in RANGES {
        for second in RANGES {
            let (mut disk, mut model) = (disk(), content());
            for ((at, len), byte) in [(first, 0xaa), (second, 0xbb)] {
                disk.write(at as u64, &vec![byte; len]).unwrap();
                model[at..at + len].fill(byte);
            }
            assert!(read_all(&disk) == model, "{first:?} then {second:?}");
            let (at, len) = first;
            let mut part = vec![0; len];
            disk.read(at as u64, &mut part).unwrap();
            assert!(part == model[at..at + len], "{first:?} then {second:?}");
        }
    }
}

#[test]
fn clones_go_their_own_ways() {
    let mut one = disk();
    one.write(0, &[1; 4096]).unwrap();
    let mut other = one.clone();
    other.write(0, &[2; 512]).unwrap();
    one.write(8192, &[3; 512]).unwrap();
    let (one, other) = (read_all(&one), read_all(&other));
    assert_eq!((one[0], one[600], one[8192]), (1, 1, 3));
    assert_eq!((other[0], other[600], other[8192]), (2, 1, content()[8192]));
}

#[test]
fn overlays_list_whole_blocks_and_go_back_in() {
    let mut disk = disk();
    disk.write(4096, &[0; 4096]).unwrap();
    disk.write(SIZE as u64 - 512, &[9; 512]).unwrap();
    let blocks: Vec<_> = disk.overlay().iter().map(|(n, block)| (n, block.clone())).collect();
    assert_eq!(blocks.iter().map(|(n, _)| *n).collect::<Vec<_>>(), [1, 5]);
    assert_eq!(*blocks[0].1, [0; 4096], "zeroes count as written");
    assert_eq!(blocks[1].1[1024..], [0; 3072], "padding behind the end");
    let mut other = self::disk();
    other.set_overlay(blocks.into_iter().collect()).unwrap();
    assert!(read_all(&other) == read_all(&disk));
}

#[test]
fn overlays_behind_the_end_are_refused() {
    let check = |block: u64, fits: bool| {
        let overlay: Overlay = [(block, Arc::new([0; BLOCK_BYTES]))].into_iter().collect();
        assert_eq!(disk().set_overlay(overlay).is_ok(), fits, "block {block}");
    };
    check(5, true);
    check(6, false);
    check(u64::MAX, false);
}

#[test]
fn sources_have_whole_sectors() {
    assert_eq!(MemorySource::new(vec![1; 513]).size_bytes(), 1024);
    let blank = Disk::new(Arc::new(ZeroSource { size_bytes: 1 << 40 }));
    assert_eq!(blank.sectors(), 1 << 31);
    let mut bytes = [1; 512];
    blank.read((1 << 40) - 512, &mut bytes).unwrap();
    assert_eq!(bytes, [0; 512]);
}

/// A source that never delivers.
#[derive(Debug)]
struct Broken;

impl BlockSource for Broken {
    fn size_bytes(&self) -> u64 {
        SIZE as u64
    }

    fn read_at(&self, _offset: u64, _buf: &mut [u8]) -> io::Result<()> {
        Err(io::Error::other("unplugged"))
    }
}

#[test]
fn a_failed_write_changes_nothing() {
    let check = |at: u64, len: usize, works: bool| {
        let mut disk = Disk::new(Arc::new(Broken));
        assert_eq!(disk.write(at, &vec![1; len]).is_ok(), works, "{len} bytes at {at}");
        assert_eq!(disk.overlay().iter().count() > 0, works);
    };
    check(0, 4096, true);
    check(0, 512, false);
    check(512, 4096, false);
    check(0, 4608, false);
    check(4096, 8192, true);
}

#[test]
fn freezing_a_large_overlay_copies_references_only() {
    let mut overlay = Overlay::default();
    let block = Arc::new([1; BLOCK_BYTES]);
    for n in 0..(1 << 30) / BLOCK_BYTES as u64 {
        overlay.insert(n, block.clone());
    }
    let before = Arc::strong_count(&block);
    let frozen = overlay.clone();
    assert_eq!(Arc::strong_count(&block), before, "no block is touched by a clone");
    overlay.block_mut(3)[0] = 2;
    assert_eq!(Arc::strong_count(&block), before + 511, "a write unshares one chunk");
    assert_eq!(frozen.get(3).unwrap()[0], 1);
}
