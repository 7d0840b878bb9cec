//! RAM against the plainest model there is: a vector of bytes.

use super::*;

/// xorshift64*: the tests' only source of chance.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

fn content(ram: &Ram) -> Vec<u8> {
    let mut bytes = vec![0xee; ram.size_bytes() as usize];
    ram.read(RAM_BASE, &mut bytes).unwrap();
    bytes
}

fn frozen_content(frozen: &FrozenRam) -> Vec<u8> {
    let mut bytes = vec![0; frozen.size_bytes() as usize];
    let mut last = None;
    frozen.for_each_nonzero_page(|page, content| {
        assert!(last < Some(page), "ascending");
        last = Some(page);
        let at = page as usize * PAGE_BYTES;
        bytes[at..at + PAGE_BYTES].copy_from_slice(content);
    });
    bytes
}

/// One machine and what its RAM must hold.
struct Pair {
    ram: Ram,
    model: Vec<u8>,
}

impl Pair {
    fn step(&mut self, chance: &mut Chance) {
        let size = self.model.len() as u64;
        let len = match chance.below(10) {
            0 => chance.below(3 * PAGE_BYTES as u64),
            1 => 0,
            _ => chance.below(64),
        } as usize;
        let at = chance.below(size + 100);
        let addr = RAM_BASE + at;
        let fits = at + len as u64 <= size;
        let range = at as usize..at as usize + len;
        match chance.below(4) {
            0 => {
                let mut buf = vec![0xaa; len];
                let read = self.ram.read(addr, &mut buf);
                if fits {
                    assert_eq!((read, &buf[..]), (Ok(()), &self.model[range]));
                } else {
                    assert_eq!(read, Err(OutOfRam { addr, len }));
                    assert!(buf.iter().all(|byte| *byte == 0xaa), "untouched");
                }
            }
            1 if fits && len > 0 => self.store(range.start, chance.next() as u8),
            _ => {
                let bytes: Vec<u8> = (0..len).map(|_| chance.next() as u8).collect();
                let written = self.ram.write(addr, &bytes);
                let noted = self.ram.take_written();
                if fits {
                    self.model[range.clone()].copy_from_slice(&bytes);
                    let pages = range.map(|at| (at / PAGE_BYTES) as u32);
                    let mut pages: Vec<u32> = pages.collect();
                    pages.dedup();
                    assert_eq!((written, noted), (Ok(()), pages));
                } else {
                    assert_eq!((written, noted), (Err(OutOfRam { addr, len }), vec![]));
                }
            }
        }
    }

    /// What the interpreter does: one byte through the page's address.
    fn store(&mut self, at: usize, byte: u8) {
        let page = (at / PAGE_BYTES) as u32;
        let host = self.ram.page_mut(page).unwrap();
        // SAFETY: the address is inside the page and was obtained just now.
        unsafe { host.add(at % PAGE_BYTES).write(byte) };
        self.model[at] = byte;
        assert!(self.ram.is_own(page), "written");
        assert_eq!(self.ram.page(page), Some(host.cast_const()), "readers see the same page");
    }
}

fn random_life(seed: u64, pages: u64) {
    let chance = &mut Chance::new(seed);
    let size = pages as usize * PAGE_BYTES;
    let ram = Ram::new(size as u64).unwrap();
    let mut machines = vec![Pair { ram, model: vec![0; size] }];
    let mut frozen: Vec<(FrozenRam, Vec<u8>)> = Vec::new();
    for _ in 0..3000 {
        let at = chance.below(machines.len() as u64) as usize;
        let many = machines.len() > 6;
        let machine = &mut machines[at];
        match chance.below(60) {
            0 => {
                let ram = machine.ram.freeze();
                assert!((0..pages as u32).all(|page| !machine.ram.is_own(page)), "all frozen");
                frozen.push((ram, machine.model.clone()));
            }
            1 => machine.ram.compact().unwrap(),
            2 if !frozen.is_empty() => {
                let at = chance.below(frozen.len() as u64) as usize;
                let (ram, model) = frozen[at].clone();
                machines.push(Pair { ram: Ram::thaw(&ram), model });
            }
            3 if frozen.len() > 6 => {
                let at = chance.below(frozen.len() as u64) as usize;
                let (ram, model) = frozen.swap_remove(at);
                assert!(frozen_content(&ram) == model, "seed {seed}: frozen RAM changed");
            }
            4 if many => {
                let gone = machines.swap_remove(at);
                assert!(content(&gone.ram) == gone.model, "seed {seed}: RAM differs");
            }
            5 => machine.ram.reserve(chance.below(pages) as usize).unwrap(),
            _ => machine.step(chance),
        }
    }
    for machine in &machines {
        assert!(content(&machine.ram) == machine.model, "seed {seed}: RAM differs");
    }
    for (ram, model) in &frozen {
        assert!(frozen_content(ram) == *model, "seed {seed}: frozen RAM changed");
    }
}

