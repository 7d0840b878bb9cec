//! Which registers exist, which bits of them can be written, and who may touch them.

use crate::csr::{envcfg, mstatus};
use crate::hart::Privilege::{self, Machine, Supervisor, User};
use crate::testing::asm::*;
use crate::testing::{CODE, HANDLER, Rig};
use crate::trap::{Cause, irq};

const ONES: u64 = u64::MAX;
const UXL: u64 = mstatus::UXL_64;
const XL: u64 = mstatus::UXL_64 | mstatus::SXL_64;

/// Executes one CSR instruction with `a1` as source; `Some(t0)` unless it is illegal.
fn execute(rig: &mut Rig, instruction: u32, source: u64) -> Option<u64> {
    let mode = rig.harts[0].mode;
    rig.device_writes(CODE, u64::from(instruction) | u64::from(SPIN) << 32);
    rig.hart().set_pc(CODE);
    rig.hart().set_reg(11, source);
    rig.run(1);
    if rig.harts[0].pc() == CODE + 4 {
        return Some(rig.harts[0].reg(5));
    }
    let csr = &rig.harts[0].csr;
    assert_eq!(
        (rig.harts[0].pc(), csr.mcause, csr.mtval),
        (HANDLER, Cause::IllegalInstruction as u64, instruction.into())
    );
    rig.hart().mode = mode;
    None
}

#[test]
fn fields_keep_what_is_legal() {
    // The register, what is written, what it reads as then.
    let check = |csr: u16, written: u64, read: u64| {
        let mut rig = Rig::new(&[]);
        rig.hart().csr.mstatus |= mstatus::FS & 1 << 13;
        assert!(execute(&mut rig, csrrw(ZERO, csr, A1), written).is_some(), "{csr:#x} exists");
        let found = execute(&mut rig, csrrs(T0, csr, ZERO), 0);
        assert_eq!(found, Some(read), "{csr:#x} after {written:#x}");
    };
    const MISA: u64 = 2 << 62 | 1 << 20 | 1 << 18 | 1 << 12 | 1 << 8 | 1 << 5 | 1 << 3 | 1 << 2 | 1;
    const FIELDS: u64 = 1 << 22 | 1 << 21 | 1 << 20 | 0xe_7800 | 0x1aa | XL | mstatus::SD;
    check(0x300, ONES, FIELDS);
    check(0x300, 0, XL);
    check(0x300, 2 << 11, XL); // MPP 2 is reserved: the old one stays
    check(0x300, 1 << 13, XL | 1 << 13);
    check(0x301, 0, MISA);
    check(0x302, ONES, 0xb1ff);
    check(0x303, ONES, irq::SUPERVISOR);
    check(0x304, ONES, irq::ALL);
    check(0x305, ONES, ONES & !2);
    check(0x306, ONES, 0xffff_ffff);
    check(0x30a, ONES, 0xa000_0000_0000_00f1);
    check(0x30a, 2 << 4, 0);
    check(0x320, ONES, 0);
    check(0x323, ONES, 0);
    check(0x340, ONES, ONES);
    check(0x341, ONES, ONES & !1);
    check(0x342, ONES, ONES);
    check(0x343, ONES, ONES);
    check(0x344, ONES, irq::SUPERVISOR);
    check(0x3a0, ONES, 0x9f9f_9f9f_9f9f_9f9f);
    check(0x3a0, 0x02, 0); // W without R
    check(0x3ae, ONES, 0);
    check(0x3b0, ONES, (1 << 54) - 1);
    check(0x3c0, ONES, 0);
    check(0x7a0, ONES, 0);
    check(0xb03, ONES, 0);
    // Of the supervisor, from M-mode with nothing delegated.
    check(0x100, ONES, 0xc_6122 | UXL | mstatus::SD);
    check(0x104, ONES, 0);
    check(0x105, ONES, ONES & !2);
    check(0x106, ONES, 0xffff_ffff);
    check(0x10a, ONES, 0xf1);
    check(0x10a, 2 << 4, 0);
    check(0x140, ONES, ONES);
    check(0x141, ONES, ONES & !1);
    check(0x142, ONES, ONES);
    check(0x143, ONES, ONES);
    check(0x144, ONES, 0);
    check(0x14d, ONES, ONES);
    check(0x180, (8 << 60) | ((1 << 60) - 1), (8 << 60) | ((1 << 60) - 1));
    check(0x180, 9 << 60 | 5, 0); // Sv48 is not offered
    check(0x180, 1 << 60 | 5, 0);
    check(0x180, 5, 0); // bare
    check(0x001, ONES, 0x1f);
    check(0x002, ONES, 7);
    check(0x003, ONES, 0xff);
}

