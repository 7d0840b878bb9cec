//! Traps: which interrupt, to whom, what they leave behind, how they return.

use crate::csr::mstatus;
use crate::hart::Privilege::{self, Machine, Supervisor, User};
use crate::run::Exit;
use crate::testing::asm::*;
use crate::testing::{CODE, HANDLER, Rig};
use crate::trap::{Cause, irq};

const STVEC: u64 = HANDLER + 0x800;
const SIE: u64 = mstatus::SIE;
const MIE: u64 = mstatus::MIE;

fn rig(mode: Privilege, program: &[u32]) -> Rig {
    let mut rig = Rig::new(program);
    rig.poke(STVEC, &bytes(&[SPIN]));
    rig.hart().csr.stvec = STVEC;
    rig.hart().mode = mode;
    rig
}

#[test]
fn interrupts_are_taken_by_privilege_and_delegation() {
    // Mode, mstatus, mideleg, pending and enabled: the handler and its cause, if one is entered.
    let check = |mode, status: u64, mideleg: u64, bits: u64, taken: Option<(Privilege, u64)>| {
        let mut rig = rig(mode, &[NOP, SPIN]);
        rig.hart().csr.mstatus |= status;
        rig.hart().csr.mideleg = mideleg;
        rig.hart().csr.mie = bits;
        rig.hart().csr.mip = bits & irq::SUPERVISOR;
        rig.hart().set_lines(bits & !irq::SUPERVISOR, 0);
        rig.run(1);
        let hart = &rig.harts[0];
        let what = format!("{mode:?} {status:#x} {mideleg:#x} {bits:#x}");
        let found = match hart.pc() {
            HANDLER => Some((Machine, hart.csr.mcause & 63)),
            STVEC => Some((Supervisor, hart.csr.scause & 63)),
            _ => None,
        };
        assert_eq!(found, taken, "{what}");
        if let Some((to, _)) = taken {
            let machine = to == Machine;
            let (cause, epc, tval) = if machine {
                (hart.csr.mcause, hart.csr.mepc, hart.csr.mtval)
            } else {
                (hart.csr.scause, hart.csr.sepc, hart.csr.stval)
            };
            assert_eq!((cause >> 63, epc, tval, hart.mode()), (1, CODE, 0, to), "{what}");
            assert_eq!(hart.retired(), 1, "{what}: taking an interrupt is no instruction");
        }
    };
    let m = |cause| Some((Machine, cause));
    let s = |cause| Some((Supervisor, cause));
    // Enabled by the mode below, or by its bit in the mode itself.
    check(Machine, 0, 0, irq::MTI, None);
    check(Machine, MIE, 0, irq::MTI, m(7));
    check(Supervisor, 0, 0, irq::MTI, m(7));
    check(User, 0, 0, irq::MSI, m(3));
    check(Supervisor, 0, irq::SUPERVISOR, irq::SSI, None);
    check(Supervisor, SIE, irq::SUPERVISOR, irq::SSI, s(1));
    check(User, 0, irq::SUPERVISOR, irq::SSI, s(1));
    check(Machine, MIE | SIE, irq::SUPERVISOR, irq::SSI, None);
    check(Machine, MIE, 0, irq::SSI, m(1));
    check(Supervisor, 0, 0, irq::SEI, m(9));
    // Priority: external, software, timer; machine's before supervisor's.
    check(Machine, MIE, 0, irq::ALL, m(11));
    check(Machine, MIE, 0, irq::ALL & !irq::MEI, m(3));
    check(Machine, MIE, 0, irq::ALL & !(irq::MEI | irq::MSI), m(7));
    check(Machine, MIE, 0, irq::SUPERVISOR, m(9));
    check(Machine, MIE, 0, irq::SSI | irq::STI, m(1));
    check(Machine, MIE, 0, irq::STI, m(5));
    // What goes to M-mode comes first, whatever its own priority.
    check(Supervisor, SIE, irq::SEI | irq::SSI, irq::SUPERVISOR, m(5));
    check(Supervisor, SIE, irq::SUPERVISOR, irq::ALL, m(11));
    check(Supervisor, SIE, irq::SUPERVISOR, irq::SUPERVISOR, s(9));
}

