//! The device through a driver's eyes.

use super::Console;
use crate::config::limits::PENDING_INPUT_BYTES_MAX;
use crate::devices::virtio::testing::Driver;
use crate::devices::virtio::{HostEvent, VirtioDevice};
use crate::devices::{Persist, Validate};
use crate::io::{ConsoleId, Output};

const ID: ConsoleId = ConsoleId::Hvc(3);

fn received(driver: &mut Driver) -> Vec<u8> {
    let done = driver.collect(0);
    done.iter().flat_map(|done| done.bytes[..done.written as usize].to_vec()).collect()
}

#[test]
fn what_the_guest_writes_is_one_output() {
    let check = |chains: &[&[&[u8]]], expected: &[u8]| {
        let mut driver = Driver::start(Console::new(ID));
        for chain in chains {
            driver.offer(1, chain, &[]);
        }
        driver.kick(1);
        assert_eq!(driver.collect(1).len(), chains.len());
        let expected = Output::Console { console: ID, bytes: expected.to_vec() };
        assert_eq!(driver.take_outputs(), [expected]);
    };
    check(&[&[b"hello"]], b"hello");
    check(&[&[b"hel", b"lo"]], b"hello");
    check(&[&[b"he"], &[b"l", b"lo"]], b"hello");
    check(&[&[&[7; 20_000]]], &[7; 20_000]);
}

#[test]
fn input_goes_into_the_buffers_there_are() {
    let check = |buffers: &[&[u32]], input: &[u8], expected: &[u8]| {
        let mut driver = Driver::start(Console::new(ID));
        for buffer in buffers {
            driver.send(0, &[], buffer);
        }
        driver.event(HostEvent::Input(input));
        assert_eq!(received(&mut driver), expected);
        // The rest comes when there is room.
        driver.send(0, &[], &[1000]);
        assert_eq!(received(&mut driver), input[expected.len()..]);
    };
    check(&[], b"hello", b"");
    check(&[&[100]], b"hello", b"hello");
    check(&[&[2]], b"hello", b"he");
    check(&[&[2], &[1, 1]], b"hello", b"hell");
}

#[test]
fn input_before_the_driver_waits_for_it() {
    let mut driver = Driver::power_on(Console::new(ID));
    driver.event(HostEvent::Input(b"early"));
    assert!(driver.negotiate(!0));
    driver.set_up_queues();
    // Buffers are offered before the device is live, and the driver never notifies.
    driver.offer(0, &[], &[100]);
    driver.set(0x070, 15);
    assert_eq!(received(&mut driver), b"early");
    assert_eq!(driver.take_interrupt(), 1);
}

#[test]
fn input_is_bounded() {
    let mut driver = Driver::start(Console::new(ID));
    let much = vec![1; PENDING_INPUT_BYTES_MAX - 1];
    driver.event(HostEvent::Input(&much));
    driver.event(HostEvent::Input(b"abc"));
    let VirtioDevice::Console(console) = driver.slot.device() else { unreachable!() };
    assert_eq!(console.room_bytes(), 0);
    let mut state = console.save();
    assert_eq!(state.validate(), Ok(()));
    state.pending.push_back(1);
    assert!(state.validate().is_err());
}

#[test]
fn restore_keeps_what_was_typed() {
    let mut driver = Driver::start(Console::new(ID));
    driver.event(HostEvent::Input(b"typed"));
    driver.event(HostEvent::Resize { columns: 100, rows: 40 });
    let mut other = driver.restored(Console::new(ID));
    other.send(0, &[], &[100]);
    assert_eq!(received(&mut other), b"typed");
    assert_eq!(other.get(0x100), 100 | 40 << 16);
}
