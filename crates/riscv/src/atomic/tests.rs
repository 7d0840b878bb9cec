//! When SC succeeds, what AMOs compute, who may use cache-block operations.

use crate::csr::envcfg;
use crate::hart::Privilege::{self, Machine, Supervisor, User};
use crate::run::Exit;
use crate::testing::asm::*;
use crate::testing::{CODE, DATA, DEVICE, HANDLER, Rig};
use crate::trap::Cause;

/// Two harts; the first has executed `LR.D` of `DATA` (which holds 7) and its turn is over.
fn reserved() -> Rig {
    let mut rig = Rig::with_harts(2, &[lr(3, T0, A0)]);
    rig.poke_u64(DATA, 7);
    rig.hart().set_reg(10, DATA);
    rig.hart().set_reg(11, 9);
    rig.run_hart(0, 1);
    assert_eq!(rig.harts[0].reg(5), 7);
    rig.engine.end_turn(0, &rig.harts[0], &mut rig.bus);
    rig
}

/// Executes instructions on hart `index` in a turn of their own.
fn turn(rig: &mut Rig, index: usize, program: &[u32]) {
    rig.engine.begin_turn(index, &mut rig.harts[index]);
    rig.device_writes_code(program);
    rig.harts[index].set_pc(CODE + 0x800);
    rig.run_hart(index, program.len() as u64);
    rig.engine.end_turn(index, &rig.harts[index], &mut rig.bus);
}

impl Rig {
    fn device_writes_code(&mut self, program: &[u32]) {
        for (at, word) in (CODE + 0x800..).step_by(8).zip(program.chunks(2)) {
            let word = u64::from(word[0]) | u64::from(*word.get(1).unwrap_or(&NOP)) << 32;
            self.device_writes(at, word);
        }
    }
}

#[test]
fn reservations_break_as_documented() {
    let check = |what: &str, between: fn(&mut Rig), succeeds: bool| {
        let mut rig = reserved();
        between(&mut rig);
        turn(&mut rig, 0, &[sc(3, T1, A0, A1)]);
        assert_eq!(rig.harts[0].reg(6), u64::from(!succeeds), "{what}");
        let addr = rig.harts[0].reg(10);
        assert_eq!(rig.peek(addr) == 9, succeeds, "{what}");
        // Never twice.
        turn(&mut rig, 0, &[sc(3, T1, A0, A1)]);
        assert_eq!(rig.harts[0].reg(6), 1, "{what}: a second SC");
    };
    fn other_stores(rig: &mut Rig, addr: u64, program: &[u32]) {
        rig.harts[1].set_reg(10, addr);
        rig.harts[1].set_reg(11, 7);
        turn(rig, 1, program);
    }
    check("nothing", |_| {}, true);
    check("another hart loads", |rig| other_stores(rig, DATA, &[ld(T0, A0, 0)]), true);
    check(
        "another hart stores the same value",
        |rig| {
            other_stores(rig, DATA, &[sd(A1, A0, 0)]);
        },
        false,
    );
    check(
        "another hart stores into the line",
        |rig| {
            other_stores(rig, DATA + 56, &[sd(A1, A0, 0)]);
        },
        false,
    );
    check(
        "another hart stores behind the line",
        |rig| {
            other_stores(rig, DATA + 64, &[sd(A1, A0, 0)]);
        },
        true,
    );
    check(
        "another hart stores into the line from before it",
        |rig| {
            rig.harts[0].set_reg(10, DATA + 64);
            turn(rig, 0, &[lr(3, T0, A0)]);
            other_stores(rig, DATA + 60, &[sd(A1, A0, 0)]);
        },
        false,
    );
    check(
        "another hart's AMO",
        |rig| {
            other_stores(rig, DATA + 8, &[amoadd(3, T0, A0, ZERO)]);
        },
        false,
    );
    check("another hart zeroes the line", |rig| other_stores(rig, DATA, &[cbo(4, A0)]), false);
    check(
        "another hart's successful SC",
        |rig| {
            other_stores(rig, DATA, &[lr(3, T0, A0), sc(3, T0, A0, A1)]);
        },
        false,
    );
    check(
        "another hart's failed SC",
        |rig| {
            other_stores(rig, DATA, &[sc(3, T0, A0, A1)]);
        },
        true,
    );
    check("a device writes the same value", |rig| rig.device_writes(DATA, 7), false);
    check("a device writes elsewhere", |rig| rig.device_writes(DATA + 0x1000, 7), true);
    check(
        "its own store of another value",
        |rig| {
            turn(rig, 0, &[sd(A1, A0, 0), sd(ZERO, A0, 0)]);
        },
        false,
    );
    check("its own store beside it", |rig| turn(rig, 0, &[sd(A1, A0, 8)]), true);
    check(
        "a trap return",
        |rig| {
            rig.harts[0].csr.mepc = CODE;
            rig.harts[0].csr.mstatus |= 3 << 11;
            turn(rig, 0, &[MRET]);
        },
        false,
    );
    check("a trap alone", |rig| turn(rig, 0, &[EBREAK]), true);
    check(
        "turns of both",
        |rig| {
            other_stores(rig, DATA + 64, &[NOP]);
            turn(rig, 0, &[NOP]);
            other_stores(rig, DATA + 64, &[NOP]);
        },
        true,
    );
}

