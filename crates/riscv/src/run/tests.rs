//! What runs compute and where they stop: blocks, page boundaries, changing code, counters.

use crate::bus::{PAGE_BYTES, RAM_BASE};
use crate::engine::ReportedStore;
use crate::hart::Privilege;
use crate::run::Exit;
use crate::testing::asm::*;
use crate::testing::{CODE, DATA, DEVICE, HANDLER, LEAF_TABLE, Rig, leaf_entry};
use crate::trap::{Cause, irq};

/// A program with branches, a loop, stores, a call, a trap and a page end.
fn busy_program() -> Vec<u32> {
    let mut code = vec![0; 1024 + 8];
    // The handler of the ECALL below: skip it.
    let body = [
        addi(S2, ZERO, 5),
        // loop:
        addi(S2, S2, -1),
        sd(S2, A0, 0),
        amoadd(3, T0, A0, S2),
        jal(RA, 4 * 5),
        ECALL,
        bne(S2, ZERO, -4 * 5),
        jal(ZERO, 4 * 6),
        NOP,
        // routine: the ECALL's handler returns here as well, to `ra`.
        addi(T1, T1, 3),
        csrrs(T2, 0x300, ZERO),
        jalr(ZERO, RA, 0),
        NOP,
        // after the loop: to the end of the page.
        auipc(T0, 4096),
        jalr(ZERO, T0, -8 - 4 * 13),
    ];
    code[..body.len()].copy_from_slice(&body);
    code[1022] = addi(T1, T1, 7);
    code[1023] = addi(T1, T1, 9);
    // Next page.
    code[1024] = addi(T1, T1, 11);
    code[1025] = sd(T1, A0, 8);
    code[1026] = SPIN;
    code
}

fn busy_rig() -> Rig {
    let mut rig = Rig::new(&busy_program());
    let handler = [csrrs(T2, 0x341, ZERO), addi(T2, T2, 4), csrrw(ZERO, 0x341, T2), MRET];
    rig.poke(HANDLER, &bytes(&handler));
    rig.hart().set_reg(10, DATA);
    rig
}

#[test]
fn a_run_of_n_steps_is_n_runs_of_one() {
    const STEPS: u64 = 130;
    let mut single = busy_rig();
    for steps in 0..STEPS {
        let mut whole = busy_rig();
        assert_eq!(whole.run_hart(0, steps), Exit::Steps);
        assert_eq!(whole.harts[0].steps(), steps);
        assert!(whole.harts[0].save() == single.harts[0].save(), "after {steps} steps");
        assert_eq!(whole.peek(DATA), single.peek(DATA), "after {steps} steps");
        assert_eq!(single.run_hart(0, 1), Exit::Steps);
    }
    assert_eq!(single.harts[0].pc(), CODE + PAGE_BYTES + 8, "the program came to its end");
    assert_eq!(single.peek(DATA + 8), 5 * 3 + 7 + 9 + 11);
}

#[test]
fn any_cuts_of_a_run_change_nothing() {
    let mut whole = busy_rig();
    whole.run(200);
    for piece in 1..70 {
        let mut cut = busy_rig();
        while cut.harts[0].steps() < 200 {
            let left = 200 - cut.harts[0].steps();
            cut.run_hart(0, piece.min(left));
        }
        assert!(cut.harts[0].save() == whole.harts[0].save(), "pieces of {piece}");
    }
}

#[test]
fn runs_end_for_a_reason() {
    let check = |program: &[u32], exit, steps, pc_steps: u64| {
        let mut rig = Rig::new(program);
        rig.hart().set_reg(10, DEVICE);
        assert_eq!(rig.run_hart(0, 100), exit, "{program:x?}");
        assert_eq!(rig.harts[0].steps(), steps, "{program:x?}");
        assert_eq!(rig.harts[0].pc(), CODE + 4 * pc_steps, "{program:x?}");
    };
    check(&[NOP, SPIN], Exit::Steps, 100, 1);
    check(&[NOP, WFI, NOP], Exit::Wfi, 2, 2);
    check(&[NOP, PAUSE, NOP], Exit::Pause, 2, 2);
    check(&[NOP, ld(T0, A0, 0), NOP, NOP], Exit::Devices, 2, 2);
    check(&[NOP, sw(T0, A0, 4), NOP, NOP], Exit::Devices, 2, 2);
    check(&[csrrw(ZERO, 0x14d, T0), NOP], Exit::Devices, 1, 1);
}

