//! Harness that restores what was tampered with and lets it run.
//!
//! The fuzz target in `fuzz/` calls it with what a fuzzer finds, the unit tests with bytes from a
//! seeded generator. The property: refused with an error, or a machine that runs like any other.
//! No panic, no endless loop, no memory beyond the limits.

use std::sync::OnceLock;

use stackvm_riscv::Bus;

use super::Frozen;
use crate::config::MachineConfig;
use crate::digest::StateTrees;
use crate::instant::Ticks;
use crate::io::{ConsoleId, Input, NicId, PortId};
use crate::machine::{Machine, Stop};
use crate::testing::{Start, busy_program, config_with_devices, machine_of};

/// Instructions that a restored machine runs before and between being prodded.
const STEPS: u64 = 25_000;
/// Where the devices are, and how many bytes of each are prodded.
const REGISTERS: [(u64, u64); 8] = [
    (0x10_0000, 8),
    (0x10_1000, 0x20),
    (0x10_2000, 0x10),
    (0x200_0000, 0x10),
    (0x200_4000, 0x20),
    (0xc00_0000, 0x2000),
    (0x1000_0000, 8),
    (0x1000_1000, 0x7000),
];

/// What is saved, cut into state and the rest.
struct Sample {
    config: MachineConfig,
    state: Vec<u8>,
    rest: Vec<u8>,
    frozen: Frozen,
}

/// A machine in the middle of its work.
fn sample() -> &'static Sample {
    static SAMPLE: OnceLock<Sample> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let config = config_with_devices(2);
        let mut machine = machine_of(&config, Start::Supervisor, &busy_program());
        prod(&mut machine, b"prepare");
        assert_eq!(machine.off, None);
        machine.run(machine.now() + Ticks::from_ns(50_000));
        let frozen = machine.freeze();
        let mut saved = Vec::new();
        machine.save(&mut saved).expect("memory takes everything");
        let length = u32::from_le_bytes(saved[12..16].try_into().expect("four bytes")) as usize;
        let rest = saved.split_off(16 + length);
        Sample { config, state: saved.split_off(16), rest, frozen }
    })
}

/// Takes `bytes` as a saved machine and, if it is taken, runs it.
pub fn restore(bytes: &[u8]) {
    if let Ok(mut machine) = Machine::read(&sample().config, &mut &*bytes) {
        run(&mut machine, bytes);
    }
}

/// Takes `edits` as changes to the state of a frozen machine, puts it together from its parts
/// and, if it is taken, thaws and runs it; returns whether it was.
pub fn from_edited_parts(edits: &[u8]) -> bool {
    let sample = sample();
    let mut state = sample.state.clone();
    for edit in edits.chunks_exact(5) {
        let at = usize::from(u16::from_le_bytes([edit[1], edit[2]]));
        edit_state(&mut state, edit[0] % 13 + 3, at, edit[3], edit[4]);
    }
    let (config, frozen) = (&sample.config, &sample.frozen);
    let (ram, overlays) = (frozen.ram().clone(), frozen.overlays().to_vec());
    let parts = Frozen::from_parts(config, &state, ram, overlays);
    let Ok(frozen) = parts else { return false };
    let digest = frozen.digest(&mut StateTrees::new(config));
    let mut machine = Machine::thaw(&frozen);
    assert_eq!(machine.digest(), digest);
    run(&mut machine, edits);
    true
}

/// Takes `edits` as changes to a saved machine, restores it without looking at its digest and, if
/// it is taken, runs it; returns whether it was.
pub fn restore_edited(edits: &[u8]) -> bool {
    let sample = sample();
    let (mut state, mut rest) = (sample.state.clone(), sample.rest.clone());
    for edit in edits.chunks_exact(5) {
        let at = usize::from(u16::from_le_bytes([edit[1], edit[2]]));
        match edit[0] % 16 {
            // RAM and disks are mostly content; their numbers are what matters.
            0 => set(&mut rest, at * 8, edit[3]),
            1 => set(&mut rest, at % (1 << 13) / 4104 * 4104 + at % 8, edit[3]),
            2 => rest.truncate(at * 8),
            kind => edit_state(&mut state, kind, at, edit[3], edit[4]),
        }
    }
    let length = state.len() as u32;
    let head = [
        &super::file::MAGIC[..],
        &super::file::FORMAT_VERSION.to_le_bytes(),
        &length.to_le_bytes(),
    ];
    let bytes = [head.concat(), state, rest].concat();
    match Machine::read(&sample.config, &mut &*bytes) {
        Ok(mut machine) => {
            run(&mut machine, edits);
            true
        }
        Err(_) => false,
    }
}

