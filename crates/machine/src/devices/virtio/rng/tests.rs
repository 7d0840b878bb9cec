//! The device through a driver's eyes.

use super::Rng;
use crate::devices::Validate;
use crate::devices::virtio::HostEvent;
use crate::devices::virtio::testing::Driver;

/// Bytes drawn with buffers of these lengths, one after another.
fn draw(driver: &mut Driver, lengths: &[u32]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for &len in lengths {
        driver.send(0, &[], &[len]);
        let done = driver.collect(0);
        assert_eq!(done[0].written, len.min(4096));
        bytes.extend(&done[0].bytes[..done[0].written as usize]);
    }
    bytes
}

#[test]
fn the_stream_depends_on_the_seed_and_not_on_the_pieces() {
    let whole = draw(&mut Driver::start(Rng::new(1)), &[200]);
    assert_eq!(draw(&mut Driver::start(Rng::new(1)), &[64, 1, 100, 35]), whole);
    assert_ne!(draw(&mut Driver::start(Rng::new(2)), &[200]), whole);
    assert_ne!(whole[..100], whole[100..]);
}

#[test]
fn long_requests_are_cut() {
    assert_eq!(draw(&mut Driver::start(Rng::new(1)), &[10_000]).len(), 4096);
}

#[test]
fn a_new_identity_is_a_new_stream() {
    let mut driver = Driver::start(Rng::new(1));
    draw(&mut driver, &[64]);
    driver.event(HostEvent::Identity { seed: 9 });
    assert_eq!(draw(&mut driver, &[64]), draw(&mut Driver::start(Rng::new(9)), &[64]));
}

#[test]
fn the_stream_goes_on_after_restore() {
    let mut driver = Driver::start(Rng::new(1));
    draw(&mut driver, &[64]);
    let mut other = driver.restored(Rng::new(5));
    assert_eq!(draw(&mut other, &[64]), draw(&mut driver, &[64]));
}

#[test]
fn absurd_positions_are_refused() {
    let mut rng = Rng::new(1);
    assert_eq!(rng.state.validate(), Ok(()));
    rng.state.position = u64::MAX;
    assert!(rng.state.validate().is_err());
}