#[test]
fn ram_behaves_like_a_vector_of_bytes_through_freezes_and_forks() {
    for seed in 0..12 {
        // Fewer pages than a leaf, a leaf exactly, and an odd number of leaves.
        random_life(seed, [3, 40, 512, 700][seed as usize % 4]);
    }
}

#[test]
fn accesses_outside_ram_are_refused_whole() {
    let size = 2 * PAGE_BYTES as u64;
    let check = |addr: u64, len: usize, fits: bool| {
        let mut ram = Ram::new(size).unwrap();
        let expected = if fits { Ok(()) } else { Err(OutOfRam { addr, len }) };
        assert_eq!(ram.write(addr, &vec![1; len]), expected, "write {len} at {addr:#x}");
        let mut buf = vec![2; len];
        assert_eq!(ram.read(addr, &mut buf), expected, "read {len} at {addr:#x}");
        assert!(buf.iter().all(|byte| *byte == if fits { 1 } else { 2 }));
        let ones = content(&ram).iter().filter(|byte| **byte == 1).count();
        assert_eq!(ones, if fits { len } else { 0 });
    };
    check(RAM_BASE, 0, true);
    check(RAM_BASE, size as usize, true);
    check(RAM_BASE + size, 0, true);
    check(RAM_BASE + size - 1, 1, true);
    check(RAM_BASE + size - 1, 2, false);
    check(RAM_BASE + size, 1, false);
    check(RAM_BASE + size + 1, 0, false);
    check(RAM_BASE - 1, 1, false);
    check(RAM_BASE - 1, 2, false);
    check(0, 1, false);
    check(u64::MAX, 1, false);
    check(u64::MAX, 2, false);
    check(u64::MAX - 7, 8, false);
}

#[test]
fn impossible_sizes_are_refused() {
    let check = |bytes: u64| {
        assert_eq!(Ram::new(bytes).unwrap_err().kind(), io::ErrorKind::InvalidInput, "{bytes}");
    };
    check(0);
    check(1);
    check(PAGE_BYTES as u64 + 1);
    check(limits::MEMORY_BYTES_MAX + PAGE_BYTES as u64);
    check(u64::MAX);
    let largest = Ram::new(limits::MEMORY_BYTES_MAX).unwrap();
    assert_eq!(largest.size_bytes(), limits::MEMORY_BYTES_MAX);
    assert_eq!(largest.page((limits::MEMORY_BYTES_MAX >> 12) as u32), None);
}

#[test]
fn frozen_pages_stay_at_their_address() {
    let mut ram = Ram::new(64 * PAGE_BYTES as u64).unwrap();
    ram.write(RAM_BASE, b"before").unwrap();
    let address = ram.page(0).unwrap();
    let frozen = ram.freeze();
    assert_eq!(ram.page(0), Some(address), "freezing moves nothing");
    ram.write(RAM_BASE, b"after!").unwrap();
    assert_ne!(ram.page(0), Some(address), "the write went to a copy");
    assert_eq!(&frozen.page(0).unwrap()[..6], b"before");
    assert_eq!(frozen.page(0).unwrap().as_ptr(), address);
    drop(ram);
    assert_eq!(&frozen.page(0).unwrap()[..6], b"before", "outlives its machine");
    assert!(frozen.page(64).is_none());
}