#[test]
fn ecalls_from_the_supervisor_go_to_whom_they_are_for() {
    use crate::run::{Firmware, Turn};
    let mut rig = Rig::new(&[NOP, ECALL]);
    rig.hart().mode = Privilege::Supervisor;
    let turn = Turn { steps: 9, now_ticks: 0, ticks_per_step: 16, firmware: Firmware::Caller };
    let exit = rig.engine.run(0, &mut rig.harts[0], &mut rig.bus, turn);
    assert_eq!((exit, rig.harts[0].pc(), rig.harts[0].retired()), (Exit::Firmware, CODE + 4, 2));
    // U-mode's never go to the caller.
    rig.hart().mode = Privilege::User;
    rig.engine.run(0, &mut rig.harts[0], &mut rig.bus, Turn { steps: 1, ..turn });
    assert_eq!((rig.harts[0].csr.mcause, rig.harts[0].pc()), (8, HANDLER));
}

#[test]
fn devices_see_the_instant_of_the_instruction() {
    let mut rig = Rig::new(&[NOP, NOP, ld(T0, A0, 8), NOP, sw(T0, A0, 4), SPIN]);
    rig.hart().set_reg(10, DEVICE);
    rig.run(6);
    assert_eq!(rig.bus.accesses, [(DEVICE + 8, 8, 2 * 16), (DEVICE + 4, 4, 4 * 16)]);
}

#[test]
fn reported_pages_stop_the_run_after_the_store() {
    let mut rig = Rig::new(&[sd(T0, A0, 8), NOP, sd(T0, A0, 0), amoadd(3, T0, A0, T0), SPIN]);
    rig.hart().set_reg(10, DATA - 8);
    rig.engine.report_stores(&mut rig.bus, DATA);
    for pc in [1, 5] {
        let exit = if pc == 1 { Exit::Reported } else { Exit::Steps };
        assert_eq!(rig.run_hart(0, 20), exit);
        if pc == 1 {
            assert_eq!(rig.harts[0].pc(), CODE + 4 * pc);
            let old = [0; 8];
            let store = ReportedStore { addr: DATA, len: 8, old, pc: CODE };
            assert_eq!(rig.engine.take_reported(), [store]);
        }
    }
    rig.engine.report_no_stores();
    rig.hart().set_pc(CODE);
    assert_eq!(rig.run_hart(0, 20), Exit::Steps);
}

#[test]
fn reported_stores_come_with_what_was_there() {
    // Misaligned across the end of the page before, which is not reported, and a whole block.
    let mut rig = Rig::new(&[sd(T0, A0, 0), SPIN]);
    rig.hart().set_reg(10, DATA - 3);
    rig.hart().set_reg(5, 0x0807_0605_0403_0201);
    rig.poke_u64(DATA, 0x1122_3344_5566_7788);
    rig.engine.report_stores(&mut rig.bus, DATA);
    assert_eq!(rig.run_hart(0, 20), Exit::Reported);
    let old = [0x88, 0x77, 0x66, 0x55, 0x44, 0, 0, 0];
    assert_eq!(rig.engine.take_reported(), [ReportedStore { addr: DATA, len: 5, old, pc: CODE }]);
    assert_eq!(rig.peek(DATA), 0x1122_3308_0706_0504);
}

#[test]
fn page_walks_are_not_reported() {
    // A table in the reported page gets its A bit from a fetch and from a load.
    let mut rig = Rig::new(&[ld(T0, A0, 0), addi(T1, T1, 1), sd(ZERO, A1, 0), SPIN]);
    rig.enable_paging(Privilege::Supervisor);
    rig.map(0x5000, CODE, 0xf);
    rig.map(0x6000, DATA, 0xf);
    rig.engine.report_stores(&mut rig.bus, LEAF_TABLE);
    rig.hart().set_reg(10, 0x6000);
    rig.hart().set_reg(11, LEAF_TABLE);
    rig.hart().set_pc(0x5000);
    assert_eq!(rig.run_hart(0, 9), Exit::Reported);
    assert_eq!((rig.harts[0].pc(), rig.peek(leaf_entry(0x6000)) & 0x40), (0x500c, 0x40));
}

/// A 4-byte instruction whose halves are on pages 0 and 1 of the code.
fn straddling(instruction: u32) -> Rig {
    let mut rig = Rig::new(&[]);
    rig.poke(CODE + PAGE_BYTES - 4, &C_NOP.to_le_bytes());
    rig.poke(CODE + PAGE_BYTES - 2, &instruction.to_le_bytes());
    rig.poke(CODE + PAGE_BYTES + 2, &bytes(&[addi(T1, T0, 1), SPIN]));
    rig.hart().set_pc(CODE + PAGE_BYTES - 4);
    rig
}

