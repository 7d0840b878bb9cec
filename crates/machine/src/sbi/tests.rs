//! What each call answers and does.

use super::extension::{BASE, DBCN, HSM, IPI, RFENCE, SRST, TIME};
use super::{CONSOLE_BYTES_MAX, IMPLEMENTATION_ID};
use crate::instant::{Instant, Ticks};
use crate::io::{ConsoleId, Input};
use crate::machine::HartRun;
use crate::testing::asm::*;
use crate::testing::{CODE, DATA, Start, machine, printed};
use crate::{Machine, Stop};

const SUCCESS: i64 = 0;
const NOT_SUPPORTED: i64 = -2;
const INVALID_PARAM: i64 = -3;
const INVALID_ADDRESS: i64 = -5;
const ALREADY_AVAILABLE: i64 = -6;

/// Four harts, of which the first runs in S-mode and is about to call.
fn four() -> Machine {
    machine(4, Start::Supervisor, &[ECALL, addi(T0, T0, 1), SPIN])
}

/// Has hart `index` call, alone and at once; returns `a0` and `a1`.
fn call(machine: &mut Machine, index: usize, ext: u64, function: u64, args: &[u64]) -> (i64, u64) {
    let hart = &mut machine.harts[index];
    hart.set_pc(CODE);
    hart.set_reg(17, ext);
    hart.set_reg(16, function);
    hart.set_reg(11, 0xa1);
    for (at, arg) in (10..).zip(args) {
        hart.set_reg(at, *arg);
    }
    (machine.current, machine.quantum_left) = (index, 1);
    let stop = machine.run(machine.now() + Ticks::new(16));
    assert!(matches!(stop, Stop::Until | Stop::PowerOff { .. } | Stop::Reset));
    let hart = &machine.harts()[index];
    (hart.reg(10) as i64, hart.reg(11))
}