#[test]
fn exceptions_go_where_they_are_delegated() {
    let check = |mode, medeleg: u64, instruction: u32, cause: u64, to_supervisor: bool| {
        let mut rig = rig(mode, &[NOP, instruction]);
        rig.hart().csr.medeleg = medeleg;
        rig.run(2);
        let hart = &rig.harts[0];
        let (pc, found) = if to_supervisor {
            (STVEC, (hart.csr.scause, hart.csr.sepc))
        } else {
            (HANDLER, (hart.csr.mcause, hart.csr.mepc))
        };
        assert_eq!((hart.pc(), found), (pc, (cause, CODE + 4)), "{mode:?} {instruction:#x}");
    };
    const ALL: u64 = 0xb1ff;
    check(User, 0, ECALL, 8, false);
    check(User, ALL, ECALL, 8, true);
    check(Supervisor, ALL, ECALL, 9, false);
    check(Machine, ALL, ECALL, 11, false);
    check(Machine, ALL, EBREAK, 3, false);
    check(Supervisor, ALL, EBREAK, 3, true);
    check(Supervisor, ALL & !8, EBREAK, 3, false);
    check(User, ALL, 0, 2, true);
}

#[test]
fn only_interrupts_use_the_vector() {
    let check = |interrupt: bool, mtvec: u64, pc: u64| {
        let mut rig = rig(Machine, &[EBREAK]);
        rig.hart().csr.mtvec = mtvec;
        if interrupt {
            rig.hart().csr.mstatus |= MIE;
            rig.hart().csr.mie = irq::MTI;
            rig.hart().set_lines(irq::MTI, 0);
        }
        for at in [0, 4 * 7] {
            rig.poke(HANDLER + at, &bytes(&[SPIN]));
        }
        rig.run(1);
        assert_eq!(rig.harts[0].pc(), pc, "interrupt: {interrupt}");
    };
    check(true, HANDLER, HANDLER);
    check(true, HANDLER | 1, HANDLER + 4 * 7);
    check(false, HANDLER | 1, HANDLER);
}

#[test]
fn traps_stack_the_status() {
    let check = |mode: Privilege, to_supervisor: bool, before: u64, after: u64| {
        let mut rig = rig(mode, &[EBREAK]);
        rig.hart().csr.medeleg = if to_supervisor { 8 } else { 0 };
        rig.hart().csr.mstatus |= before;
        rig.run(1);
        let fields = SIE | MIE | mstatus::SPIE | mstatus::MPIE | mstatus::SPP | mstatus::MPP;
        assert_eq!(rig.harts[0].csr.mstatus & fields, after, "{mode:?} {before:#x}");
    };
    let mpp = |mode: Privilege| (mode as u64) << mstatus::MPP_SHIFT;
    check(User, true, SIE | MIE, mstatus::SPIE | MIE);
    check(User, true, mstatus::SPIE | mstatus::SPP, 0);
    check(Supervisor, true, SIE, mstatus::SPIE | mstatus::SPP);
    check(Supervisor, false, SIE | MIE, mstatus::MPIE | SIE | mpp(Supervisor));
    check(Machine, false, MIE, mstatus::MPIE | mpp(Machine));
    check(User, false, mstatus::MPIE | mpp(Machine), mpp(User));
}

