//! The guest program around the sequences: it sets the hart up for one, runs it, logs and skips its
//! traps (in M-mode, and in S-mode those that are delegated), and sends a record of what it left.

use crate::asm::{A0, A1, A2, A3, Asm, Label, RA, S0, S1, SP, T0, T1, T2, T3, T4, T5, ZERO};
use crate::asm::{csr, i_type, op, r_type, s_type};
use crate::csrs;
use crate::layout::*;
use crate::record::{LOG_ENTRY_WORDS, TRAPS_MAX, WORDS_FIXED};
use crate::sequence::field;

const UART: u64 = 0x1000_0000;
const FINISHER: u64 = 0x10_0000;
const FINISHER_PASS: u64 = 0x5555;
const MSTATUS_MPRV: u64 = 1 << 17;
const MSTATUS_SUM: u64 = 1 << 18;
const MSTATUS_FS: u64 = 3 << 13;
const ECALL: u32 = op::SYSTEM;
const SRET: u32 = 0x1020_0073;
const MRET: u32 = 0x3020_0073;
const WFI: u32 = 0x1050_0073;
const FENCE_I: u32 = op::MISC_MEM | 1 << 12;
const SFENCE_VMA: u32 = 0x1200_0073;
/// Software and external interrupts of S-mode, the ones that code can raise.
pub(crate) const INTERRUPTS: u64 = 0x202;
const BGE: u32 = 5;
/// Marks the log entries of the S-mode handler.
pub(crate) const LOGGED_IN_S: u64 = 1 << 62;
/// The multiplier of the runtime's hash and of the pattern that fills the scratch memory.
const MULTIPLIER: u64 = 0xd134_2543_de82_ef95;

/// What records contain.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// Only a hash: quick, enough to find a difference.
    Hashes,
    /// Everything.
    Full,
}

/// What of a trap is logged where implementations may differ.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Traps {
    /// The same for every choice.
    Unified,
    /// What the hart reported.
    Raw,
}

/// The S-mode handler ends a sequence by jumping here; the M-mode handler knows the address.
const S_END: u64 = BASE + 4;

/// The runtime's code, for address [`BASE`].
pub(crate) fn build(detail: Detail, traps: Traps) -> Vec<u8> {
    let mut asm = Asm::new(BASE);
    let (start, resume, next, finish) = (asm.label(), asm.label(), asm.label(), asm.label());
    asm.jump(start);
    asm.emit(ECALL);
    let m_handler = m_handler(&mut asm, traps, resume, finish);
    let s_handler = s_handler(&mut asm, traps);
    asm.bind(finish);
    close_record(&mut asm);
    send_record(&mut asm, detail);
    asm.jump(next);
    asm.bind(start);
    park_other_harts(&mut asm);
    set_up(&mut asm, m_handler, s_handler);
    asm.bind(next);
    next_sequence(&mut asm, resume);
    let code = asm.finish();
    assert!(code.len() < (FRAME - BASE) as usize);
    code
}

fn save(asm: &mut Asm, frame: i64) {
    for reg in (1..32).filter(|reg| *reg != SP) {
        asm.sd(reg, SP, frame + 8 * i64::from(reg));
    }
}

fn restore(asm: &mut Asm, frame: i64) {
    for reg in (1..32).filter(|reg| *reg != SP) {
        asm.ld(reg, SP, frame + 8 * i64::from(reg));
    }
}