#[test]
fn instructions_straddle_pages() {
    let mut rig = straddling(addi(T0, ZERO, 77));
    rig.run(3);
    assert_eq!((rig.harts[0].reg(5), rig.harts[0].reg(6)), (77, 78));
    // The other page's half decides anew each time.
    rig.hart().set_pc(CODE + PAGE_BYTES - 4);
    rig.device_writes(CODE + PAGE_BYTES, u64::from(addi(T0, ZERO, 55) >> 16) | 0x6f << 16);
    rig.run(2);
    assert_eq!(rig.harts[0].reg(5), 55);
}

#[test]
fn a_missing_second_half_faults_at_its_own_address() {
    let check = |cause: Cause, prepare: fn(&mut Rig)| {
        let mut rig = straddling(addi(T0, ZERO, 77));
        let start = CODE + PAGE_BYTES - 2;
        prepare(&mut rig);
        let va = rig.harts[0].pc() - CODE % PAGE_BYTES;
        let (tval, epc) = rig.expect_trap(cause);
        assert_eq!(tval, (va | (PAGE_BYTES - 1)) + 1, "tval of {cause:?}");
        assert_eq!(epc % PAGE_BYTES, start % PAGE_BYTES);
        assert_eq!(rig.harts[0].reg(5), 0);
    };
    // The second page is not mapped.
    check(Cause::InstructionPage, |rig| {
        rig.enable_paging(Privilege::Supervisor);
        rig.map(0x1_0000, CODE, 0xcf);
        rig.hart().set_pc(0x1_0000 + PAGE_BYTES - 4);
    });
    // The second page is behind RAM.
    check(Cause::InstructionAccess, |rig| {
        let end = RAM_BASE + u64::from(crate::testing::PAGES) * PAGE_BYTES;
        rig.poke(end - 4, &C_NOP.to_le_bytes());
        rig.poke(end - 2, &addi(T0, ZERO, 77).to_le_bytes()[..2]);
        rig.hart().set_pc(end - 4);
    });
}

#[test]
fn pages_are_crossed_wherever_blocks_end() {
    // A compressed instruction and a whole one at the very end of a page.
    let check = |offset: u64, last: &[u8]| {
        let mut rig = Rig::new(&[]);
        rig.poke(CODE + PAGE_BYTES - offset, last);
        rig.poke(CODE + PAGE_BYTES, &bytes(&[addi(T0, T0, 1), SPIN]));
        rig.hart().set_pc(CODE + PAGE_BYTES - offset);
        rig.run(2);
        assert_eq!((rig.harts[0].reg(5), rig.harts[0].steps()), (1, 2));
    };
    check(2, &C_NOP.to_le_bytes());
    check(4, &NOP.to_le_bytes());
}

/// What the program computes if a store over the next instruction shows at once.
#[test]
fn code_that_changes_itself_is_seen_at_once() {
    let check = |fence: u32, far: u64| {
        // Stores `addi t1, t1, 100` over the instruction at `a0`, which adds 1; then runs it.
        let program = [
            addi(T1, T1, 1),
            sw(A1, A0, 0),
            fence,
            jalr(RA, A0, 0),
            bne(T2, ZERO, 12),
            addi(T2, ZERO, 1),
            jal(ZERO, -4 * 6),
            SPIN,
        ];
        let mut rig = Rig::new(&program);
        rig.poke(CODE + far, &bytes(&[addi(T1, T1, 1), jalr(ZERO, RA, 0)]));
        rig.hart().set_reg(10, CODE + far);
        rig.hart().set_reg(11, addi(T1, T1, 100).into());
        // Run the old code first, so that it is decoded.
        rig.hart().set_reg(1, CODE);
        rig.hart().set_pc(CODE + far);
        rig.run(2);
        assert_eq!((rig.harts[0].reg(6), rig.harts[0].pc()), (1, CODE));
        rig.run(20);
        assert_eq!(rig.harts[0].reg(6), 1 + 2 * (1 + 100), "fence {fence:#x}, {far:#x} away");
    };
    for fence in [NOP, FENCE_I] {
        check(fence, 0x100);
        check(fence, PAGE_BYTES + 0x10);
    }
}

#[test]
fn a_store_over_the_next_instruction_takes_effect_in_the_same_block() {
    let mut rig = Rig::new(&[NOP, sw(A1, A0, 8), addi(T1, ZERO, 1), SPIN]);
    rig.hart().set_reg(10, CODE);
    rig.hart().set_reg(11, addi(T1, ZERO, 2).into());
    rig.run(4);
    assert_eq!(rig.harts[0].reg(6), 2);
}

