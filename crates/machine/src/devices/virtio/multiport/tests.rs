//! The device through a driver's eyes.

use super::Multiport;
use crate::config::limits::PENDING_INPUT_BYTES_MAX;
use crate::devices::virtio::testing::Driver;
use crate::devices::virtio::{HostEvent, VirtioDevice};
use crate::io::{Output, PortId};

const DEVICE_READY: u16 = 0;
const DEVICE_ADD: u16 = 1;
const PORT_READY: u16 = 3;
const PORT_OPEN: u16 = 6;
const PORT_NAME: u16 = 7;

const P0: PortId = PortId(0);
const P1: PortId = PortId(1);

fn ports() -> Multiport {
    Multiport::new(vec!["agent".into(), "exec.in".into()])
}

fn control(driver: &mut Driver, port: u32, event: u16, value: u16) {
    let mut message = port.to_le_bytes().to_vec();
    message.extend(event.to_le_bytes());
    message.extend(value.to_le_bytes());
    driver.send(3, &[&message], &[]);
    driver.collect(3);
}

/// Control messages to the guest: port, event, value, name.
fn told(driver: &mut Driver) -> Vec<(u32, u16, u16, String)> {
    let mut messages = Vec::new();
    for done in driver.collect(2) {
        let (header, name) = done.bytes[..done.written as usize].split_at(8);
        let half = |at| u16::from_le_bytes([header[at], header[at + 1]]);
        let port = u32::from_le_bytes(header[..4].try_into().unwrap());
        messages.push((port, half(4), half(6), String::from_utf8(name.to_vec()).unwrap()));
        driver.send(2, &[], &[64]);
    }
    messages
}

/// A driver that has done Linux's handshake for both ports.
fn ready() -> Driver {
    let mut driver = Driver::start(ports());
    for _ in 0..16 {
        driver.send(2, &[], &[64]);
    }
    control(&mut driver, u32::MAX, DEVICE_READY, 1);
    for port in 0..2 {
        control(&mut driver, port, PORT_READY, 1);
    }
    told(&mut driver);
    driver
}

fn received(driver: &mut Driver, queue: usize) -> Vec<u8> {
    let done = driver.collect(queue);
    done.iter().flat_map(|done| done.bytes[..done.written as usize].to_vec()).collect()
}

fn message(port: u32, event: u16, value: u16, name: &str) -> (u32, u16, u16, String) {
    (port, event, value, name.to_owned())
}

#[test]
fn the_handshake_names_every_port() {
    let mut driver = Driver::start(ports());
    assert_eq!(driver.get(0x104), 2, "max_nr_ports");
    driver.event(HostEvent::PortOpen(P1));
    for _ in 0..8 {
        driver.send(2, &[], &[64]);
    }
    assert_eq!(told(&mut driver), []);
    control(&mut driver, u32::MAX, DEVICE_READY, 1);
    let added = [message(0, DEVICE_ADD, 1, ""), message(1, DEVICE_ADD, 1, "")];
    assert_eq!(told(&mut driver), added);
    control(&mut driver, 0, PORT_READY, 1);
    assert_eq!(told(&mut driver), [message(0, PORT_NAME, 1, "agent")]);
    control(&mut driver, 1, PORT_READY, 1);
    let named = [message(1, PORT_NAME, 1, "exec.in"), message(1, PORT_OPEN, 1, "")];
    assert_eq!(told(&mut driver), named);
}

#[test]
fn there_is_a_pair_of_queues_per_port_and_one_for_control() {
    for (count, queues) in [(1, 4), (2, 6), (25, 52), (31, 64)] {
        let names = (0..count).map(|n| n.to_string()).collect();
        let mut driver = Driver::power_on(Multiport::new(names));
        let sizes = (0..70).map(|queue| {
            driver.set(0x030, queue);
            driver.get(0x034)
        });
        assert_eq!(sizes.filter(|&size| size > 0).count(), queues);
    }
}

#[test]
fn both_ends_open_and_close() {
    let mut driver = ready();
    driver.event(HostEvent::PortOpen(P0));
    assert_eq!(told(&mut driver), [message(0, PORT_OPEN, 1, "")]);
    driver.event(HostEvent::PortOpen(P0));
    assert_eq!(told(&mut driver), [], "it is open already");
    control(&mut driver, 0, PORT_OPEN, 1);
    assert_eq!(driver.take_outputs(), [Output::PortOpened { port: P0 }]);
    control(&mut driver, 0, PORT_OPEN, 0);
    assert_eq!(driver.take_outputs(), [Output::PortClosed { port: P0 }]);
    driver.event(HostEvent::PortClose(P0));
    assert_eq!(told(&mut driver), [message(0, PORT_OPEN, 0, "")]);
}

