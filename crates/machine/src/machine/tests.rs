//! The clock and the turns: exact stops, exact timers, who runs when, what ends a turn.

use super::{OUTPUT_BYTES_MAX, QUANTUM_STEPS, Stop};
use crate::instant::{Instant, TICKS_PER_MTIME, Ticks};
use crate::io::{ConsoleId, Input, Output};
use crate::testing::asm::*;
use crate::testing::{CODE, DATA, Start, config, li_all, machine, machine_of, printed};
use crate::{Machine, MachineConfig};

const CLINT: u64 = 0x200_0000;
const UART: u64 = 0x1000_0000;
const FINISHER: u64 = 0x10_0000;
/// Steps in a step of `mtime`, at a nanosecond each.
const STEPS_PER_MTIME: u64 = TICKS_PER_MTIME / 16;

fn steps(machine: &Machine) -> Vec<u64> {
    machine.harts().iter().map(stackvm_riscv::Hart::steps).collect()
}

#[test]
fn runs_end_at_the_first_boundary_at_or_after() {
    let check = |rate: u32, until: u64, now: u64| {
        let config = MachineConfig { rate_ticks: rate, ..config(1) };
        let mut machine =
            machine_of(&config, Start::Machine, &[NOP, addi(T0, T0, 1), jal(ZERO, -8)]);
        assert_eq!(machine.run(Instant::from_ticks(until)), Stop::Until);
        assert_eq!(machine.now().ticks(), now, "rate {rate}, until {until}");
        assert_eq!(steps(&machine), [now / u64::from(rate)]);
        // Once more to the same instant: nothing happens.
        assert_eq!(machine.run(Instant::from_ticks(until)), Stop::Until);
        assert_eq!(machine.now().ticks(), now);
    };
    check(16, 0, 0);
    check(16, 1, 16);
    check(16, 16, 16);
    check(16, 17, 32);
    check(1, 1, 1);
    check(1, 12_345, 12_345);
    check(1024, 5000, 5120);
    check(1024, 5120, 5120);
}

#[test]
fn a_waiting_machine_stops_exactly() {
    let mut machine = machine(2, Start::Machine, &[WFI, jal(ZERO, -4)]);
    for until in [33, 1_000_000_001, u64::MAX] {
        assert_eq!(machine.run(Instant::from_ticks(until)), Stop::Until);
        assert_eq!(machine.now().ticks(), until);
        assert_eq!(machine.idle_until(), Some(Instant::MAX));
    }
    assert_eq!(steps(&machine), [1, 1]);
    // At the end of time nothing runs any more.
    assert_eq!(machine.run(Instant::MAX), Stop::Until);
}

#[test]
fn time_near_its_end_does_not_overflow() {
    let mut machine = machine(2, Start::Machine, &[csrrs(T0, 0xc01, ZERO), jal(ZERO, -4)]);
    machine.now = Instant::from_ticks(u64::MAX - 1000);
    assert_eq!(machine.run(Instant::MAX), Stop::Until);
    assert_eq!(machine.now(), Instant::MAX);
    assert_eq!(machine.retired(), 63);
}

/// A handler that keeps `cycle` and `time` in t0 and t1, behind `setup` and an endless loop, which
/// counts or waits; and where the handler is.
fn timed_program(setup: Vec<u32>, wait: bool) -> (Vec<u32>, u64) {
    let handler = vec![csrrs(T0, 0xc00, ZERO), csrrs(T1, 0xc01, ZERO), SPIN];
    let mut program = setup;
    program.extend(if wait { [WFI, jal(ZERO, -4)] } else { [addi(T2, T2, 1), jal(ZERO, -4)] });
    let at = CODE + 4 * program.len() as u64;
    program.extend(handler);
    (program, at)
}

