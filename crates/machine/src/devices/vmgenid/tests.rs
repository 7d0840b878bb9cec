//! Ids and their interrupt.

use super::Vmgenid;
use crate::devices::{Device, DeviceContext, Persist};
use crate::instant::Instant;
use crate::memory::Ram;

fn read(device: &mut Vmgenid, offset: u64, size: u8) -> u64 {
    let (mut ram, mut outputs) = (Ram::new(4096).unwrap(), Vec::new());
    let mut cx = DeviceContext { ram: &mut ram, now: Instant::ZERO, outputs: &mut outputs };
    device.write(offset, size, 0x5555, &mut cx);
    device.read(offset, size, &mut cx)
}

#[test]
fn ids_are_read_in_any_piece_and_never_written() {
    let mut device = Vmgenid::new(7);
    let whole: Vec<u8> =
        [0, 8].iter().flat_map(|&at| read(&mut device, at, 8).to_le_bytes()).collect();
    for (at, byte) in (0..).zip(&whole) {
        assert_eq!(read(&mut device, at, 1), u64::from(*byte));
    }
    assert_eq!(read(&mut device, 12, 8), read(&mut device, 12, 4), "nothing is behind the id");
    assert_eq!(read(&mut device, 16, 8), 0);
    assert_eq!(read(&mut device, u64::MAX, 8), 0);
}

#[test]
fn a_new_identity_is_a_new_id_and_one_edge() {
    let mut device = Vmgenid::new(7);
    let before = read(&mut device, 0, 8);
    assert!(!device.take_edge());
    device.set_identity(8);
    assert_ne!(read(&mut device, 0, 8), before);
    let mut other = Vmgenid::new(0);
    other.restore(device.save()).unwrap();
    for device in [&mut device, &mut other] {
        assert!(device.take_edge());
        assert!(!device.take_edge());
        assert_eq!(read(device, 0, 8), read(&mut Vmgenid::new(8), 0, 8));
    }
}