/// `mscratch` holds a mask, not an address: MPRV must be off before the first store, and no
/// register is free to hold the mask. `sscratch` holds the frame's address for both handlers.
fn m_handler(asm: &mut Asm, traps: Traps, resume: Label, finish: Label) -> Label {
    let (skip, go_on, end, end_from_s) = (asm.label(), asm.label(), asm.label(), asm.label());
    let exception = asm.label();
    let entry = asm.here();
    asm.emit(csr(1, SP, csrs::MSCRATCH, SP));
    asm.emit(csr(3, SP, csrs::MSTATUS, SP));
    asm.emit(csr(1, SP, csrs::SSCRATCH, SP));
    save(asm, M_FRAME);
    asm.csrr(T0, csrs::MSCRATCH);
    asm.sd(T0, SP, M_FRAME + 8 * i64::from(SP));
    asm.csrr(T0, csrs::SSCRATCH);
    asm.sd(T0, SP, slot::MSTATUS);
    asm.csrw(csrs::SSCRATCH, SP);
    asm.csrr(T1, csrs::MCAUSE);
    asm.csrr(T2, csrs::MTVAL);
    asm.csrr(T3, csrs::MEPC);
    asm.ld(T4, SP, slot::END_PC);
    asm.beq(T3, T4, end);
    asm.li(T4, S_END);
    asm.beq(T3, T4, end_from_s);
    asm.branch(BGE, T1, ZERO, exception);
    // An interrupt: logged and cleared.
    log_trap(asm, end);
    asm.li(T4, INTERRUPTS);
    asm.emit(csr(3, ZERO, csrs::MIP, T4));
    asm.jump(resume);
    asm.bind(exception);
    log_trap(asm, end);
    branch_unless_fetch_fault(asm, skip);
    asm.ld(T3, SP, M_FRAME + 8 * i64::from(RA));
    branch_unless_in_sequence(asm, end);
    asm.jump(go_on);
    asm.bind(skip);
    if traps == Traps::Unified {
        complete_value(asm, csrs::MTVAL);
        unify_misaligned(asm, csrs::MCAUSE);
    }
    skip_instruction(asm);
    asm.bind(go_on);
    asm.csrw(csrs::MEPC, T3);
    asm.bind(resume);
    restore_and_mret(asm);
    asm.bind(end_from_s);
    asm.addi(A0, SP, 0);
    asm.jump(finish);
    asm.bind(end);
    asm.addi(A0, SP, M_FRAME);
    asm.jump(finish);
    entry
}

/// The way back: MPRV may become set again, so every load comes before.
fn restore_and_mret(asm: &mut Asm) {
    asm.ld(T0, SP, M_FRAME + 8 * i64::from(SP));
    asm.csrw(csrs::MSCRATCH, T0);
    restore(asm, M_FRAME);
    asm.ld(SP, SP, slot::MSTATUS);
    asm.csrw(csrs::MSTATUS, SP);
    asm.li(SP, MSTATUS_MPRV);
    asm.emit(csr(1, SP, csrs::MSCRATCH, SP));
    asm.emit(MRET);
}

fn s_handler(asm: &mut Asm, traps: Traps) -> Label {
    let (skip, go_on, end) = (asm.label(), asm.label(), asm.label());
    let exception = asm.label();
    let entry = asm.here();
    asm.emit(csr(1, SP, csrs::SSCRATCH, SP));
    save(asm, 0);
    asm.csrr(T0, csrs::SSCRATCH);
    asm.sd(T0, SP, 8 * i64::from(SP));
    asm.csrw(csrs::SSCRATCH, SP);
    // The skipped instruction may be on a user page.
    asm.li(T1, MSTATUS_SUM);
    asm.emit(csr(2, T0, csrs::SSTATUS, T1));
    asm.csrr(T1, csrs::SCAUSE);
    asm.csrr(T2, csrs::STVAL);
    asm.csrr(T3, csrs::SEPC);
    asm.ld(T4, SP, slot::END_PC);
    asm.beq(T3, T4, end);
    asm.sd(T0, SP, slot::SSTATUS);
    asm.li(T5, LOGGED_IN_S);
    asm.addi(T4, T1, 0);
    asm.emit(r_type(op::OP, 6, 0, T1, T1, T5));
    asm.branch(BGE, T4, ZERO, exception);
    // An interrupt: logged, and off from here on, since S-mode cannot clear every one.
    log_trap(asm, end);
    asm.csrw(csrs::SIE, ZERO);
    asm.jump(go_on);
    asm.bind(exception);
    log_trap(asm, end);
    asm.ld(T1, SP, slot::CAUSE);
    branch_unless_fetch_fault(asm, skip);
    asm.ld(T3, SP, 8 * i64::from(RA));
    branch_unless_in_sequence(asm, end);
    asm.jump(go_on);
    asm.bind(skip);
    if traps == Traps::Unified {
        complete_value(asm, csrs::STVAL);
        unify_misaligned(asm, csrs::SCAUSE);
    }
    skip_instruction(asm);
    asm.bind(go_on);
    asm.csrw(csrs::SEPC, T3);
    asm.ld(T0, SP, slot::SSTATUS);
    asm.csrw(csrs::SSTATUS, T0);
    restore(asm, 0);
    asm.ld(SP, SP, 8 * i64::from(SP));
    asm.emit(SRET);
    asm.bind(end);
    asm.li(T0, S_END);
    asm.emit(i_type(op::JALR, 0, ZERO, T0, 0));
    entry
}