#[test]
fn sc_needs_the_address_and_size_of_lr() {
    let check = |lr_size: u32, sc_size: u32, offset: i32, succeeds: bool| {
        let program = [lr(lr_size, T0, A0), addi(A0, A0, offset), sc(sc_size, T1, A0, A1)];
        let mut rig = Rig::new(&program);
        rig.hart().set_reg(10, DATA);
        rig.run(3);
        assert_eq!(rig.harts[0].reg(6), u64::from(!succeeds), "{lr_size} {sc_size} {offset}");
    };
    check(3, 3, 0, true);
    check(2, 2, 0, true);
    check(3, 2, 0, false);
    check(2, 3, 0, false);
    check(3, 3, 8, false);
    check(2, 2, 4, false);
}

#[test]
fn lr_extends_the_sign_and_sc_stores_its_size() {
    let mut rig = Rig::new(&[lr(2, T0, A0), sc(2, T1, A0, A1), SPIN]);
    rig.poke_u64(DATA, 0x1111_2222_8000_0001);
    rig.hart().set_reg(10, DATA);
    rig.hart().set_reg(11, 0xffff_ffff_3333_4444);
    rig.run(2);
    assert_eq!(rig.harts[0].reg(5), 0xffff_ffff_8000_0001);
    assert_eq!((rig.harts[0].reg(6), rig.peek(DATA)), (0, 0x1111_2222_3333_4444));
}

#[test]
fn atomics_trap_where_they_cannot_be() {
    let check = |instruction: u32, addr: u64, cause: Cause| {
        let mut rig = Rig::new(&[instruction]);
        rig.hart().set_reg(10, addr);
        rig.hart().reservation =
            Some(crate::hart::Reservation { addr: addr & !7, size: 8, value: 0 });
        assert_eq!(rig.expect_trap(cause).0, addr, "{instruction:#x} at {addr:#x}");
    };
    check(lr(3, T0, A0), DATA + 4, Cause::LoadMisaligned);
    check(lr(2, T0, A0), DATA + 2, Cause::LoadMisaligned);
    check(sc(3, T0, A0, A1), DATA + 4, Cause::StoreMisaligned);
    check(amoadd(2, T0, A0, A1), DATA + 1, Cause::StoreMisaligned);
    check(amoadd(3, T0, A0, A1), DATA + 4, Cause::StoreMisaligned);
    check(lr(3, T0, A0), DEVICE, Cause::LoadAccess);
    check(amoadd(3, T0, A0, A1), DEVICE, Cause::StoreAccess);
    check(cbo(4, A0), DEVICE, Cause::StoreAccess);
}

#[test]
fn a_reservation_outside_ram_never_succeeds() {
    // No LR makes one, but a saved hart may hold it.
    let mut rig = Rig::new(&[sc(3, T0, A0, A1), SPIN]);
    for addr in [0, DEVICE, u64::MAX - 7] {
        rig.hart().set_pc(CODE);
        rig.hart().set_reg(10, addr);
        rig.hart().reservation = Some(crate::hart::Reservation { addr, size: 8, value: 0 });
        assert_eq!(rig.run_hart(0, 1), Exit::Steps);
        assert_eq!((rig.harts[0].reg(5), rig.harts[0].pc()), (1, CODE + 4));
    }
}