#[test]
fn identity_is_read_only() {
    for (csr, read) in [(0xf11, 0), (0xf12, 0), (0xf13, 0), (0xf14, 1), (0xf15, 0)] {
        let mut rig = Rig::with_harts(2, &[csrrs(T0, csr, ZERO), csrrw(ZERO, csr, ZERO)]);
        rig.run_hart(1, 2);
        assert_eq!(rig.harts[1].reg(5), read, "{csr:#x}");
        assert_eq!(rig.harts[1].csr.mcause, 2);
    }
}

#[test]
fn registers_that_do_not_exist_are_illegal() {
    // Debug, hypervisor, RV32's upper halves, odd pmpcfg, custom, the second counter, mseccfg.
    for csr in [
        0x000, 0x004, 0x107, 0x14e, 0x200, 0x310, 0x31a, 0x322, 0x345, 0x3a1, 0x3f0, 0x5a8, 0x600,
        0x747, 0x7a4, 0x7b0, 0x7c0, 0xb01, 0xb20, 0xb80, 0xc20, 0xc80, 0xda0, 0xf10, 0xf16,
    ] {
        let mut rig = Rig::new(&[]);
        assert_eq!(execute(&mut rig, csrrs(T0, csr, ZERO), 0), None, "{csr:#x}");
        assert_eq!(execute(&mut rig, csrrw(ZERO, csr, A1), 0), None, "{csr:#x}");
    }
}

#[test]
fn privilege_is_in_the_number() {
    let check = |csr: u16, least: Privilege| {
        for mode in [User, Supervisor, Machine] {
            let mut rig = Rig::new(&[]);
            rig.hart().csr.mstatus |= mstatus::FS;
            rig.hart().csr.menvcfg |= envcfg::STCE;
            (rig.hart().csr.mcounteren, rig.hart().csr.scounteren) = (7, 7);
            rig.hart().mode = mode;
            let found = execute(&mut rig, csrrs(T0, csr, ZERO), 0).is_some();
            assert_eq!(found, mode >= least, "{csr:#x} in {mode:?}");
        }
    };
    for csr in [0x001, 0x003, 0xc00, 0xc01, 0xc02] {
        check(csr, User);
    }
    for csr in [0x100, 0x104, 0x105, 0x106, 0x10a, 0x140, 0x141, 0x144, 0x14d, 0x180] {
        check(csr, Supervisor);
    }
    for csr in [0x300, 0x302, 0x304, 0x30a, 0x341, 0x344, 0x3a0, 0x3b0, 0xb00, 0xf14] {
        check(csr, Machine);
    }
}

#[test]
fn set_and_clear_touch_their_bits_alone() {
    let mut rig = Rig::new(&[]);
    assert_eq!(execute(&mut rig, csrrw(T0, 0x340, A1), 0b1100), Some(0));
    assert_eq!(execute(&mut rig, csrrs(T0, 0x340, A1), 0b1010), Some(0b1100));
    assert_eq!(execute(&mut rig, csrrc(T0, 0x340, A1), 0b0100), Some(0b1110));
    // With immediates: CSRRWI, CSRRSI, CSRRCI of 5.
    let immediate = |instruction: u32| instruction & !(31 << 15) | 5 << 15 | 4 << 12;
    assert_eq!(execute(&mut rig, immediate(csrrs(T0, 0x340, A1)), 0), Some(0b1010));
    assert_eq!(execute(&mut rig, immediate(csrrc(T0, 0x340, A1)), 0), Some(0b1111));
    assert_eq!(execute(&mut rig, immediate(csrrw(T0, 0x340, A1)), 0), Some(0b1010));
    assert_eq!(execute(&mut rig, csrrs(T0, 0x340, ZERO), 0), Some(5));
    // A source of x0 does not write; any other does, even a zero.
    assert!(execute(&mut rig, csrrs(T0, 0xf14, ZERO), 0).is_some());
    assert_eq!(execute(&mut rig, csrrs(T0, 0xf14, A1), 0), None);
    // Source and destination may be one register.
    assert!(execute(&mut rig, csrrw(A1, 0x340, A1), 77).is_some());
    assert_eq!((rig.harts[0].reg(11), rig.harts[0].csr.mscratch), (5, 77));
}

#[test]
fn the_supervisor_sees_a_part_of_the_status() {
    let mut rig = Rig::new(&[]);
    rig.hart().csr.mstatus |= mstatus::WRITABLE & !mstatus::MPP;
    let visible = 0xc_6122 | UXL | mstatus::SD;
    assert_eq!(execute(&mut rig, csrrs(T0, 0x100, ZERO), 0), Some(visible));
    // And clears no more than that.
    assert!(execute(&mut rig, csrrw(ZERO, 0x100, A1), 0).is_some());
    let kept = (mstatus::WRITABLE & !mstatus::MPP & !mstatus::SUPERVISOR) | XL;
    assert_eq!(execute(&mut rig, csrrs(T0, 0x300, ZERO), 0), Some(kept));
}