#[test]
fn the_guest_writes_to_ports() {
    for (port, queue) in [(P0, 1), (P1, 5)] {
        let mut driver = ready();
        driver.offer(queue, &[b"he"], &[]);
        driver.offer(queue, &[b"llo"], &[]);
        driver.kick(queue);
        let bytes = b"hello".to_vec();
        assert_eq!(driver.take_outputs(), [Output::Port { port, bytes }]);
        assert_eq!(driver.collect(queue).len(), 2);
    }
}

#[test]
fn data_waits_for_a_reader_and_end_of_file_for_data() {
    let mut driver = ready();
    driver.send(4, &[], &[2]);
    driver.event(HostEvent::PortOpen(P1));
    driver.event(HostEvent::PortInput(P1, b"data"));
    driver.event(HostEvent::PortClose(P1));
    assert_eq!(told(&mut driver), [message(1, PORT_OPEN, 1, "")]);
    assert_eq!(received(&mut driver, 4), b"", "nobody in the guest reads");
    control(&mut driver, 1, PORT_OPEN, 1);
    assert_eq!(received(&mut driver, 4), b"da");
    assert_eq!(told(&mut driver), [], "data is left");
    let mut other = driver.restored(ports());
    for driver in [&mut driver, &mut other] {
        driver.send(4, &[], &[100]);
        assert_eq!(received(driver, 4), b"ta");
        assert_eq!(told(driver), [message(1, PORT_OPEN, 0, "")]);
    }
}

#[test]
fn what_a_reader_leaves_is_not_for_the_next() {
    let mut driver = ready();
    driver.event(HostEvent::PortOpen(P0));
    control(&mut driver, 0, PORT_OPEN, 1);
    driver.event(HostEvent::PortInput(P0, b"old"));
    driver.event(HostEvent::PortClose(P0));
    told(&mut driver);
    control(&mut driver, 0, PORT_OPEN, 0);
    assert_eq!(told(&mut driver), [message(0, PORT_OPEN, 0, "")], "the close was behind the data");
    driver.event(HostEvent::PortOpen(P0));
    driver.event(HostEvent::PortInput(P0, b"new"));
    control(&mut driver, 0, PORT_OPEN, 1);
    driver.send(0, &[], &[100]);
    assert_eq!(received(&mut driver, 0), b"new");
}

#[test]
fn a_reset_closes_the_guests_ends_only() {
    let mut driver = ready();
    driver.event(HostEvent::PortOpen(P0));
    control(&mut driver, 0, PORT_OPEN, 1);
    driver.take_outputs();
    driver.set(0x070, 0);
    assert_eq!(driver.take_outputs(), [Output::PortClosed { port: P0 }]);
    assert!(driver.negotiate(!0));
    driver.set_up_queues();
    driver.set(0x070, 15);
    for _ in 0..8 {
        driver.send(2, &[], &[64]);
    }
    control(&mut driver, 0, PORT_READY, 1);
    let messages = [message(0, PORT_NAME, 1, "agent"), message(0, PORT_OPEN, 1, "")];
    assert_eq!(told(&mut driver), messages);
}

#[test]
fn everything_is_bounded() {
    let mut driver = ready();
    driver.event(HostEvent::PortOpen(P0));
    driver.event(HostEvent::PortInput(P0, &vec![0; PENDING_INPUT_BYTES_MAX + 1]));
    let VirtioDevice::Multiport(device) = driver.slot.device() else { unreachable!() };
    assert_eq!(device.room_bytes(P0), 0);
    assert_eq!(device.room_bytes(P1), PENDING_INPUT_BYTES_MAX);
    assert_eq!(device.room_bytes(PortId(2)), 0);
    for _ in 0..10_000 {
        driver.event(HostEvent::PortClose(P0));
        driver.event(HostEvent::PortOpen(P0));
    }
    let VirtioDevice::Multiport(device) = driver.slot.device() else { unreachable!() };
    assert!(device.state.ports[0].items.len() <= 4);
    // A driver that asks and never listens.
    let mut driver = Driver::start(ports());
    for _ in 0..2000 {
        control(&mut driver, 0, DEVICE_READY, 1);
        driver.recycle();
    }
    assert!(driver.slot.needs_reset());
}

#[test]
fn control_messages_about_absent_ports_are_ignored() {
    let mut driver = ready();
    for (port, event) in [(2, PORT_READY), (u32::MAX, PORT_OPEN), (0, 99)] {
        control(&mut driver, port, event, 1);
        assert_eq!(told(&mut driver), []);
    }
    assert_eq!(driver.take_outputs(), []);
    assert!(!driver.slot.needs_reset());
}