#[test]
fn timers_fire_at_exact_instructions() {
    const AT: u64 = 37;
    // What is done to set the timer, given where the handler is.
    let check = |what: &str, start: Start, setup: fn(u64) -> Vec<u32>| {
        for wait in [false, true] {
            // The handler's place depends on the length of what names it.
            let length = setup(CODE).len() as u64;
            let (program, handler) = timed_program(setup(CODE + 4 * (length + 2)), wait);
            assert_eq!(handler, CODE + 4 * (length + 2), "{what}: the same length");
            let mut machine = machine(1, start, &program);
            // The last instruction before the timer: still outside of the handler.
            let due = Instant::from_mtime(AT);
            machine.run(Instant::from_ticks(due.ticks() - 16));
            assert!(machine.harts()[0].pc() < handler, "{what}");
            machine.run(due + Ticks::new(2 * 16));
            let hart = &machine.harts()[0];
            assert_eq!(hart.pc(), handler + 8, "{what}: two instructions of the handler");
            assert_eq!(hart.reg(6), AT, "{what}: time");
            if !wait {
                assert_eq!(hart.reg(5), AT * STEPS_PER_MTIME, "{what}: cycle");
            }
        }
    };
    check("CLINT", Start::Machine, |handler| {
        let mut code = li_all(&[(A0, handler), (A1, CLINT + 0x4000), (A2, AT), (T2, 0x80)]);
        code.extend([csrrw(ZERO, 0x305, A0), sd(A2, A1, 0), csrrs(ZERO, 0x304, T2)]);
        code.push(csrrs(ZERO, 0x300, T2) & !(31 << 15) | 8 << 15 | 4 << 12);
        code
    });
    // Sstc: M-mode takes the supervisor's timer interrupt itself.
    check("Sstc", Start::Machine, |handler| {
        let mut code = li_all(&[(A0, handler), (A1, 1 << 63), (A2, AT), (T2, 0x20)]);
        code.extend([csrrw(ZERO, 0x305, A0), csrrs(ZERO, 0x30a, A1), csrrw(ZERO, 0x14d, A2)]);
        code.extend([
            csrrs(ZERO, 0x304, T2),
            csrrs(ZERO, 0x300, T2) & !(31 << 15) | 8 << 15 | 4 << 12,
        ]);
        code
    });
    check("SBI TIME", Start::Supervisor, |handler| {
        let mut code = supervisor_setup(handler);
        code.extend(li_all(&[(A7, 0x5449_4d45), (A6, 0), (A0, AT)]));
        code.push(ECALL);
        code
    });
    check("SBI legacy set_timer", Start::Supervisor, |handler| {
        let mut code = supervisor_setup(handler);
        code.extend(li_all(&[(A7, 0), (A0, AT)]));
        code.push(ECALL);
        code
    });
}

/// S-mode: the timer interrupt enabled, `stvec` set.
fn supervisor_setup(handler: u64) -> Vec<u32> {
    let mut code = li_all(&[(A0, handler), (T2, 0x20), (T1, 2)]);
    code.extend([csrrw(ZERO, 0x105, A0), csrrs(ZERO, 0x104, T2), csrrs(ZERO, 0x100, T1)]);
    code
}

#[test]
fn mtime_may_wrap_around() {
    // `mtime` is two steps before its end, `mtimecmp` 5: the interrupt is pending, ends with the
    // wrap, and comes again at 5. A counting loop samples mip.
    let mut setup = li_all(&[(A0, CLINT + 0xbff8), (A1, CLINT + 0x4000), (T0, u64::MAX - 1)]);
    setup.extend([addi(T1, ZERO, 5), sd(T1, A1, 0), sd(T0, A0, 0), SPIN]);
    let sample = |cuts: u64| {
        let mut machine = machine(1, Start::Machine, &setup);
        let mut seen = Vec::new();
        for step in 1..=9 * cuts {
            machine.run(Instant::from_ticks(step * TICKS_PER_MTIME / cuts));
            if step % cuts == 0 {
                seen.push(machine.harts()[0].lines() >> 7 & 1);
            }
        }
        seen
    };
    assert_eq!(sample(1), [1, 0, 0, 0, 0, 0, 1, 1, 1]);
    assert_eq!(sample(7), sample(1));
    // The level falls at the wrap even if nobody cuts the run there.
    let mut reader = setup.clone();
    reader.pop();
    reader.extend([addi(T2, ZERO, 100), addi(T2, T2, -1), bne(T2, ZERO, -4)]);
    reader.extend([csrrs(S2, 0x344, ZERO), addi(T2, ZERO, 80), addi(T2, T2, -1)]);
    reader.extend([bne(T2, ZERO, -4), csrrs(S3, 0x344, ZERO), SPIN]);
    let mut machine = machine(1, Start::Machine, &reader);
    machine.run(Instant::from_mtime(4));
    let hart = &machine.harts()[0];
    assert_eq!((hart.reg(18), hart.reg(19)), (0, 0), "after the wrap");
}