#[test]
fn compacting_gives_back_what_is_hardly_used() {
    let mut ram = Ram::new(4 * 512 * PAGE_BYTES as u64).unwrap();
    let mut expected = vec![0; ram.size_bytes() as usize];
    // Fill a segment and a bit, then freeze and write most of it anew: the first segment is left
    // with one page in eight.
    for page in 0..600_usize {
        expected[page * PAGE_BYTES] = 1;
        ram.write(RAM_BASE + (page * PAGE_BYTES) as u64, &[1]).unwrap();
    }
    drop(ram.freeze());
    for page in (0..600_usize).filter(|page| page % 8 != 0) {
        expected[page * PAGE_BYTES] = 2;
        ram.write(RAM_BASE + (page * PAGE_BYTES) as u64, &[2]).unwrap();
    }
    let first = Arc::downgrade(&ram.segments[0]);
    let held = ram.freeze();
    ram.compact().unwrap();
    assert!(first.upgrade().is_some(), "a frozen RAM needs the segment, so nothing is gained");
    drop(held);
    ram.compact().unwrap();
    assert!(first.upgrade().is_none(), "the segment is given back");
    assert!(content(&ram) == expected, "content is as before");
    for page in 0..600 {
        ram.write(RAM_BASE + page * PAGE_BYTES as u64, &[3]).unwrap();
    }
}

#[test]
fn reserved_pages_need_nothing_from_the_host() {
    let mut ram = Ram::new(2048 * PAGE_BYTES as u64).unwrap();
    ram.reserve(1500).unwrap();
    let segments = ram.segments.len();
    for page in 0..1500 {
        ram.page_mut(page).unwrap();
    }
    assert_eq!(ram.segments.len(), segments, "no segment was added meanwhile");
    ram.reserve(usize::MAX).unwrap();
}

#[test]
fn ram_moves_between_threads() {
    fn check<T: Send>() {}
    fn check_shared<T: Send + Sync + Clone>() {}
    check::<Ram>();
    check_shared::<FrozenRam>();
}

