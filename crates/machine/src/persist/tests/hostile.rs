//! Saved machines that somebody tampered with: refused, or run like any other.

use super::{Random, busy};
use crate::htif::Htif;
use crate::instant::{Instant, Ticks};
use crate::machine::HartRun;
use crate::persist::MachineState;
use crate::persist::fuzz;

#[test]
fn edited_states_never_panic() {
    let mut random = Random(2026);
    let mut taken = 0;
    for round in 0..800 {
        let edits: Vec<u8> = (0..5 * (1 + round % 4)).map(|_| random.next() as u8).collect();
        taken += u32::from(fuzz::restore_edited(&edits));
    }
    assert!(taken > 120, "only {taken} were taken at all");
}

#[test]
fn edited_parts_never_panic() {
    let mut random = Random(2027);
    let mut taken = 0;
    for round in 0..800 {
        let edits: Vec<u8> = (0..5 * (1 + round % 4)).map(|_| random.next() as u8).collect();
        taken += u32::from(fuzz::from_edited_parts(&edits));
    }
    assert!(taken > 120, "only {taken} were taken at all");
}

#[test]
fn raw_bytes_never_panic() {
    let (_, mut machine) = busy(2);
    machine.run(Instant::from_ns(10_000));
    let file = super::saved(&mut machine);
    let mut random = Random(7);
    for _ in 0..100 {
        let mut bytes = file.clone();
        bytes.truncate(random.next() as usize % bytes.len());
        for _ in 0..4 {
            let at = random.next() as usize % bytes.len().clamp(1, 4096);
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
        fuzz::restore(&bytes);
    }
    fuzz::restore(&file);
}

#[test]
fn extreme_states_run() {
    let check = |what: &str, spoil: fn(&mut MachineState)| {
        let (_, mut machine) = busy(2);
        machine.run(Instant::from_ns(10_000));
        let mut state = machine.state();
        spoil(&mut state);
        machine.set_state(state).unwrap_or_else(|error| panic!("{what}: {error}"));
        for _ in 0..3 {
            let until = machine.now() + Ticks::from_ns(30_000);
            machine.run(until);
            assert_eq!(machine.now(), until, "{what}");
            machine.take_outputs();
            machine.digest();
        }
    };
    check("unchanged", |_| {});
    check("at the end of time", |s| s.now = Instant::MAX);
    check("shortly before", |s| s.now = Instant::from_ticks(u64::MAX - 100_000));
    check("no turn left", |s| s.quantum_left = 0);
    check("nobody runs", |s| s.runs.fill(HartRun::Stopped));
    check("everybody waits", |s| s.runs.fill(HartRun::Waiting));
    check("everybody runs", |s| s.runs.fill(HartRun::Running));
    check("the other hart's turn", |s| s.current = 1);
    check("a mailbox at the end of RAM", |s| {
        s.htif = Some(Htif { tohost: 0x801f_fffc, fromhost: Some(u64::MAX) });
    });
    check("a mailbox nowhere", |s| {
        s.htif = Some(Htif { tohost: u64::MAX, fromhost: Some(0) });
    });
}