#[test]
fn the_rate_is_an_input() {
    let mut machine = machine(1, Start::Machine, &[SPIN]);
    // Rate asked for, rate then, instructions in the next 1024 ticks.
    let mut check = |asked: u32, rate: u32, count: u64| {
        let before = machine.retired();
        machine.input(Input::Rate { ticks: asked });
        assert_eq!(machine.rate_ticks(), rate);
        machine.run(machine.now() + Ticks::new(1024));
        assert_eq!(machine.retired() - before, count, "rate {asked}");
    };
    check(16, 16, 64);
    check(1, 1, 1024);
    check(1024, 1024, 1);
    check(2048, 1024, 1);
    check(0, 1024, 1);
    check(24, 1024, 1);
    check(512, 512, 2);
}

#[test]
fn harts_take_turns() {
    let check = |at: u64, expected: [u64; 3]| {
        let mut machine = machine(3, Start::Machine, &[SPIN]);
        machine.run(Instant::from_ns(at));
        assert_eq!(steps(&machine), expected, "after {at} instructions");
        // Cut into pieces it is the same.
        let mut cut = machine_of(&config(3), Start::Machine, &[SPIN]);
        for piece in 1..=9 {
            cut.run(Instant::from_ns(at * piece / 9));
        }
        assert_eq!(steps(&cut), expected);
    };
    const Q: u64 = QUANTUM_STEPS;
    check(0, [0, 0, 0]);
    check(Q - 1, [Q - 1, 0, 0]);
    check(Q, [Q, 0, 0]);
    check(Q + 1, [Q, 1, 0]);
    check(3 * Q + 5, [Q + 5, Q, Q]);
}

#[test]
fn turns_end_early() {
    // Hart 0 executes `program`, the others spin; steps of all after 100.
    let check = |program: &[u32], after: u64, expected: [u64; 2]| {
        let mut code = vec![bne(A0, ZERO, 4 + 4 * program.len() as i32)];
        code.extend(program);
        code.push(SPIN);
        let mut machine = machine(2, Start::Machine, &code);
        machine.run(Instant::from_ns(after));
        assert_eq!(steps(&machine), expected, "{program:x?}");
    };
    check(&[NOP, SPIN], 100, [100, 0]);
    check(&[NOP, PAUSE, SPIN], 100, [3, 97]);
    check(&[NOP, WFI, SPIN], 100, [3, 97]);
    // A store to the other's msip; one to its own changes nothing.
    let ipi = |hart: u64| {
        let mut code = li_all(&[(A1, CLINT + 4 * hart), (A2, 1)]);
        code.extend([sw(A2, A1, 0), SPIN]);
        code
    };
    check(&ipi(1), 100, [5, 95]);
    check(&ipi(0), 100, [100, 0]);
    // Not again while the other has not looked.
    let mut twice = ipi(1);
    twice.pop();
    twice.extend([sw(A2, A1, 0), SPIN]);
    check(&twice, QUANTUM_STEPS + 105, [105, QUANTUM_STEPS]);
}

#[test]
fn an_ipi_ends_wfi_of_its_target() {
    let mut code = li_all(&[(T0, 8), (A1, CLINT + 4), (A2, 1)]);
    code.extend([csrrs(ZERO, 0x304, T0), bne(A0, ZERO, 4 * 3), sw(A2, A1, 0), SPIN]);
    code.extend([WFI, addi(T1, T1, 1), SPIN]);
    // Hart 0's turn comes first, so hart 1 is not waiting yet when it is sent to; the second
    // time it is.
    let mut machine = machine(2, Start::Machine, &code);
    machine.run(Instant::from_ns(60));
    assert_eq!(machine.harts()[1].reg(6), 1);
    assert!(machine.idle_until().is_none());
}

