//! Stores into watched memory end the run behind them, whoever stores, and change nothing else.

use super::{WatchedStore, Writer};
use crate::devices::virtio::HostEvent;
use crate::instant::{Instant, Ticks};
use crate::io::{ConsoleId, Input};
use crate::machine::{Machine, Stop};
use crate::testing::asm::*;
use crate::testing::{
    CODE, DATA, Start, busy_program, config_with_devices, li_all, machine, machine_of,
};

const END: Instant = Instant::from_ns(1000);

/// Runs to [`END`] and returns what was stored, with the instruction before which the run stopped.
fn watched(machine: &mut Machine) -> Vec<(u64, WatchedStore)> {
    let mut found = Vec::new();
    while machine.run(END) == Stop::Watched {
        let at = machine.now().ns();
        found.extend(machine.take_watched().into_iter().map(|store| (at, store)));
    }
    found
}

#[test]
fn stores_of_instructions_are_told() {
    // The program behind registers a0 = DATA, a1 = 0x1111_2222_3333_4444; what is watched; the
    // expected stores: the index of the instruction, where, old and new.
    type Expected<'a> = &'a [(u64, u64, &'a [u8], &'a [u8])];
    let check = |what: &str, program: &[u32], range: (u64, u64), expected: Expected| {
        let setup = li_all(&[(A0, DATA), (A1, 0x1111_2222_3333_4444)]);
        let first = setup.len() as u64;
        let code = [&setup[..], program, &[SPIN]].concat();
        let mut machine = machine(1, Start::Machine, &code);
        machine.watch(range.0..range.1);
        let found = watched(&mut machine);
        let expected: Vec<_> = expected
            .iter()
            .map(|(index, addr, old, new)| {
                let by = Writer::Hart { hart: 0, pc: CODE + 4 * (first + index) };
                let (old, new) = (old.to_vec(), new.to_vec());
                (first + index + 1, WatchedStore { by, addr: *addr, old, new })
            })
            .collect();
        assert_eq!(found, expected, "{what}");
        assert_eq!(machine.now(), END);
    };
    const LOW: [u8; 4] = [0x44, 0x44, 0x33, 0x33];
    const HIGH: [u8; 4] = [0x22, 0x22, 0x11, 0x11];
    let whole = [LOW, HIGH].concat();
    check("one", &[NOP, sd(A1, A0, 0)], (DATA, DATA + 8), &[(1, DATA, &[0; 8], &whole)]);
    check("beside", &[sd(A1, A0, 8), sd(A1, A0, -8)], (DATA, DATA + 8), &[]);
    let part: Expected = &[(0, DATA + 4, &[0; 4], &HIGH)];
    check("in part", &[sd(A1, A0, 0)], (DATA + 4, DATA + 100), part);
    let twice: Expected = &[(0, DATA, &[0; 4], &LOW), (1, DATA, &LOW, &LOW)];
    check("the same again", &[sw(A1, A0, 0), sw(A1, A0, 0)], (DATA, DATA + 4), twice);
    let across: Expected = &[(0, DATA - 4, &[0; 4], &LOW), (0, DATA, &[0; 4], &HIGH)];
    check("across pages", &[sd(A1, A0, -4)], (DATA - 4096, DATA + 4096), across);
    let sum: Expected = &[(0, DATA, &[0; 8], &whole)];
    check("an AMO", &[amoadd(3, ZERO, A0, A1)], (DATA, DATA + 8), sum);
    check("nothing", &[sd(A1, A0, 0)], (DATA, DATA), &[]);
    check("no RAM", &[sd(A1, A0, 0)], (0, 4096), &[]);
}

#[test]
fn writes_of_devices_are_told() {
    let mut machine = machine(1, Start::Machine, &[SPIN]);
    machine.watch(DATA + 2..DATA + 6);
    machine.run(Instant::from_ns(10));
    machine.board.ram.write(DATA, b"abcdefgh").unwrap();
    machine.board.ram.write(DATA + 6, b"beside").unwrap();
    let by = Writer::Device;
    let store = WatchedStore { by, addr: DATA + 2, old: vec![0; 4], new: b"cdef".to_vec() };
    assert_eq!(watched(&mut machine), [(10, store)]);
    // From an input, through a real device: the busy program's terminals have no driver, so the
    // write is made by hand as a device makes it.
    machine.board.event(machine.now(), HostEvent::Input(b"x"), |_| true);
    assert_eq!(machine.run(END), Stop::Until);
}

#[test]
fn a_watch_changes_nothing() {
    for harts in [1, 3] {
        let config = config_with_devices(harts);
        let mut plain = machine_of(&config, Start::Supervisor, &busy_program());
        let mut other = machine_of(&config, Start::Supervisor, &busy_program());
        // Where the busy program stores, and where its code is.
        other.watch(CODE..CODE + (1 << 20) + 0x8000);
        let end = Instant::from_ns(200_000);
        let mut stops = 0;
        for machine in [&mut plain, &mut other] {
            for step in 1..=4 {
                let until = Instant::from_ns(end.ns() * step / 4) + Ticks::new(step);
                loop {
                    match machine.run(until) {
                        Stop::Watched => stops += machine.take_watched().len(),
                        stop => break assert_eq!(stop, Stop::Until),
                    }
                }
                let bytes = vec![step as u8];
                machine.input(Input::Console { console: ConsoleId::Serial, bytes });
            }
        }
        assert!(stops > 10, "{stops} stores");
        assert_eq!(other.digest(), plain.digest(), "{harts} harts");
        // Nor does its end.
        other.watch(0..0);
        let end = end + Ticks::from_ns(50_000);
        assert_eq!((plain.run(end), other.run(end)), (Stop::Until, Stop::Until));
        assert_eq!(other.digest(), plain.digest());
    }
}
