//! The device through a driver's eyes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Blk;
use super::persist::Operation;
use crate::config::DiskConfig;
use crate::devices::disk::{BlockSource, MemorySource};
use crate::devices::virtio::VirtioDevice;
use crate::devices::virtio::testing::{Done, Driver};
use crate::devices::{Device, Persist, Validate};
use crate::instant::{Instant, Ticks};

const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;

const OK: u8 = 0;
const IO_ERROR: u8 = 1;
const UNSUPPORTED: u8 = 2;

/// 64 sectors, each filled with its number.
fn content() -> Vec<u8> {
    (0..64 * 512).map(|at| (at / 512) as u8).collect()
}

fn config() -> DiskConfig {
    let source = Arc::new(MemorySource::new(content()));
    DiskConfig { source, read_only: false, serial: "S123".into() }
}

fn start() -> Driver {
    Driver::start(Blk::new(&config()))
}

fn header(kind: u32, sector: u64) -> Vec<u8> {
    let mut header = kind.to_le_bytes().to_vec();
    header.extend([0; 4]);
    header.extend(sector.to_le_bytes());
    header
}

/// Makes one request and waits for it: data and status.
fn request(driver: &mut Driver, kind: u32, sector: u64, data: &[u8], room: u32) -> (Vec<u8>, u8) {
    driver.send(0, &[&header(kind, sector), data], &[room, 1]);
    driver.pass(Ticks::from_ns(1_000_000));
    let done = driver.collect(0);
    assert_eq!(done.len(), 1);
    let Done { written, mut bytes, .. } = done[0].clone();
    let status = bytes.pop().unwrap();
    bytes.truncate(written as usize - 1);
    (bytes, status)
}

#[test]
fn requests_do_what_they_say() {
    let check = |kind, sector, data: &[u8], room, bytes: &[u8], status| {
        let mut driver = start();
        let answer = request(&mut driver, kind, sector, data, room);
        assert_eq!(answer, (bytes.to_vec(), status), "type {kind} at {sector}");
        assert!(!driver.slot.needs_reset());
        assert_eq!(driver.take_interrupt(), 1);
    };
    check(IN, 5, b"", 512, &[5; 512], OK);
    check(IN, 60, b"", 2048, &content()[60 * 512..], OK);
    check(IN, 60, b"", 2560, b"", IO_ERROR);
    check(IN, 64, b"", 512, b"", IO_ERROR);
    check(IN, u64::MAX, b"", 512, b"", IO_ERROR);
    check(IN, 0, b"", 100, b"", IO_ERROR);
    check(OUT, 64, &[1; 512], 0, b"", IO_ERROR);
    check(OUT, 0, &[1; 100], 0, b"", IO_ERROR);
    check(OUT, 3, &[1; 512], 0, b"", OK);
    check(FLUSH, 0, b"", 0, b"", OK);
    check(GET_ID, 0, b"", 20, b"S123\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", OK);
    check(GET_ID, 0, b"", 3, b"S12", OK);
    check(11, 0, b"", 0, b"", UNSUPPORTED);
}

#[test]
fn what_is_written_is_read() {
    let mut driver = start();
    let mut model = content();
    for (sector, len) in [(1, 1), (7, 2), (0, 17), (63, 1), (8, 8), (15, 1)] {
        let data = vec![0x80 + sector as u8; len * 512];
        assert_eq!(request(&mut driver, OUT, sector, &data, 0).1, OK);
        let at = sector as usize * 512;
        model[at..at + data.len()].copy_from_slice(&data);
        assert_eq!(request(&mut driver, IN, 0, b"", 64 * 512), (model.clone(), OK));
    }
}

#[test]
fn a_read_only_disk_says_so() {
    let mut driver = Driver::start(Blk::new(&DiskConfig { read_only: true, ..config() }));
    driver.set(0x014, 0);
    assert_eq!(driver.get(0x010) & 1 << 5, 1 << 5);
    assert_eq!(request(&mut driver, OUT, 0, &[1; 512], 0), (vec![], IO_ERROR));
    assert_eq!(request(&mut driver, IN, 0, b"", 512), (vec![0; 512], OK));
}

#[test]
fn configuration_tells_size() {
    let mut driver = start();
    assert_eq!((driver.get(0x100), driver.get(0x104)), (64, 0));
    assert_eq!(driver.get(0x114), 512);
}

#[test]
fn requests_take_their_time_and_turn() {
    let mut driver = start();
    driver.offer(0, &[&header(IN, 0)], &[4096, 1]);
    driver.offer(0, &[&header(IN, 1)], &[512, 1]);
    driver.kick(0);
    let first = Instant::from_ns(20_000 + 2048);
    let second = first + Ticks::from_ns(20_000 + 256);
    assert_eq!(driver.slot.next_deadline(), Some(first));
    driver.pass(Ticks::from_ns(20_000 + 2047));
    assert_eq!(driver.collect(0), [], "too early");
    driver.pass(Ticks::from_ns(1));
    assert_eq!(driver.collect(0).len(), 1);
    assert_eq!(driver.slot.next_deadline(), Some(second));
    driver.pass(Ticks::from_ns(30_000));
    assert_eq!(driver.collect(0).len(), 1);
    assert_eq!(driver.slot.next_deadline(), None);
}