fn set(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

/// Changes a number in the state. Numbers are of varying length there, seven bits to a byte.
fn edit_state(state: &mut Vec<u8>, kind: u8, at: usize, low: u8, high: u8) {
    let at = at % state.len().max(1);
    let end = state[at..].iter().position(|b| b & 0x80 == 0).map_or(state.len(), |n| at + n + 1);
    let number = match kind {
        3..6 => return set(state, at, low),
        6..8 => {
            let flipped = state.get(at).map_or(0, |byte| byte ^ 1 << (low & 7));
            return set(state, at, flipped);
        }
        8 => u64::MAX - u64::from(low),
        9 => u64::from(high) << (low & 63),
        10 => (1 << (low & 63)) - 1,
        11 => u64::from(u32::MAX) - u64::from(low),
        _ => crate::memory::RAM_BASE + (u64::from(high) << (low & 31)),
    };
    let mut digits = Vec::new();
    let mut left = number;
    while left > 0x7f {
        digits.push(left as u8 | 0x80);
        left >>= 7;
    }
    digits.push(left as u8);
    state.splice(at..end, digits);
}

/// Runs a machine that may be in any state, prods it, saves it.
fn run(machine: &mut Machine, bytes: &[u8]) {
    advance(machine);
    prod(machine, bytes);
    advance(machine);
    let digest = machine.digest();
    let frozen = machine.freeze();
    assert_eq!(Machine::thaw(&frozen).digest(), digest);
    advance(machine);
    let _ = machine.idle_until();
    let _ = machine.retired();
}

fn advance(machine: &mut Machine) {
    let until = machine.now() + Ticks::new(STEPS * u64::from(machine.rate_ticks()));
    while machine.run(until) == Stop::Outputs {
        machine.take_outputs();
    }
    machine.take_outputs();
}

/// Accesses registers of all devices and has something of every kind come in.
fn prod(machine: &mut Machine, bytes: &[u8]) {
    let mut state = 0u64;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        for &byte in bytes.iter().take(64) {
            state = (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        state ^ state >> 29
    };
    for round in 0..64u64 {
        let number = next();
        let size = 1u8 << (number & 3);
        // The finisher, the first, would end it all.
        let (base, len) = REGISTERS[(number >> 8) as usize % (REGISTERS.len() - 1) + 1];
        let addr = (base + (number >> 16) % len) & !u64::from(size - 1);
        let ticks = machine.now().ticks();
        let _ = machine.board.load(addr, size, ticks);
        let _ = machine.board.store(addr, size, next() >> (number & 56), ticks);
        machine.forget_written();
        if round % 16 == 0 {
            let rate = u64::from(machine.rate_ticks());
            machine.run(machine.now() + Ticks::new(100 * rate));
        }
    }
    let bytes = bytes[..bytes.len().min(300)].to_vec();
    for console in [ConsoleId::Serial, ConsoleId::Hvc(0), ConsoleId::Hvc(9)] {
        machine.input(Input::Console { console, bytes: bytes.clone() });
        machine.input(Input::Resize { console, columns: 80, rows: 24 });
    }
    for port in [PortId(0), PortId(1), PortId(30)] {
        machine.input(Input::PortOpen { port });
        machine.input(Input::Port { port, bytes: bytes.clone() });
        machine.input(Input::PortClose { port });
    }
    machine.input(Input::Frame { nic: NicId(0), bytes });
    machine.input(Input::Rate { ticks: 64 });
    machine.input(Input::Identity { seed: next(), rtc_ns: next() });
}