#[test]
fn returns_unstack_the_status() {
    let check = |instruction: u32, mode: Privilege, before: u64, to: Privilege, after: u64| {
        let mut rig = rig(mode, &[instruction]);
        rig.hart().csr.mstatus |= before;
        (rig.hart().csr.mepc, rig.hart().csr.sepc) = (CODE + 0x100, CODE + 0x100);
        rig.run(1);
        let hart = &rig.harts[0];
        assert_eq!((hart.pc(), hart.mode()), (CODE + 0x100, to), "{instruction:#x} {before:#x}");
        let fields = !(mstatus::UXL_64 | mstatus::SXL_64);
        assert_eq!(hart.csr.mstatus & fields, after, "{instruction:#x} {before:#x}");
    };
    let mpp = |mode: Privilege| (mode as u64) << mstatus::MPP_SHIFT;
    let (mpie, spie, spp, mprv) = (mstatus::MPIE, mstatus::SPIE, mstatus::SPP, mstatus::MPRV);
    check(MRET, Machine, mpp(Machine) | mpie | mprv, Machine, MIE | mpie | mprv);
    check(MRET, Machine, mpp(Supervisor) | MIE | mprv, Supervisor, mpie);
    check(MRET, Machine, mpp(User) | mpie | SIE, User, MIE | mpie | SIE);
    check(SRET, Supervisor, spp | spie, Supervisor, SIE | spie);
    check(SRET, Supervisor, SIE, User, spie);
    check(SRET, Machine, spp | mprv, Supervisor, spie);
}

#[test]
fn returns_and_wfi_need_their_mode() {
    let check = |instruction: u32, mode: Privilege, status: u64, legal: bool| {
        let mut rig = rig(mode, &[instruction]);
        rig.hart().csr.mstatus |= status;
        (rig.hart().csr.mepc, rig.hart().csr.sepc) = (CODE + 0x100, CODE + 0x100);
        rig.run(1);
        let illegal = rig.harts[0].pc() == HANDLER;
        assert_eq!(illegal, !legal, "{instruction:#x} in {mode:?} with {status:#x}");
        if illegal {
            assert_eq!(rig.expect_trap(Cause::IllegalInstruction), (instruction.into(), CODE));
        }
    };
    check(MRET, Machine, 0, true);
    check(MRET, Supervisor, 0, false);
    check(MRET, User, 0, false);
    check(SRET, Machine, mstatus::TSR, true);
    check(SRET, Supervisor, 0, true);
    check(SRET, Supervisor, mstatus::TSR, false);
    check(SRET, User, 0, false);
    check(WFI, Machine, mstatus::TW, true);
    check(WFI, Supervisor, 0, true);
    check(WFI, Supervisor, mstatus::TW, false);
    check(WFI, User, 0, false);
}

#[test]
fn an_interrupt_enabled_by_an_instruction_is_taken_behind_it() {
    // By mstatus, by mie, by MRET.
    let check = |program: &[u32], prepare: fn(&mut crate::Hart), epc: u64| {
        let mut rig = rig(Machine, program);
        rig.hart().csr.mie = irq::MTI;
        rig.hart().set_lines(irq::MTI, 0);
        prepare(rig.hart());
        assert_eq!(rig.run_hart(0, 3), Exit::Steps);
        assert_eq!((rig.harts[0].csr.mcause, rig.harts[0].csr.mepc), (1 << 63 | 7, epc));
    };
    check(&[NOP, csrrs(ZERO, 0x300, A0), NOP], |hart| hart.set_reg(10, MIE), CODE + 8);
    check(
        &[NOP, csrrs(ZERO, 0x304, A0), NOP],
        |hart| {
            hart.set_reg(10, irq::MTI);
            hart.csr.mie = 0;
            hart.csr.mstatus |= MIE;
        },
        CODE + 8,
    );
    check(
        &[MRET, NOP, NOP],
        |hart| {
            hart.csr.mstatus |= mstatus::MPIE | mstatus::MPP;
            hart.csr.mepc = CODE + 8;
        },
        CODE + 8,
    );
}

#[test]
fn the_supervisor_is_entered_as_the_specification_says() {
    let mut hart = crate::Hart::new(2);
    hart.enter_supervisor(CODE, 2, 0x1234);
    assert_eq!((hart.pc(), hart.mode(), hart.reg(10), hart.reg(11)), (CODE, Supervisor, 2, 0x1234));
    assert_eq!((hart.csr.satp, hart.csr.mstatus & SIE), (0, 0));
    assert!(hart.stimecmp().is_some(), "Sstc is on");
}
