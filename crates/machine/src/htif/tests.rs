//! What programs ask for through the mailbox.

use super::Htif;
use crate::Stop;
use crate::instant::Instant;
use crate::testing::asm::*;
use crate::testing::{DATA, Start, li_all, machine, printed};

const TOHOST: u64 = DATA;
const FROMHOST: u64 = DATA + 64;
/// The block of a proxied call: number and three arguments.
const CALL: u64 = DATA + 0x1000;
const TEXT: u64 = DATA + 0x2000;

/// What a store of `command` to `tohost` leads to: how the run ended, what was printed, `tohost`,
/// `fromhost` and the call's result.
fn store(command: u64, call: [u64; 4]) -> (Stop, Vec<u8>, [u64; 3]) {
    let mut code = li_all(&[(A1, TOHOST), (A2, command)]);
    code.extend([sd(A2, A1, 0), addi(T0, T0, 1), SPIN]);
    let mut machine = machine(1, Start::Machine, &code);
    let ram = &mut machine.board.ram;
    ram.write(TEXT, b"text").unwrap();
    let call: Vec<u8> = call.into_iter().flat_map(u64::to_le_bytes).collect();
    ram.write(CALL, &call).unwrap();
    machine.htif = Some(Htif { tohost: TOHOST, fromhost: Some(FROMHOST) });
    machine.watch_htif();
    let stop = machine.run(Instant::from_ns(100));
    let over = stop != Stop::Until;
    assert_eq!(machine.harts()[0].reg(5), u64::from(!over), "stops behind the store");
    let words = [TOHOST, FROMHOST, CALL].map(|addr| machine.read_u64(addr).unwrap());
    (stop, printed(&machine.take_outputs()), words)
}

#[test]
fn exits_end_the_run() {
    let check = |command: u64, call: [u64; 4], code: u32| {
        let (stop, _, _) = store(command, call);
        assert_eq!(stop, Stop::PowerOff { code }, "{command:#x} {call:?}");
    };
    check(1, [0; 4], 0);
    check(3, [0; 4], 1);
    check(2 * 77 + 1, [0; 4], 77);
    check((1 << 47) + 1, [0; 4], u32::MAX); // too large a code is no success
    check(CALL, [93, 5, 0, 0], 5);
    check(CALL, [93, u64::MAX, 0, 0], u32::MAX);
}

#[test]
fn other_commands_are_answered() {
    const PRINT: u64 = 1 << 56 | 1 << 48;
    // The command, the call's block; what is printed, fromhost, the call's result.
    let check = |command: u64, call: [u64; 4], text: &[u8], reply: u64, result: u64| {
        let (stop, printed, words) = store(command, call);
        let found = (stop, printed.as_slice(), words);
        assert_eq!(found, (Stop::Until, text, [0, reply, result]), "{command:#x} {call:?}");
    };
    check(PRINT | u64::from(b'A'), [0; 4], b"A", PRINT, 0);
    check(1 << 56, [0; 4], b"", 1 << 56, 0);
    check(CALL, [64, 1, TEXT, 4], b"text", 1, 4);
    check(CALL, [64, 1, TEXT, 0], b"", 1, 0);
    // Outside of RAM, and wrapping around.
    check(CALL, [64, 1, 0x1000, 4], b"", 1, (-14_i64) as u64);
    check(CALL, [64, 1, u64::MAX, u64::MAX], b"", 1, (-14_i64) as u64);
    check(CALL, [1234, 1, 2, 3], b"", 1, (-38_i64) as u64);
    // A block outside of RAM.
    check(0x1000, [0; 4], b"", 1, 0);
    check(0xffff_ffff_fff8, [0; 4], b"", 1, 0);
}

#[test]
fn stores_beside_the_mailbox_do_nothing() {
    let mut code = li_all(&[(A1, TOHOST), (A2, 1)]);
    code.extend([sd(A2, A1, 8), sw(A2, A1, -8), sd(ZERO, A1, 0), addi(T0, T0, 1), SPIN]);
    let mut machine = machine(1, Start::Machine, &code);
    machine.htif = Some(Htif { tohost: TOHOST, fromhost: None });
    machine.watch_htif();
    assert_eq!(machine.run(Instant::from_ns(100)), Stop::Until);
    assert_eq!(machine.harts()[0].reg(5), 1);
}

#[test]
fn a_mailbox_outside_ram_is_harmless() {
    for tohost in [0, 0x1000_0000, u64::MAX - 3, DATA + 0x10_0000 - 4] {
        let mut machine = machine(1, Start::Machine, &[sd(A2, A1, 0), SPIN]);
        machine.harts[0].set_reg(11, DATA + 0x10_0000 - 8);
        machine.harts[0].set_reg(12, 1);
        machine.htif = Some(Htif { tohost, fromhost: Some(tohost) });
        machine.watch_htif();
        assert_eq!(machine.run(Instant::from_ns(100)), Stop::Until, "{tohost:#x}");
    }
}
