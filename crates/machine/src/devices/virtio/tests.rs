//! Transport and queues, with a terminal behind them.

use super::console::Console;
use super::rng::Rng;
use super::testing::{Driver, VERSION_1};
use super::transport::read_empty;
use super::{HostEvent, VirtioSlot};
use crate::devices::Persist;
use crate::io::{ConsoleId, Output};
use crate::memory::RAM_BASE;

fn console() -> Console {
    Console::new(ConsoleId::Hvc(0))
}

#[test]
fn registers_say_what_the_device_is() {
    let mut driver = Driver::power_on(console());
    let mut check = |register, expected| {
        assert_eq!(driver.get(register), expected, "register {register:#x}");
    };
    check(0x000, 0x7472_6976);
    check(0x004, 2);
    check(0x008, 3);
    check(0x00c, 0x554d_4551);
    check(0x034, 16);
    check(0x070, 0);
    check(0x0b0, 0xffff_ffff);
    check(0x0b4, 0xffff_ffff);
    check(0x0fc, 0);
    check(0x100, 80 | 25 << 16);
    check(0x104, 1);
    check(0x300, 0);
    assert_eq!(read_empty(0x000, 4), 0x7472_6976);
    assert_eq!(read_empty(0x008, 4), 0, "an empty slot has device id 0");
}

#[test]
fn negotiation_keeps_features_ok_only_for_offered_features() {
    let check = |wanted: u64, extra: Option<(u64, u64)>, agreed: bool| {
        let mut driver = Driver::power_on(console());
        driver.negotiate(0);
        for status in [0, 1, 3] {
            driver.set(0x070, status);
        }
        for (half, value) in [(0, wanted & 0xffff_ffff), (1, wanted >> 32)].into_iter().chain(extra)
        {
            driver.set(0x024, half);
            driver.set(0x020, value);
        }
        driver.set(0x070, 11);
        assert_eq!(driver.get(0x070) & 8 != 0, agreed, "features {wanted:#x}");
    };
    check(VERSION_1, None, true);
    check(VERSION_1 | 1, None, true);
    // As xv6 does: nothing from the high half.
    check(1, None, true);
    check(VERSION_1 | 1 << 1, None, false);
    check(VERSION_1 | 1 << 29, None, false);
    check(1 << 63, None, false);
    check(VERSION_1, Some((2, 0xffff_ffff)), true);
}

#[test]
fn a_driver_that_skips_negotiation_must_reset() {
    let mut driver = Driver::power_on(console());
    driver.set_up_queues();
    driver.set(0x070, 7);
    assert_eq!(driver.get(0x070) & 64, 64);
    assert!(driver.slot.needs_reset());
    driver.set(0x070, 0);
    assert_eq!(driver.get(0x070), 0);
    assert!(!driver.slot.needs_reset());
}

#[test]
fn queues_take_only_powers_of_two_up_to_their_size() {
    let check = |size: u64, ready: bool| {
        let mut driver = Driver::power_on(console());
        driver.negotiate(!0);
        driver.set(0x030, 0);
        driver.set(0x038, size);
        driver.set(0x044, 1);
        assert_eq!(driver.get(0x044) == 1, ready, "size {size}");
        assert_eq!(driver.slot.needs_reset(), !ready, "size {size}");
    };
    check(1, true);
    check(16, true);
    check(0, false);
    check(12, false);
    check(32, false);
    check(0x1_0010, false);
}