/// Appends T1 (cause), T2 (value), T3 (pc), T0 (status) to the log; to `full` when it is full.
/// The plain cause is kept in its slot.
fn log_trap(asm: &mut Asm, full: Label) {
    asm.ld(S0, SP, slot::LOG);
    asm.ld(S1, SP, slot::LOG_END);
    asm.bgeu(S0, S1, full);
    for (at, reg) in [(0, T1), (8, T2), (16, T3), (24, T0)] {
        asm.sd(reg, S0, at);
    }
    asm.emit(i_type(op::OP_IMM, 7, T1, T1, 0x1f));
    asm.sd(T1, SP, slot::CAUSE);
    asm.addi(S0, S0, 8 * LOG_ENTRY_WORDS as i64);
    asm.sd(S0, SP, slot::LOG);
}

/// After a fetch fault (cause T1) there is no instruction to skip.
fn branch_unless_fetch_fault(asm: &mut Asm, to: Label) {
    let fault = asm.label();
    for cause in [0, 1, 12] {
        asm.addi(T4, ZERO, cause);
        asm.beq(T1, T4, fault);
    }
    asm.jump(to);
    asm.bind(fault);
}

/// Is T3 in the sequence? Then it can go on there.
fn branch_unless_in_sequence(asm: &mut Asm, to: Label) {
    asm.ld(T4, SP, slot::CODE_LOW);
    asm.branch(6, T3, T4, to);
    asm.ld(T4, SP, slot::END_PC);
    asm.bgeu(T3, T4, to);
}

/// An illegal instruction's value is its bits here, and in QEMU sometimes its bits, sometimes zero,
/// sometimes another's. So the bits of the instruction at T3 replace it, in the log entry before S0
/// and in the CSR; `illegal_instructions_report_their_bits` checks ours.
fn complete_value(asm: &mut Asm, number: u32) {
    let (other, short) = (asm.label(), asm.label());
    asm.addi(T4, ZERO, 2);
    asm.bne(T1, T4, other);
    asm.emit(i_type(op::LOAD, 5, T4, T3, 0));
    asm.emit(i_type(op::OP_IMM, 7, T5, T4, 3));
    asm.addi(T5, T5, -3);
    asm.bne(T5, ZERO, short);
    asm.emit(i_type(op::LOAD, 5, T5, T3, 2));
    asm.emit(i_type(op::OP_IMM, 1, T5, T5, 16));
    asm.emit(r_type(op::OP, 6, 0, T4, T4, T5));
    asm.bind(short);
    asm.sd(T4, S0, 8 - 8 * LOG_ENTRY_WORDS as i64);
    asm.csrw(number, T4);
    asm.bind(other);
}

/// Where nothing answers, a misaligned load or store is misaligned here and an access fault in
/// QEMU; both are allowed. It becomes an access fault, in the log entry before S0 and in the CSR;
/// atomics keep their cause.
fn unify_misaligned(asm: &mut Asm, number: u32) {
    const LOG_ENTRY: i64 = -8 * LOG_ENTRY_WORDS as i64;
    let other = asm.label();
    asm.emit(i_type(op::OP_IMM, 7, T4, T1, !2));
    asm.addi(T5, ZERO, 4);
    asm.bne(T4, T5, other);
    asm.emit(i_type(op::LOAD, 5, T4, T3, 0));
    asm.emit(i_type(op::OP_IMM, 7, T4, T4, 0x7f));
    asm.addi(T5, ZERO, i64::from(op::AMO));
    asm.beq(T4, T5, other);
    asm.ld(T4, S0, LOG_ENTRY);
    asm.emit(i_type(op::OP_IMM, 6, T4, T4, 1));
    asm.sd(T4, S0, LOG_ENTRY);
    asm.emit(csr(6, ZERO, number, 1));
    asm.bind(other);
}

/// Adds the length of the instruction at T3 to T3.
fn skip_instruction(asm: &mut Asm) {
    let short = asm.label();
    asm.emit(i_type(op::LOAD, 5, T4, T3, 0));
    asm.emit(i_type(op::OP_IMM, 7, T4, T4, 3));
    asm.addi(T3, T3, 2);
    asm.addi(T5, ZERO, 3);
    asm.bne(T4, T5, short);
    asm.addi(T3, T3, 2);
    asm.bind(short);
}