#[test]
fn amos_compute() {
    let check = |funct5: u32, old: u64, operand: u64, word: u64, double: u64| {
        for watched in [false, true] {
            for (size, new) in [(2, word), (3, double)] {
                let instruction = amoadd(size, T0, A0, A1) | funct5 << 27;
                let mut rig = Rig::new(&[instruction, SPIN]);
                rig.poke_u64(DATA, old);
                rig.hart().set_reg(10, DATA);
                rig.hart().set_reg(11, operand);
                if watched {
                    rig.engine.report_stores(&mut rig.bus, DATA);
                }
                rig.run(1);
                let read = if size == 2 { old as i32 as u64 } else { old };
                let found = (rig.harts[0].reg(5), rig.peek(DATA));
                assert_eq!(found, (read, new), "{funct5:#x} of {size}, watched: {watched}");
            }
        }
    };
    // A word whose order differs from that of the doubleword, signed and unsigned.
    let (old, operand) = (0x0000_0001_8000_0005, 0xffff_ffff_0000_0003);
    let upper = 0x0000_0001_0000_0000;
    check(0x00, old, operand, upper | 0x8000_0008, 0x8000_0008);
    check(0x01, old, operand, upper | 3, operand);
    check(0x04, old, operand, upper | 0x8000_0006, old ^ operand);
    check(0x08, old, operand, upper | 0x8000_0007, old | operand);
    check(0x0c, old, operand, upper | 1, old & operand);
    check(0x10, old, operand, upper | 0x8000_0005, operand);
    check(0x14, old, operand, upper | 3, old);
    check(0x18, old, operand, upper | 3, old);
    check(0x1c, old, operand, upper | 0x8000_0005, operand);
}

#[test]
fn cache_block_operations_are_enabled_by_mode() {
    const INVAL: u32 = 0;
    const CLEAN: u32 = 1;
    const FLUSH: u32 = 2;
    const ZERO_BLOCK: u32 = 4;
    let check = |kind: u32, mode: Privilege, menvcfg: u64, senvcfg: u64, legal: bool| {
        let instruction = cbo(kind, A0);
        let mut rig = Rig::new(&[instruction, SPIN]);
        rig.hart().set_reg(10, DATA + 5);
        rig.hart().mode = mode;
        (rig.hart().csr.menvcfg, rig.hart().csr.senvcfg) = (menvcfg, senvcfg);
        rig.run(1);
        let what = format!("{kind} {mode:?} {menvcfg:#x} {senvcfg:#x}");
        assert_eq!(rig.harts[0].pc() == CODE + 4, legal, "{what}");
        if !legal {
            assert_eq!(rig.expect_trap(Cause::IllegalInstruction).0, instruction.into(), "{what}");
        }
    };
    for (kind, bits) in [
        (INVAL, 1 << 4),
        (INVAL, 3 << 4),
        (CLEAN, envcfg::CBCFE),
        (FLUSH, envcfg::CBCFE),
        (ZERO_BLOCK, envcfg::CBZE),
    ] {
        let others = (envcfg::CBIE | envcfg::CBCFE | envcfg::CBZE)
            & !match kind {
                INVAL => envcfg::CBIE,
                _ => bits,
            };
        check(kind, Machine, 0, 0, true);
        check(kind, Supervisor, others, others, false);
        check(kind, Supervisor, bits, 0, true);
        check(kind, User, bits, 0, false);
        check(kind, User, others, bits, false);
        check(kind, User, bits, bits, true);
    }
}

#[test]
fn cbo_zero_clears_its_block_alone() {
    for watched in [false, true] {
        let mut rig = Rig::new(&[cbo(4, A0), SPIN]);
        rig.poke(DATA, &[0xee; 192]);
        rig.hart().set_reg(10, DATA + 64 + 17);
        if watched {
            rig.engine.report_stores(&mut rig.bus, DATA);
        }
        rig.run(1);
        let untouched = u64::from_ne_bytes([0xee; 8]);
        for at in (0..192).step_by(8) {
            let expected = if (64..128).contains(&at) { 0 } else { untouched };
            assert_eq!(rig.peek(DATA + at), expected, "at {at}");
        }
    }
}

#[test]
fn cache_block_operations_fault_like_stores() {
    for kind in [0, 1, 2, 4] {
        let mut rig = Rig::new(&[cbo(kind, A0)]);
        rig.enable_paging(Supervisor);
        rig.hart().csr.menvcfg = u64::MAX;
        rig.hart().set_reg(10, 0x7013);
        assert_eq!(rig.expect_trap(Cause::StorePage).0, 0x7013, "kind {kind}");
        // Read-only memory may be cleaned and invalidated, not zeroed.
        rig.hart().set_pc(CODE);
        rig.hart().mode = Supervisor;
        rig.map(0x9000, DATA, 0x43);
        rig.hart().set_reg(10, 0x9013);
        rig.run(1);
        assert_eq!(rig.harts[0].pc() == HANDLER, kind == 4, "kind {kind}");
    }
}