#[test]
fn interrupt_views_follow_delegation() {
    let mut rig = Rig::new(&[]);
    rig.hart().csr.mideleg = irq::SSI | irq::SEI;
    rig.hart().csr.mie = irq::ALL;
    rig.hart().csr.mip = irq::SSI | irq::STI;
    rig.hart().set_lines(irq::MTI | irq::SEI, 0);
    assert_eq!(execute(&mut rig, csrrs(T0, 0x104, ZERO), 0), Some(irq::SSI | irq::SEI));
    assert_eq!(execute(&mut rig, csrrs(T0, 0x144, ZERO), 0), Some(irq::SSI | irq::SEI));
    let all = irq::SSI | irq::STI | irq::MTI | irq::SEI;
    assert_eq!(execute(&mut rig, csrrs(T0, 0x344, ZERO), 0), Some(all));
    // Of sip only SSI can be written, of sie what is delegated.
    assert!(execute(&mut rig, csrrw(ZERO, 0x144, A1), 0).is_some());
    assert!(execute(&mut rig, csrrw(ZERO, 0x104, A1), 0).is_some());
    assert_eq!(rig.harts[0].csr.mip, irq::STI);
    assert_eq!(rig.harts[0].csr.mie, irq::ALL & !(irq::SSI | irq::SEI));
    // Reading mip with an external line up and writing it back does not latch the line.
    assert!(execute(&mut rig, csrrs(T0, 0x344, A1), irq::SSI).is_some());
    assert_eq!(rig.harts[0].csr.mip, irq::STI | irq::SSI);
}

#[test]
fn with_sstc_the_timer_alone_decides_stip() {
    let mut rig = Rig::new(&[]);
    rig.hart().csr.menvcfg |= envcfg::STCE;
    rig.hart().csr.stimecmp = 100;
    assert!(execute(&mut rig, csrrw(ZERO, 0x344, A1), irq::STI | irq::SSI).is_some());
    assert_eq!(execute(&mut rig, csrrs(T0, 0x344, ZERO), 0), Some(irq::SSI));
    for (mtime, pending) in
        [(99, irq::SSI), (100, irq::SSI | irq::STI), (u64::MAX, irq::SSI | irq::STI)]
    {
        rig.hart().set_lines(0, mtime);
        assert_eq!(execute(&mut rig, csrrs(T0, 0x344, ZERO), 0), Some(pending), "{mtime}");
    }
}

#[test]
fn counters_are_enabled_per_mode() {
    let check = |csr: u16, mcounteren: u64, scounteren: u64, supervisor: bool, user: bool| {
        for (mode, legal) in [(Machine, true), (Supervisor, supervisor), (User, user)] {
            let mut rig = Rig::new(&[]);
            rig.hart().csr.mcounteren = mcounteren;
            rig.hart().csr.scounteren = scounteren;
            rig.hart().mode = mode;
            let found = execute(&mut rig, csrrs(T0, csr, ZERO), 0).is_some();
            assert_eq!(found, legal, "{csr:#x} {mcounteren} {scounteren} in {mode:?}");
        }
    };
    for (csr, bit) in [(0xc00, 1), (0xc01, 2), (0xc02, 4), (0xc1f, 1 << 31)] {
        check(csr, 0, ONES, false, false);
        check(csr, bit, 0, true, false);
        check(csr, bit, bit, true, true);
        check(csr, !bit, ONES, false, false);
        check(csr, ONES, !bit, true, false);
    }
}

#[test]
fn the_supervisors_timer_needs_sstc_and_mcounteren() {
    let check = |stce: bool, mcounteren: u64, legal: bool| {
        let mut rig = Rig::new(&[]);
        rig.hart().csr.menvcfg = if stce { envcfg::STCE } else { 0 };
        rig.hart().csr.mcounteren = mcounteren;
        rig.hart().mode = Supervisor;
        assert_eq!(execute(&mut rig, csrrs(T0, 0x14d, ZERO), 0).is_some(), legal);
        assert_eq!(execute(&mut rig, csrrw(ZERO, 0x14d, A1), 5).is_some(), legal);
    };
    check(true, 2, true);
    check(true, 0, false);
    check(false, 2, false);
}

