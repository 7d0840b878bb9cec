//! The device through a driver's eyes.

use super::Net;
use crate::config::limits::{FRAME_BYTES_MAX, PENDING_FRAMES_MAX};
use crate::devices::Validate;
use crate::devices::virtio::testing::{Driver, VERSION_1};
use crate::devices::virtio::{HostEvent, VirtioDevice};
use crate::io::{NicId, Output};

const NIC: NicId = NicId(2);

fn start(features: u64) -> Driver {
    let mut driver = Driver::power_on(Net::new(NIC, 1));
    assert!(driver.negotiate(features));
    driver.set_up_queues();
    driver.set(0x070, 15);
    driver
}

#[test]
fn frames_go_both_ways_behind_a_header() {
    for (features, header_bytes) in [(!0, 12), (!VERSION_1, 10)] {
        let mut driver = start(features);
        let header = vec![0xff; header_bytes];
        driver.send(1, &[&header, b"frame ", b"out"], &[]);
        let bytes = b"frame out".to_vec();
        assert_eq!(driver.take_outputs(), [Output::Frame { nic: NIC, bytes }]);
        driver.send(0, &[], &[2000]);
        driver.event(HostEvent::Frame(b"frame in"));
        let done = driver.collect(0);
        let (header, frame) = done[0].bytes[..done[0].written as usize].split_at(header_bytes);
        assert_eq!(frame, b"frame in");
        let mut expected = [0; 12];
        expected[10] = 1;
        assert_eq!(header, &expected[..header_bytes]);
    }
}

#[test]
fn frames_of_impossible_length_are_lost() {
    let check = |len: usize, sent: usize| {
        let mut driver = start(!0);
        driver.send(1, &[&vec![0; 12 + len]], &[]);
        assert_eq!(driver.take_outputs().len(), sent, "{len} bytes");
        assert_eq!(driver.collect(1).len(), 1, "{len} bytes");
        driver.send(0, &[], &[100_000]);
        driver.event(HostEvent::Frame(&vec![0; len]));
        assert_eq!(driver.collect(0).len(), sent, "{len} bytes");
    };
    check(0, 0);
    check(1, 1);
    check(FRAME_BYTES_MAX, 1);
    check(FRAME_BYTES_MAX + 1, 0);
}

#[test]
fn a_frame_too_long_for_the_buffer_is_lost_and_the_buffer_is_not() {
    let mut driver = start(!0);
    driver.send(0, &[], &[12 + 4]);
    driver.event(HostEvent::Frame(b"long frame"));
    assert_eq!(driver.collect(0), []);
    driver.event(HostEvent::Frame(b"four"));
    assert_eq!(driver.collect(0)[0].bytes[12..], *b"four");
}

#[test]
fn frames_wait_up_to_a_limit() {
    let mut driver = start(!0);
    for n in 0..PENDING_FRAMES_MAX + 10 {
        driver.event(HostEvent::Frame(&n.to_le_bytes()));
    }
    let VirtioDevice::Net(net) = driver.slot.device() else { unreachable!() };
    let mut state = net.state.clone();
    assert_eq!(state.pending.len(), PENDING_FRAMES_MAX);
    assert_eq!(state.validate(), Ok(()));
    state.pending.push_back(vec![0]);
    assert!(state.validate().is_err());
    let mut other = driver.restored(Net::new(NIC, 1));
    other.send(0, &[], &[100]);
    assert_eq!(other.collect(0)[0].bytes[12], 0, "the oldest comes first");
}

#[test]
fn a_short_header_is_malformed() {
    let mut driver = start(!0);
    driver.send(1, &[&[0; 11]], &[]);
    assert!(driver.slot.needs_reset());
}

#[test]
fn addresses_come_from_seed_and_number() {
    let mut seen = std::collections::BTreeSet::new();
    for (nic, seed) in [(0, 1), (1, 1), (0, 2), (1, 2)] {
        let mac = Net::new(NicId(nic), seed).mac();
        assert_eq!(mac[0] & 3, 2, "local and unicast");
        assert_eq!(mac, Net::new(NicId(nic), seed).mac());
        assert!(seen.insert(mac));
    }
}

#[test]
fn a_new_identity_is_a_new_address_and_an_interrupt() {
    let mut driver = start(!0);
    let before = driver.get(0x100);
    driver.event(HostEvent::Identity { seed: 2 });
    assert_eq!(driver.take_interrupt(), 2);
    assert_ne!(driver.get(0x100), before);
    let mac = Net::new(NIC, 2).mac();
    assert_eq!(driver.get(0x100).to_le_bytes()[..4], mac[..4]);
    assert_eq!(driver.get(0x104) >> 16, 1, "the link is up");
}