/// Registers come from the frame in A0.
fn close_record(asm: &mut Asm) {
    for number in [csrs::SATP, csrs::MEDELEG, csrs::PMPCFG0] {
        asm.csrw(number, ZERO);
    }
    asm.emit(SFENCE_VMA);
    asm.li(T0, MSTATUS_FS);
    asm.csrw(csrs::MSTATUS, T0);
    asm.li(S1, RECORD);
    asm.ld(T0, SP, slot::INDEX);
    asm.sd(T0, S1, 0);
    for reg in 1..32 {
        asm.ld(T0, A0, 8 * reg);
        asm.sd(T0, S1, 8 * reg);
    }
    for reg in 0..32 {
        asm.emit(s_type(op::STORE_FP, 3, S1, reg, 8 * (32 + i64::from(reg))));
    }
    asm.csrr(T0, csrs::FCSR);
    asm.sd(T0, S1, 8 * 64);
    asm.li(A2, 0);
    for (from, bytes) in [(TABLES, TABLES_BYTES), (SCRATCH, SCRATCH_BYTES)] {
        asm.li(A0, from);
        asm.li(A1, from + bytes);
        hash(asm);
    }
    asm.sd(A2, S1, 8 * 65);
    asm.ld(A1, SP, slot::LOG);
    asm.addi(T0, S1, 8 * WORDS_FIXED as i64);
    asm.emit(r_type(op::OP, 0, 0x20, T1, A1, T0));
    asm.sd(T1, S1, 8 * 66);
}

/// Folds the 64-bit words from A0 to A1 (exclusive) into A2.
fn hash(asm: &mut Asm) {
    asm.li(A3, MULTIPLIER);
    let (again, done) = (asm.label(), asm.label());
    asm.bind(again);
    asm.bgeu(A0, A1, done);
    asm.ld(T0, A0, 0);
    asm.emit(r_type(op::OP, 4, 0, A2, A2, T0));
    asm.emit(r_type(op::OP, 0, 1, A2, A2, A3));
    asm.emit(i_type(op::OP_IMM, 5, T0, A2, 29));
    asm.emit(r_type(op::OP, 4, 0, A2, A2, T0));
    asm.addi(A0, A0, 8);
    asm.jump(again);
    asm.bind(done);
}

/// Sends the record (S1 to A1) in the stream format of [`crate::record`].
fn send_record(asm: &mut Asm, detail: Detail) {
    let (send, over, again, done) = (asm.label(), asm.label(), asm.label(), asm.label());
    asm.addi(A0, S1, 0);
    match detail {
        Detail::Hashes => {
            asm.li(A2, 0);
            hash(asm);
            asm.addi(T0, ZERO, 1);
            asm.call(RA, send);
            asm.addi(T0, A2, 0);
            asm.call(RA, send);
        }
        Detail::Full => {
            asm.emit(r_type(op::OP, 0, 0x20, T0, A1, A0));
            asm.emit(i_type(op::OP_IMM, 5, T0, T0, 3));
            asm.call(RA, send);
            asm.bind(again);
            asm.bgeu(A0, A1, done);
            asm.ld(T0, A0, 0);
            asm.call(RA, send);
            asm.addi(A0, A0, 8);
            asm.jump(again);
            asm.bind(done);
        }
    }
    asm.jump(over);
    asm.bind(send);
    asm.li(T1, UART);
    for _ in 0..8 {
        asm.emit(s_type(op::STORE, 0, T1, T0, 0));
        asm.emit(i_type(op::OP_IMM, 5, T0, T0, 8));
    }
    asm.ret();
    asm.bind(over);
}

/// The oracle has a second hart (see [`stackvm_tests::qemu`]) with nothing to do.
fn park_other_harts(asm: &mut Asm) {
    let first = asm.label();
    asm.csrr(T0, csrs::MHARTID);
    asm.beq(T0, ZERO, first);
    asm.csrw(csrs::MIE, ZERO);
    let forever = asm.here();
    asm.emit(WFI);
    asm.jump(forever);
    asm.bind(first);
}