#[test]
fn much_output_interrupts_the_run() {
    // Prints for ever.
    let mut code = li_all(&[(A1, UART), (A2, 120)]);
    code.extend([store(0, A2, A1, 0), jal(ZERO, -4)]);
    let mut machine = machine(1, Start::Machine, &code);
    let mut total = 0;
    let mut stops = 0;
    let until = Instant::from_ns(6_000_000);
    while machine.run(until) == Stop::Outputs {
        let outputs = machine.take_outputs();
        let held: usize = outputs.iter().map(Output::len_bytes).sum();
        assert!(held > OUTPUT_BYTES_MAX && held < OUTPUT_BYTES_MAX + 4096, "{held} bytes held");
        total += printed(&outputs).len();
        stops += 1;
    }
    total += printed(&machine.take_outputs()).len();
    assert!(stops > 0);
    assert_eq!(total as u64, (6_000_000_u64 - 3).div_ceil(2), "nothing is lost or doubled");
}

#[test]
fn the_finisher_ends_the_run() {
    let check = |value: u64, expected: Stop| {
        let mut code = li_all(&[(A1, FINISHER), (A2, value)]);
        code.extend([sw(A2, A1, 0), addi(T0, T0, 1), SPIN]);
        let mut machine = machine(1, Start::Machine, &code);
        let stop = machine.run(Instant::from_ns(1000));
        assert_eq!(stop, expected, "{value:#x}");
        let over = stop != Stop::Until;
        assert_eq!(machine.harts()[0].reg(5), u64::from(!over), "not an instruction further");
        // It stays off, also for inputs.
        machine.input(Input::Console { console: ConsoleId::Serial, bytes: b"x".to_vec() });
        assert_eq!(machine.run(Instant::from_ns(2000)), expected);
    };
    check(0x5555, Stop::PowerOff { code: 0 });
    check(0x3333, Stop::PowerOff { code: 0 });
    check(0x7_3333, Stop::PowerOff { code: 7 });
    check(0xffff_3333, Stop::PowerOff { code: 0xffff });
    check(0x7777, Stop::Reset);
    check(0x1234, Stop::Until);
}

#[test]
fn an_identity_changes_what_should_differ() {
    let mut machine = machine(1, Start::Machine, &[SPIN]);
    machine.run(Instant::from_ns(1000));
    let read = |machine: &mut Machine, addr: u64, size: u8| {
        let ticks = machine.now().ticks();
        stackvm_riscv::Bus::load(&mut machine.board, addr, size, ticks).expect("a device")
    };
    let id = read(&mut machine, 0x10_2000, 8);
    let digest = machine.digest();
    machine.input(Input::Identity { seed: 99, rtc_ns: 0x1234_5678 });
    assert_ne!(read(&mut machine, 0x10_2000, 8), id, "generation id");
    assert_eq!(read(&mut machine, 0x10_1000, 4), 0x1234_5678, "clock");
    assert_eq!(read(&mut machine, 0xc00_1000, 4) >> 12 & 1, 1, "interrupt 12 is pending");
    assert_ne!(machine.digest(), digest);
}

#[test]
fn inputs_to_nobody_are_ignored() {
    let mut machine = machine(1, Start::Machine, &[SPIN]);
    let digest = machine.digest();
    for input in [
        Input::Console { console: ConsoleId::Hvc(0), bytes: b"x".to_vec() },
        Input::Resize { console: ConsoleId::Serial, columns: 1, rows: 1 },
        Input::Resize { console: ConsoleId::Hvc(3), columns: 1, rows: 1 },
        Input::PortOpen { port: crate::PortId(0) },
        Input::Port { port: crate::PortId(200), bytes: b"x".to_vec() },
        Input::PortClose { port: crate::PortId(1) },
        Input::Frame { nic: crate::NicId(0), bytes: vec![0; 60] },
    ] {
        machine.input(input.clone());
        assert_eq!(machine.digest(), digest, "{input:?}");
    }
    assert_eq!(machine.take_outputs(), []);
}

#[test]
fn devices_write_where_code_is() {
    // The machine's caches hear of what is written beside the harts.
    let mut machine = machine(1, Start::Machine, &[addi(T0, T0, 1), jal(ZERO, -4)]);
    machine.run(Instant::from_ns(100));
    machine.board.ram.write(CODE, &bytes(&[addi(T0, T0, 1), SPIN])).unwrap();
    machine.board.ram.write(DATA, &[1]).unwrap();
    machine.run(Instant::from_ns(200));
    assert_eq!(machine.harts()[0].reg(5), 50 + 1);
}