#[test]
fn calls_answer() {
    let check = |ext: u64, function: u64, args: &[u64], answer: (i64, u64)| {
        let mut machine = four();
        let found = call(&mut machine, 0, ext, function, args);
        assert_eq!(found, answer, "{ext:#x} {function} {args:x?}");
        assert_eq!(machine.harts()[0].pc(), CODE + 4);
    };
    check(BASE, 0, &[], (SUCCESS, 0x0200_0000));
    check(BASE, 1, &[], (SUCCESS, IMPLEMENTATION_ID));
    check(BASE, 2, &[], (SUCCESS, 1));
    for known in [0, 8, BASE, TIME, IPI, RFENCE, HSM, SRST, DBCN] {
        check(BASE, 3, &[known], (SUCCESS, 1));
    }
    for unknown in [9, 0xf, 0x0050_4d55, 0x5355_5350, u64::MAX] {
        check(BASE, 3, &[unknown], (SUCCESS, 0));
    }
    for function in 4..7 {
        check(BASE, function, &[], (SUCCESS, 0));
    }
    check(BASE, 7, &[], (NOT_SUPPORTED, 0));
    check(0x0999_9999, 0, &[], (NOT_SUPPORTED, 0));
    check(TIME, 0, &[u64::MAX], (SUCCESS, 0));
    check(TIME, 1, &[0], (NOT_SUPPORTED, 0));
    // Hart masks: a base of all ones means all; harts that do not exist are refused.
    for (ext, function) in [(IPI, 0), (RFENCE, 0), (RFENCE, 1), (RFENCE, 2)] {
        check(ext, function, &[0b1110, 0], (SUCCESS, 0));
        check(ext, function, &[0b0110, 1], (SUCCESS, 0));
        check(ext, function, &[0, 77], (SUCCESS, 0));
        check(ext, function, &[1, u64::MAX], (SUCCESS, 0));
        check(ext, function, &[0b1_0000, 0], (INVALID_PARAM, 0));
        check(ext, function, &[0b1000, 1], (INVALID_PARAM, 0));
        check(ext, function, &[2, u64::MAX - 1], (INVALID_PARAM, 0));
        check(ext, function, &[4, u64::MAX - 1], (INVALID_PARAM, 0));
    }
    check(IPI, 1, &[1, 0], (NOT_SUPPORTED, 0));
    check(RFENCE, 3, &[1, 0], (NOT_SUPPORTED, 0));
    // HSM: started, stopped, or not there.
    check(HSM, 2, &[0], (SUCCESS, 0));
    check(HSM, 2, &[3], (SUCCESS, 1));
    check(HSM, 2, &[4], (INVALID_PARAM, 0));
    check(HSM, 2, &[u64::MAX], (INVALID_PARAM, 0));
    check(HSM, 0, &[1, CODE, 5], (SUCCESS, 0));
    check(HSM, 0, &[0, CODE, 5], (ALREADY_AVAILABLE, 0));
    check(HSM, 0, &[4, CODE, 5], (INVALID_PARAM, 0));
    check(HSM, 0, &[1, CODE + 1, 5], (INVALID_ADDRESS, 0));
    check(HSM, 0, &[1, 0x1000_0000, 5], (INVALID_ADDRESS, 0));
    check(HSM, 0, &[1, u64::MAX - 1, 5], (INVALID_ADDRESS, 0));
    check(HSM, 3, &[0x8000_0000, CODE, 0], (NOT_SUPPORTED, 0));
    check(HSM, 3, &[1, CODE, 0], (INVALID_PARAM, 0));
    check(HSM, 4, &[], (NOT_SUPPORTED, 0));
    check(SRST, 0, &[3, 0], (INVALID_PARAM, 0));
    check(SRST, 0, &[0, 2], (INVALID_PARAM, 0));
    check(SRST, 1, &[0, 0], (NOT_SUPPORTED, 0));
    // DBCN: memory must be RAM, below 2^64.
    check(DBCN, 0, &[0, DATA, 0], (SUCCESS, 0));
    check(DBCN, 0, &[4, DATA, 0], (SUCCESS, 4));
    check(DBCN, 0, &[1 << 20, DATA, 0], (SUCCESS, CONSOLE_BYTES_MAX));
    check(DBCN, 0, &[(1 << 20) + 1, DATA, 0], (INVALID_PARAM, 0));
    check(DBCN, 0, &[4, DATA, 1], (INVALID_PARAM, 0));
    check(DBCN, 0, &[4, 0x1000_0000, 0], (INVALID_PARAM, 0));
    check(DBCN, 0, &[u64::MAX, DATA, 0], (INVALID_PARAM, 0));
    check(DBCN, 1, &[4, DATA, 0], (SUCCESS, 0));
    check(DBCN, 2, &[0x41], (SUCCESS, 0));
    check(DBCN, 3, &[], (NOT_SUPPORTED, 0));
    // The legacy calls answer in a0 alone.
    for ext in [0, 1, 3, 5, 6, 7] {
        check(ext, 9, &[0x2_0000_0041], (0, 0xa1));
    }
    check(2, 0, &[], (-1, 0xa1));
    check(4, 0, &[0], (0, 0xa1));
    check(4, 0, &[DATA], (0, 0xa1));
    check(4, 0, &[DATA + 1], (INVALID_ADDRESS, 0xa1));
    check(4, 0, &[0x1000_0000], (INVALID_ADDRESS, 0xa1));
}

#[test]
fn the_machine_is_switched_off_and_on() {
    let check = |ext: u64, args: &[u64], expected: Stop| {
        let mut machine = four();
        call(&mut machine, 0, ext, 0, args);
        assert_eq!(machine.run(Instant::from_ns(1000)), expected, "{ext:#x} {args:?}");
        assert_eq!(machine.harts()[0].reg(5), 0, "not an instruction further");
    };
    check(SRST, &[0, 0], Stop::PowerOff { code: 0 });
    check(SRST, &[0, 1], Stop::PowerOff { code: 1 });
    check(SRST, &[0, 0xffff_ffff], Stop::PowerOff { code: 0 });
    check(SRST, &[1, 0], Stop::Reset);
    check(SRST, &[2, 1], Stop::Reset);
    check(8, &[], Stop::PowerOff { code: 0 });
}