fn set_up(asm: &mut Asm, m_handler: Label, s_handler: Label) {
    asm.csrw(csrs::MIE, ZERO);
    asm.csrw(csrs::MIDELEG, ZERO);
    for (number, value) in [
        (csrs::MTVEC, asm.address(m_handler)),
        (csrs::STVEC, asm.address(s_handler)),
        (csrs::MSCRATCH, MSTATUS_MPRV),
        (csrs::SSCRATCH, FRAME),
        // The last PMP entry allows everything that no earlier one forbids.
        (csrs::PMPADDR15, (1 << 54) - 1),
        (csrs::PMPCFG2, 0x1f << 56),
    ] {
        asm.li(T0, value);
        asm.csrw(number, T0);
    }
    asm.li(SP, FRAME);
    asm.li(T0, DESCRIPTORS);
    asm.sd(T0, SP, slot::DESCRIPTOR);
}

/// Takes the next descriptor, or powers off after the last; leaves through `resume`.
fn next_sequence(asm: &mut Asm, resume: Label) {
    let some = asm.label();
    asm.ld(S0, SP, slot::DESCRIPTOR);
    asm.ld(T0, S0, field::PC);
    asm.bne(T0, ZERO, some);
    asm.li(T0, FINISHER);
    asm.li(T1, FINISHER_PASS);
    asm.emit(s_type(op::STORE, 2, T0, T1, 0));
    let forever = asm.here();
    asm.jump(forever);
    asm.bind(some);
    asm.csrw(csrs::MEPC, T0);
    asm.sd(T0, SP, slot::CODE_LOW);
    for (from, to) in [(field::END_PC, slot::END_PC), (field::INDEX, slot::INDEX)] {
        asm.ld(T0, S0, from);
        asm.sd(T0, SP, to);
    }
    asm.li(T0, RECORD + 8 * WORDS_FIXED);
    asm.sd(T0, SP, slot::LOG);
    asm.li(T0, RECORD + 8 * (WORDS_FIXED + LOG_ENTRY_WORDS * TRAPS_MAX));
    asm.sd(T0, SP, slot::LOG_END);
    fill_memory(asm);
    apply_pokes(asm);
    load_state(asm);
    asm.jump(resume);
}

fn fill_memory(asm: &mut Asm) {
    asm.li(T1, TABLES);
    asm.li(T2, TABLES + TABLES_BYTES);
    let again = asm.here();
    asm.sd(ZERO, T1, 0);
    asm.addi(T1, T1, 8);
    asm.bne(T1, T2, again);
    asm.li(T1, SCRATCH);
    asm.li(T2, SCRATCH + SCRATCH_BYTES);
    asm.li(T3, MULTIPLIER);
    asm.ld(T0, S0, field::FILL);
    let again = asm.here();
    asm.sd(T0, T1, 0);
    asm.emit(r_type(op::OP, 0, 1, T0, T0, T3));
    asm.emit(i_type(op::OP_IMM, 5, T4, T0, 31));
    asm.emit(r_type(op::OP, 4, 0, T0, T0, T4));
    asm.addi(T1, T1, 8);
    asm.bne(T1, T2, again);
}

/// Stores the descriptor's pokes and notes where the next descriptor is.
fn apply_pokes(asm: &mut Asm) {
    let done = asm.label();
    asm.addi(T0, S0, field::POKES);
    asm.ld(T1, S0, field::POKES_COUNT);
    let again = asm.here();
    asm.beq(T1, ZERO, done);
    asm.ld(T2, T0, 0);
    asm.ld(T3, T0, 8);
    asm.sd(T3, T2, 0);
    asm.addi(T0, T0, 16);
    asm.addi(T1, T1, -1);
    asm.jump(again);
    asm.bind(done);
    asm.sd(T0, SP, slot::DESCRIPTOR);
}

/// CSRs and floating-point registers at once, integer registers and `mstatus` into the frame.
fn load_state(asm: &mut Asm) {
    for (index, number) in field::CSRS.iter().enumerate() {
        asm.ld(T0, S0, field::CSR_VALUES + 8 * index as i64);
        asm.csrw(*number, T0);
    }
    asm.emit(SFENCE_VMA);
    asm.emit(FENCE_I);
    for reg in 0..32 {
        asm.emit(i_type(op::LOAD_FP, 3, reg, S0, field::FLOATS + 8 * i64::from(reg)));
    }
    asm.ld(T0, S0, field::MSTATUS);
    asm.sd(T0, SP, slot::MSTATUS);
    for reg in 1..32 {
        asm.ld(T0, S0, field::REGS + 8 * reg);
        asm.sd(T0, SP, M_FRAME + 8 * reg);
    }
}