#[test]
fn floating_point_state_is_off_or_dirty() {
    const FS_INITIAL: u64 = 1 << 13;
    // Each with FS off is illegal; otherwise it makes the state dirty or leaves it.
    let check = |instruction: u32, dirty: bool| {
        let mut rig = Rig::new(&[]);
        assert_eq!(execute(&mut rig, instruction, CODE), None, "{instruction:#x} while off");
        rig.hart().csr.mstatus |= FS_INITIAL;
        assert!(execute(&mut rig, instruction, CODE).is_some());
        let fs = if dirty { mstatus::FS | mstatus::SD } else { FS_INITIAL };
        let status = execute(&mut rig, csrrs(T0, 0x300, ZERO), 0).expect("mstatus exists");
        assert_eq!(status & (mstatus::FS | mstatus::SD), fs, "{instruction:#x}");
    };
    check(csrrs(T0, 0x003, ZERO), false);
    check(csrrw(ZERO, 0x003, A1), true);
    check(csrrw(ZERO, 0x001, A1), true);
    check(csrrw(ZERO, 0x002, A1), true);
    check(flw(1, A1, 0), true);
    check(fsw(1, A1, 0), false);
    check(op_fp(0x00, 0, 1, 2, 3), true); // fadd.s
    check(op_fp(0x70, 0, T0, 2, 0), false); // fmv.x.w
    check(op_fp(0x78, 0, 1, A1, 0), true); // fmv.w.x
    check(op_fp(0x50, 2, T0, 2, 3), false); // feq.s, no flag raised
}

#[test]
fn virtual_memory_can_be_trapped() {
    let mut rig = Rig::new(&[]);
    let instructions = [csrrs(T0, 0x180, ZERO), csrrw(ZERO, 0x180, ZERO), SFENCE_VMA];
    for (mode, tvm, legal) in [
        (Supervisor, 0, true),
        (Supervisor, mstatus::TVM, false),
        (Machine, mstatus::TVM, true),
        (User, 0, false),
    ] {
        for instruction in instructions {
            rig.hart().mode = mode;
            rig.hart().csr.mstatus = XL | tvm;
            let found = execute(&mut rig, instruction, 0).is_some();
            assert_eq!(found, legal, "{instruction:#x} in {mode:?}, TVM {tvm:#x}");
        }
    }
}

#[test]
fn impossible_states_are_not_restored() {
    let check = |what: &str, spoil: fn(&mut crate::Hart)| {
        let mut hart = crate::Hart::new(3);
        spoil(&mut hart);
        let saved = hart.save();
        let mut other = crate::Hart::new(3);
        let before = other.save();
        assert!(other.restore(&saved).is_err(), "{what}");
        assert!(other.save() == before, "{what}: unchanged");
    };
    check("mstatus bits", |h| h.csr.mstatus |= 1 << 4);
    check("mstatus.UXL", |h| h.csr.mstatus = 0);
    check("mstatus.MPP", |h| h.csr.mstatus |= 2 << 11);
    check("mip", |h| h.csr.mip = irq::MSI);
    check("mie", |h| h.csr.mie = 1);
    check("medeleg", |h| h.csr.medeleg = 1 << 11);
    check("mideleg", |h| h.csr.mideleg = irq::MEI);
    check("mepc", |h| h.csr.mepc = 1);
    check("stvec", |h| h.csr.stvec = 2);
    check("satp mode", |h| h.csr.satp = 10 << 60);
    check("satp Sv48", |h| h.csr.satp = 9 << 60);
    check("satp bare", |h| h.csr.satp = 1);
    check("fcsr", |h| h.csr.fcsr = 0x100);
    check("menvcfg", |h| h.csr.menvcfg = 2);
    check("senvcfg", |h| h.csr.senvcfg = envcfg::STCE);
    check("CBIE", |h| h.csr.menvcfg = 2 << 4);
    check("mcounteren", |h| h.csr.mcounteren = 1 << 32);
    check("hart id", |h| h.csr.hart_id = 4);
    check("Sv48", |h| h.csr.sv48 = true);
    check("odd pc", |h| h.pc = 1);
    check("x0", |h| h.x[0] = 1);
    check("trapped", |h| h.trapped = 1);
    check("reservation", |h| {
        h.reservation = Some(crate::hart::Reservation { addr: 4, size: 8, value: 0 });
    });
    check("reservation size", |h| {
        h.reservation = Some(crate::hart::Reservation { addr: 4, size: 3, value: 0 });
    });
    let mut hart = crate::Hart::new(3);
    hart.offer_sv48();
    hart.csr.satp = 9 << 60;
    let mut other = crate::Hart::new(3);
    other.offer_sv48();
    other.restore(&hart.save()).unwrap();
    assert!(other.save() == hart.save());
}