#[test]
fn another_harts_code_changes_are_seen() {
    let mut rig = Rig::with_harts(2, &[addi(T1, T1, 1), SPIN]);
    rig.run_hart(0, 2);
    rig.poke(CODE + 0x800, &bytes(&[sw(A1, A0, 0), SPIN]));
    rig.harts[1].set_reg(10, CODE);
    rig.harts[1].set_reg(11, addi(T1, T1, 50).into());
    rig.harts[1].set_pc(CODE + 0x800);
    rig.run_hart(1, 2);
    rig.hart().set_pc(CODE);
    rig.run_hart(0, 2);
    assert_eq!(rig.harts[0].reg(6), 51);
}

#[test]
fn a_device_that_writes_code_is_seen() {
    let mut rig = Rig::new(&[addi(T1, T1, 1), SPIN]);
    rig.run(2);
    rig.device_writes(CODE, u64::from(addi(T1, T1, 20)) | u64::from(SPIN) << 32);
    rig.hart().set_pc(CODE);
    rig.run(2);
    assert_eq!(rig.harts[0].reg(6), 21);
}

#[test]
fn code_and_data_share_a_page() {
    // Counts in a word of its own page, near and far from the code.
    for offset in [0x40, 0x400, 0xff8] {
        let program = [ld(T0, A0, 0), addi(T0, T0, 1), sd(T0, A0, 0), bne(T0, A1, -12), SPIN];
        let mut rig = Rig::new(&program);
        rig.hart().set_reg(10, CODE + offset);
        rig.hart().set_reg(11, 500);
        rig.run(4 * 500 + 1);
        assert_eq!((rig.harts[0].pc(), rig.peek(CODE + offset)), (CODE + 16, 500));
    }
}

#[test]
fn counters_count_what_retired() {
    // minstret, then a trap whose handler is `j .`, then minstret again.
    let mut rig = Rig::new(&[NOP, csrrs(T0, 0xb02, ZERO), csrrs(T1, 0xb00, ZERO), EBREAK]);
    rig.poke(HANDLER, &bytes(&[csrrs(T2, 0xb02, ZERO), csrrs(S2, 0xb00, ZERO), SPIN]));
    rig.run(6);
    let found = [5, 6, 7, 18].map(|r| rig.harts[0].reg(r));
    assert_eq!(found, [1, 2, 3, 4], "EBREAK did not retire");
    assert_eq!((rig.harts[0].retired(), rig.harts[0].steps()), (5, 6));
}

#[test]
fn counters_can_be_written() {
    let check = |csr: u16, value: u64, read: u64| {
        let program = [NOP, csrrw(ZERO, csr, A0), NOP, csrrs(T0, csr, ZERO), SPIN];
        let mut rig = Rig::new(&program);
        rig.hart().set_reg(10, value);
        rig.run(4);
        assert_eq!(rig.harts[0].reg(5), read, "csr {csr:#x} of {value:#x}");
    };
    for csr in [0xb00, 0xb02] {
        // The write itself leaves the value; the instruction between counts.
        check(csr, 0, 1);
        check(csr, 1000, 1001);
        check(csr, u64::MAX, 0);
    }
    // The event counters stay zero.
    check(0xb03, 5, 0);
}

#[test]
fn time_is_the_instant_of_the_instruction() {
    let mut rig = Rig::new(&[NOP, NOP, NOP, csrrs(T0, 0xc01, ZERO), csrrs(T1, 0xc01, ZERO), SPIN]);
    rig.run(6);
    assert_eq!((rig.harts[0].reg(5), rig.harts[0].reg(6)), (3, 4));
}

#[test]
fn wfi_ends_only_for_enabled_interrupts() {
    let check = |lines, mie, exit| {
        let mut rig = Rig::new(&[WFI, SPIN]);
        rig.hart().csr.mie = mie;
        rig.hart().set_lines(lines, 0);
        assert_eq!(rig.run_hart(0, 2), exit, "{lines:#x} {mie:#x}");
    };
    check(0, irq::ALL, Exit::Wfi);
    check(irq::MTI, irq::MSI, Exit::Wfi);
    // Enabled and pending, though mstatus.MIE is off.
    check(irq::MTI, irq::MTI, Exit::Steps);
}

#[test]
fn the_store_of_blocks_may_overflow() {
    // Jumps over four bytes each: blocks of one instruction, far more than the arena holds when
    // every store makes the page forget its code.
    let mut rig = Rig::new(&[sw(ZERO, A0, 0), addi(T0, T0, 1), jal(ZERO, -8)]);
    rig.hart().set_reg(10, CODE + 32);
    rig.run(3 * 400_000);
    assert_eq!(rig.harts[0].reg(5), 400_000);
}