/// What a second process does with the descriptors.
#[cfg(target_os = "linux")]
#[test]
fn segments_can_be_read_but_not_written_through_their_descriptors() {
    use std::os::unix::fs::FileExt;

    let mut ram = Ram::new(1024 * PAGE_BYTES as u64).unwrap();
    ram.write(RAM_BASE + 700 * PAGE_BYTES as u64, b"seen from elsewhere").unwrap();
    let frozen = ram.freeze();
    assert_eq!(frozen.locate(0), Some(PageLocation::Zero));
    assert_eq!(frozen.locate(1024), None);
    let Some(PageLocation::Segment { segment, offset_bytes }) = frozen.locate(700) else {
        panic!("page 700 was written");
    };
    let fd = frozen.segments()[segment].fd().try_clone_to_owned().unwrap();
    let file = std::fs::File::from(fd);
    let mut buf = [0; 19];
    file.read_exact_at(&mut buf, offset_bytes as u64).unwrap();
    assert_eq!(&buf, b"seen from elsewhere");
    assert!(file.write_at(b"x", offset_bytes as u64).is_err(), "sealed");
    assert!(file.set_len(0).is_err(), "sealed");
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_left_to_the_original_can_never_be_written_again() {
    use rustix::io::Errno;
    use rustix::mm::{MprotectFlags, mprotect};

    let chance = &mut Chance::new(12);
    let ram = Ram::new(700 * PAGE_BYTES as u64).unwrap();
    let model = vec![0; ram.size_bytes() as usize];
    let mut first = Pair { ram, model };
    (0..100).for_each(|_| first.step(chance));
    first.ram.write(RAM_BASE, &[7]).unwrap();
    first.model[0] = 7;
    let frozen = first.ram.freeze();
    let Pair { ram, model } = first;
    drop(ram);
    frozen.leave_to_original().unwrap();
    for segment in frozen.segments() {
        let start = segment.page(0).as_ptr().cast();
        // SAFETY: a mapping of ours; nothing is written to it.
        let done =
            unsafe { mprotect(start, PAGE_BYTES, MprotectFlags::READ | MprotectFlags::WRITE) };
        assert_eq!(done, Err(Errno::ACCESS));
    }
    // A machine goes on from it, and gives back what it does not need.
    let mut pair = Pair { ram: Ram::thaw(&frozen), model: model.clone() };
    for round in 0..600 {
        pair.step(chance);
        if round % 100 == 0 {
            pair.ram.compact().unwrap();
        }
    }
    assert!(content(&pair.ram) == pair.model);
    assert!(frozen_content(&frozen) == model, "the original's");
    // It stays where it is: a copy of what the original has as well would be no gain.
    let mut sparse = Ram::thaw(&frozen);
    drop((frozen, pair));
    for page in 1..700 {
        sparse.write(RAM_BASE + page * PAGE_BYTES as u64, &[1]).unwrap();
    }
    let before = sparse.page(0).unwrap();
    sparse.compact().unwrap();
    assert_eq!(sparse.page(0).unwrap(), before);
}

#[cfg(target_os = "linux")]
#[test]
fn files_are_mapped_as_ram() {
    use std::io::Write;
    use std::os::fd::OwnedFd;

    let page = |byte: u8| [byte; PAGE_BYTES];
    let file = |pages: &[u8]| {
        let fd = rustix::fs::memfd_create(c"pages", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        let mut file = std::fs::File::from(fd);
        pages.iter().for_each(|byte| file.write_all(&page(*byte)).unwrap());
        OwnedFd::from(file)
    };
    let size = 700 * PAGE_BYTES as u64;
    let table = [(3, 1), (699, 0), (512, 1)];
    let frozen = FrozenRam::map(size, file(&[7, 8, 9]), &table).unwrap();
    let mut model = vec![0; size as usize];
    for (at, byte) in [(3, 8), (699, 7), (512, 8)] {
        model[at * PAGE_BYTES..(at + 1) * PAGE_BYTES].fill(byte);
    }
    assert_eq!(frozen_content(&frozen), model);
    assert!(matches!(frozen.locate(3), Some(PageLocation::Segment { offset_bytes: 4096, .. })));
    assert_eq!(frozen.locate(4), Some(PageLocation::Zero));
    // It lives like any other.
    let mut pair = Pair { ram: Ram::thaw(&frozen), model: model.clone() };
    let chance = &mut Chance::new(11);
    for round in 0..600 {
        pair.step(chance);
        if round % 100 == 0 {
            pair.ram.freeze();
            pair.ram.compact().unwrap();
        }
    }
    assert!(content(&pair.ram) == pair.model);
    assert!(frozen_content(&frozen) == model, "the file's side never changes");
    drop(frozen);
    assert!(content(&pair.ram) == pair.model);

    assert!(
        frozen_content(&FrozenRam::map(size, file(&[]), &[]).unwrap()) == vec![0; size as usize]
    );
    for table in [[(700, 0)], [(0, 3)], [(0, u32::MAX)]] {
        let error = FrozenRam::map(size, file(&[7, 8, 9]), &table).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{table:?}");
    }
    assert!(FrozenRam::map(0, file(&[]), &[]).is_err());
}

#[test]
fn writes_to_a_watched_range_are_noted() {
    let mut ram = Ram::new(4 * PAGE_BYTES as u64).unwrap();
    let mut check = |at: u64, bytes: &[u8], expected: Option<(u64, &[u8], &[u8])>| {
        let _ = ram.write(RAM_BASE + at, bytes);
        let expected = expected.map(|(at, old, new)| Overwritten {
            addr: RAM_BASE + at,
            old: old.to_vec(),
            new: new.to_vec(),
        });
        assert_eq!(ram.take_overwritten(), Vec::from_iter(expected));
        ram.watch(RAM_BASE + 4090..RAM_BASE + 4100);
    };
    check(4095, b"before there is a watch", None);
    check(4094, b"ab", Some((4094, b"\0b", b"ab")));
    check(4100, b"beside", None);
    check(4084, b"beside", None);
    check(4094, b"", None);
    check(4000, &[9; 200], Some((4090, b"\0\0\0\0abefor", &[9; 10])));
    check(4096, &[1; 4 * PAGE_BYTES], None);
}