#[test]
fn data_moves_when_a_request_completes() {
    let mut driver = start();
    let buffer = driver.allocate(512);
    let request = driver.allocate(17);
    driver.ram.write(request, &header(OUT, 2)).unwrap();
    let status = (request + 16, 1, 2, 0);
    driver.offer_indirect(0, &[(request, 16, 1, 1), (buffer, 512, 1, 2), status]);
    driver.kick(0);
    driver.ram.write(buffer, &[9; 512]).unwrap();
    driver.pass(Ticks::from_ns(100_000));
    let mut sector = [0; 512];
    driver.slot.blk().unwrap().disk().read(1024, &mut sector).unwrap();
    assert_eq!(sector, [9; 512]);
}

#[test]
fn a_restored_disk_finishes_what_was_in_flight() {
    let mut driver = start();
    driver.offer(0, &[&header(OUT, 3), &[7; 1024]], &[1]);
    driver.offer(0, &[&header(IN, 2)], &[2048, 1]);
    driver.kick(0);
    driver.pass(Ticks::from_ns(25_000));
    assert_eq!(driver.collect(0).len(), 1, "one of two is done");
    let mut blk = Blk::new(&config());
    let overlay = driver.slot.blk().unwrap().disk().overlay().clone();
    blk.disk_mut().set_overlay(overlay).unwrap();
    let mut other = driver.restored(blk);
    for driver in [&mut driver, &mut other] {
        driver.pass(Ticks::from_ns(100_000));
        let done = driver.collect(0);
        assert_eq!(done[0].bytes[..512], [2; 512]);
        assert_eq!(done[0].bytes[512..1536], [7; 1024]);
        assert_eq!(done[0].bytes[1536..], [&[5; 512][..], &[OK]].concat());
    }
    assert!(driver.ram_bytes() == other.ram_bytes());
}

/// A source whose storage can be unplugged.
#[derive(Debug)]
struct Flaky {
    broken: Arc<AtomicBool>,
}

impl BlockSource for Flaky {
    fn size_bytes(&self) -> u64 {
        64 * 512
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if self.broken.load(Ordering::Relaxed) {
            return Err(io::Error::other("unplugged"));
        }
        MemorySource::new(content()).read_at(offset, buf)
    }
}

#[test]
fn unreadable_storage_stops_the_machine_and_not_the_guest() {
    for (kind, data, room) in [(IN, &[][..], 512), (OUT, &[7; 512][..], 0)] {
        let broken = Arc::new(AtomicBool::new(true));
        let source = Arc::new(Flaky { broken: broken.clone() });
        let mut driver = Driver::start(Blk::new(&DiskConfig { source, ..config() }));
        driver.send(0, &[&header(kind, 1), data], &[room, 1]);
        driver.now = driver.slot.next_deadline().unwrap();
        let (ram, at) = (driver.ram_bytes(), driver.now);
        for _ in 0..2 {
            let stall = driver.fire().unwrap_err();
            assert!(stall.reason.contains("sector 1: unplugged"), "{stall}");
            assert_eq!(driver.slot.next_deadline(), Some(at));
            assert!(!driver.slot.irq());
            assert!(driver.ram_bytes() == ram, "the guest saw something");
        }
        broken.store(false, Ordering::Relaxed);
        driver.fire().unwrap();
        let done = driver.collect(0);
        assert_eq!(done[0].bytes.last(), Some(&OK));
    }
}

#[test]
fn a_reset_forgets_requests() {
    let mut driver = start();
    driver.send(0, &[&header(OUT, 3), &[7; 512]], &[1]);
    driver.set(0x070, 0);
    assert_eq!(driver.slot.next_deadline(), None);
    assert_eq!(driver.slot.blk().unwrap().disk().overlay().iter().count(), 0);
}

#[test]
fn headers_must_be_whole() {
    let check = |readable: &[u8], writable: &[u32]| {
        let mut driver = start();
        driver.send(0, &[readable], writable);
        assert!(driver.slot.needs_reset());
    };
    check(&[0; 15], &[1]);
    check(&[0; 16], &[]);
}

#[test]
fn the_same_buffers_again_and_again_are_refused() {
    let mut driver = start();
    let head = driver.send(0, &[&header(FLUSH, 0)], &[1]);
    for _ in 0..300 {
        driver.publish(0, head);
        driver.kick(0);
    }
    assert!(driver.slot.needs_reset());
}

#[test]
fn hostile_requests_in_a_saved_state_are_refused_or_harmless() {
    let state = |operation| {
        let mut driver = start();
        driver.send(0, &[&header(FLUSH, 0)], &[1]);
        let blk = driver.slot.blk().unwrap();
        let mut state = blk.state.clone();
        state.requests[0].operation = operation;
        state
    };
    let huge = state(Operation::Read { sector: 0, bytes: u32::MAX });
    assert!(huge.validate().is_err());
    let mut many = state(Operation::Flush);
    many.requests = std::iter::repeat_n(many.requests[0].clone(), 257).collect();
    assert!(many.validate().is_err());
    // Off the disk: accepted, and an error for the guest.
    let off = state(Operation::Write { sector: u64::MAX, bytes: 512 });
    assert_eq!(off.validate(), Ok(()));
    let mut driver = start();
    driver.send(0, &[&header(FLUSH, 0)], &[1]);
    let VirtioDevice::Blk(blk) = driver.slot.device_mut() else { unreachable!() };
    blk.restore(off).unwrap();
    driver.pass(Ticks::from_ns(100_000));
    assert_eq!(driver.collect(0)[0].bytes, [IO_ERROR]);
}