#[test]
fn malformed_queues_stop_the_device_until_reset() {
    let check = |what: &str, spoil: &dyn Fn(&mut Driver)| {
        let mut driver = Driver::start(console());
        spoil(&mut driver);
        driver.kick(1);
        assert!(driver.slot.needs_reset(), "{what}");
        assert_eq!(driver.take_interrupt() & 2, 2, "{what}: the driver is told");
        assert_eq!(driver.take_outputs(), [], "{what}");
        // It stays stopped...
        driver.send(1, &[b"x"], &[]);
        assert_eq!(driver.take_outputs(), [], "{what}");
        // ...until reset, and then works.
        assert!(driver.negotiate(!0));
        driver.set_up_queues();
        driver.set(0x070, 15);
        driver.send(1, &[b"x"], &[]);
        assert_eq!(driver.take_outputs().len(), 1, "{what}");
    };
    check("index too far ahead", &|d| d.set_available(1, 33));
    check("head not in the table", &|d| d.publish(1, 32));
    check("next not in the table", &|d| d.offer_raw(1, RAM_BASE, 1, 1, 32));
    check("a loop", &|d| d.offer_raw(1, RAM_BASE, 1, 1, 0));
    check("buffer below RAM", &|d| d.offer_raw(1, 0x1000, 1, 0, 0));
    check("buffer at the end of addresses", &|d| d.offer_raw(1, u64::MAX - 1, 100, 0, 0));
    check("too much at once", &|d| d.offer_raw(1, RAM_BASE, (1 << 20) + 1, 0, 0));
    check("empty indirect table", &|d| d.offer_raw(1, RAM_BASE, 0, 4, 0));
    check("ragged indirect table", &|d| d.offer_raw(1, RAM_BASE, 24, 4, 0));
    check("indirect and next", &|d| d.offer_raw(1, RAM_BASE, 16, 5, 0));
    check("nested indirect table", &|d| d.offer_indirect(1, &[(RAM_BASE, 16, 4, 0)]));
    check("indirect loop", &|d| d.offer_indirect(1, &[(RAM_BASE, 1, 1, 0)]));
    check("indirect next outside", &|d| d.offer_indirect(1, &[(RAM_BASE, 1, 1, 1)]));
    let wrong_order = [(RAM_BASE, 1, 1 | 2, 1), (RAM_BASE, 1, 0, 0)];
    check("readable behind writable", &|d| d.offer_indirect(1, &wrong_order));
}

#[test]
fn rings_outside_ram_stop_the_device() {
    for register in [0x084, 0x094, 0x0a4] {
        let mut driver = Driver::power_on(console());
        assert!(driver.negotiate(!0));
        driver.set_up_queues();
        driver.set(0x030, 1);
        driver.set(0x044, 0);
        driver.set(register, 0xffff_ffff);
        driver.set(0x044, 1);
        driver.set(0x070, 15);
        driver.send(1, &[b"x"], &[]);
        assert!(driver.slot.needs_reset(), "register {register:#x}");
    }
}

#[test]
fn indirect_chains_are_walked() {
    let mut driver = Driver::start(console());
    let (a, b) = (driver.allocate(3), driver.allocate(3));
    driver.ram.write(a, b"one").unwrap();
    driver.ram.write(b, b"two").unwrap();
    driver.offer_indirect(1, &[(b, 3, 1, 2), (0, 0, 0, 0), (a, 3, 0, 0)]);
    driver.kick(1);
    let bytes = b"twoone".to_vec();
    assert_eq!(driver.take_outputs(), [Output::Console { console: ConsoleId::Hvc(0), bytes }]);
}

#[test]
fn positions_wrap() {
    let mut driver = Driver::start(Rng::new(1));
    for round in 0..70_000_u32 {
        driver.send(0, &[], &[1]);
        assert_eq!(driver.collect(0).len(), 1, "round {round}");
        if round % 1000 == 0 {
            driver.recycle();
        }
    }
}

#[test]
fn interrupts_can_be_suppressed() {
    let mut driver = Driver::start(console());
    driver.send(1, &[b"x"], &[]);
    assert_eq!(driver.take_interrupt(), 1);
    driver.suppress_interrupts(1);
    driver.send(1, &[b"y"], &[]);
    assert_eq!(driver.take_interrupt(), 0);
    assert_eq!(driver.collect(1).len(), 2);
}

#[test]
fn a_config_change_is_one_interrupt_and_one_generation() {
    let mut driver = Driver::start(console());
    let before = driver.get(0x0fc);
    driver.event(HostEvent::Resize { columns: 132, rows: 50 });
    assert_eq!(driver.take_interrupt(), 2);
    assert_eq!(driver.get(0x0fc), before + 1);
    assert_eq!(driver.get(0x100), 132 | 50 << 16);
    driver.event(HostEvent::Resize { columns: 132, rows: 50 });
    assert_eq!(driver.take_interrupt(), 0, "the size is the same");
}

#[test]
fn a_state_of_another_device_is_refused() {
    let mut console = VirtioSlot::new(console());
    let rng = VirtioSlot::new(Rng::new(1)).save();
    let before = console.save();
    let error = console.restore(rng).unwrap_err();
    assert!(error.to_string().starts_with("saved state of virtio"), "{error}");
    assert!(console.save() == before, "and nothing has changed");
}