#[test]
fn the_console_prints_and_reads() {
    let mut machine = four();
    machine.board.ram.write(DATA, b"hello").unwrap();
    call(&mut machine, 0, DBCN, 0, &[5, DATA, 0]);
    call(&mut machine, 0, DBCN, 2, &[u64::from(b'!')]);
    call(&mut machine, 0, 1, 0, &[u64::from(b'\n')]);
    assert_eq!(printed(&machine.take_outputs()), b"hello!\n");

    machine.input(Input::Console { console: ConsoleId::Serial, bytes: b"abcd".to_vec() });
    assert_eq!(call(&mut machine, 0, 2, 0, &[]), (i64::from(b'a'), 0xa1));
    assert_eq!(call(&mut machine, 0, DBCN, 1, &[2, DATA, 0]), (SUCCESS, 2));
    assert_eq!(call(&mut machine, 0, DBCN, 1, &[9, DATA + 2, 0]), (SUCCESS, 1));
    let mut read = [0; 4];
    machine.board.ram.read(DATA, &mut read).unwrap();
    assert_eq!(&read, b"bcdl");
}

#[test]
fn ipis_reach_the_harts_of_the_mask() {
    let check = |ext: u64, args: &[u64], expected: [bool; 4]| {
        let mut machine = four();
        machine.board.ram.write(DATA, &0b1010_u64.to_le_bytes()).unwrap();
        call(&mut machine, 0, ext, 0, args);
        let raised: Vec<bool> = (0..4)
            .map(|hart| {
                let before = machine.harts[hart].save();
                machine.harts[hart].clear(stackvm_riscv::trap::irq::SSI);
                machine.harts[hart].save() != before
            })
            .collect();
        assert_eq!(raised, expected, "{ext:#x} {args:?}");
    };
    check(IPI, &[0b0110, 0], [false, true, true, false]);
    check(IPI, &[0b11, 2], [false, false, true, true]);
    check(IPI, &[0, u64::MAX], [true; 4]);
    check(IPI, &[1, 0], [true, false, false, false]);
    check(IPI, &[0b1_0001, 0], [false; 4]);
    check(4, &[DATA], [false, true, false, true]);
    check(4, &[0], [true; 4]);
}

#[test]
fn harts_are_started_and_stopped() {
    // Hart 0 starts the other three at `entry` with an argument each; they store it at
    // DATA + 8 * hart and stop.
    let mut code = Vec::new();
    let entry = CODE + 0x200;
    for hart in 1..4 {
        let call = [(A7, HSM), (A6, 0), (A0, hart), (A1, entry), (A2, 0x100 + hart)];
        code.extend(crate::testing::li_all(&call));
        code.push(ECALL);
    }
    code.push(SPIN);
    code.resize(0x80, NOP);
    code.extend(li(T0, DATA));
    code.extend([slli(T1, A0, 3), add(T0, T0, T1), sd(A1, T0, 0)]);
    code.extend(li(A7, HSM));
    code.extend([addi(A6, ZERO, 1), ECALL, sd(ZERO, T0, 0), SPIN]);
    let mut machine = machine(4, Start::Supervisor, &code);
    for round in 0..2 {
        machine.run(machine.now() + Ticks::from_ns(200_000));
        let mut stored = [0; 32];
        machine.board.ram.read(DATA, &mut stored).unwrap();
        for hart in 1..4u64 {
            let at = 8 * hart as usize;
            assert_eq!(stored[at..at + 8], (0x100 + hart).to_le_bytes(), "round {round}");
        }
        assert_eq!(machine.runs[0], HartRun::Running);
        assert_eq!(machine.runs[1..], [HartRun::Stopped; 3]);
        // And again, from the start.
        machine.board.ram.write(DATA, &[0; 32]).unwrap();
        machine.harts[0].set_pc(CODE);
    }
}

#[test]
fn a_suspended_hart_resumes_on_its_interrupt() {
    let mut code = crate::testing::li_all(&[(T0, 0x20), (T1, 1000)]);
    code.extend([csrrs(ZERO, 0x104, T0), csrrw(ZERO, 0x14d, T1)]);
    code.extend(crate::testing::li_all(&[(A7, HSM), (A6, 3), (A0, 0)]));
    code.extend([ECALL, addi(T2, T2, 1), SPIN]);
    let mut machine = machine(1, Start::Supervisor, &code);
    machine.run(Instant::from_ns(50_000));
    assert_eq!(machine.idle_until(), Some(Instant::from_mtime(1000)));
    machine.run(Instant::from_mtime(1000) + Ticks::from_ns(2));
    let hart = &machine.harts()[0];
    assert_eq!((hart.reg(7), hart.reg(10)), (1, 0));
}
