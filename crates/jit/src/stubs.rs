//! The code that all regions share: the way in and out, the call to the interpreter, the search
//! for compiled code by address.
//!
//! Registers, while compiled code runs: `rbp` is near the hart, `r14` counts the steps left, `r15`
//! points at the data translations that apply, `rax`, `rcx` and `rdx` are free, and the rest hold
//! the guest's most used registers ([`HOMES`]), everywhere the same ones: going from region to
//! region moves nothing. The others stay in the hart. `rsp` is eight bytes off a multiple of 16,
//! so that it is right for a call out of a routine.

use stackvm_riscv::native::{answer, layout};

use crate::asm::{Alu, Asm, Cond, Mem, Reg, Shift, Width};

/// Where registers of the guest live. The eight that compressed instructions can name, and the
/// stack pointer.
pub(crate) const HOMES: [(u8, Reg); 9] = [
    (2, Reg::Rbx),
    (8, Reg::Rsi),
    (9, Reg::Rdi),
    (10, Reg::R8),
    (11, Reg::R9),
    (12, Reg::R10),
    (13, Reg::R11),
    (14, Reg::R12),
    (15, Reg::R13),
];

/// From the hart to where `rbp` points, so that all registers are within a byte's displacement.
const BIAS: i32 = layout::X as i32 + 128;

/// Something in the hart.
pub(crate) fn hart(offset: usize) -> Mem {
    Mem::at(Reg::Rbp, offset as i32 - BIAS)
}

/// Integer register `index`.
pub(crate) fn x(index: u8) -> Mem {
    hart(layout::X + usize::from(index) * 8)
}

/// Addresses of the shared code.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stubs {
    /// [`stackvm_riscv::native::Start`].
    pub(crate) start: u64,
    /// Has the interpreter do the op that `rax` points at; returns if the code goes on behind it.
    pub(crate) step: u64,
    /// Goes on at the offset `eax` of the page, which is not compiled: leaves.
    pub(crate) miss: u64,
    /// Goes on at the address `rax`.
    pub(crate) lookup: u64,
}

/// Writes the shared code.
pub(crate) fn emit(asm: &mut Asm) -> Stubs {
    let (out, spilled) = (asm.label(), asm.label());
    let start = emit_start(asm);

    let miss = asm.here();
    asm.alu(Alu::Add, Width::W64, Reg::Rax, hart(layout::PAGE_VA));
    let leave_at_rax = asm.label();
    asm.place(leave_at_rax);
    asm.store(8, hart(layout::PC), Reg::Rax);
    asm.place(out);
    HOMES.iter().for_each(|(guest, host)| asm.store(8, x(*guest), *host));
    asm.store(8, hart(layout::LEFT), Reg::R14);
    asm.place(spilled);
    CALLEE_SAVED.iter().rev().for_each(|reg| asm.pop(*reg));
    asm.ret();

    let lookup = asm.here();
    emit_lookup(asm, leave_at_rax);

    let step = asm.here();
    let other = asm.label();
    HOMES.iter().for_each(|(guest, host)| asm.store(8, x(*guest), *host));
    asm.store(8, hart(layout::LEFT), Reg::R14);
    asm.mov(Width::W64, Reg::Rsi, Reg::Rax);
    asm.mov(Width::W64, Reg::Rdi, hart(layout::RUNNER));
    asm.call_rm(hart(layout::STEP));
    HOMES.iter().for_each(|(guest, host)| asm.mov(Width::W64, *host, x(*guest)));
    asm.mov(Width::W64, Reg::R14, hart(layout::LEFT));
    asm.test(Width::W32, Reg::Rax);
    asm.jump_if(Cond::NotEqual, other);
    asm.ret();
    asm.place(other);
    // Nobody returns to the caller.
    asm.pop(Reg::Rcx);
    asm.alu_imm(Alu::Cmp, Width::W32, Reg::Rax, answer::GOTO as i32);
    asm.jump_if(Cond::NotEqual, spilled);
    asm.mov(Width::W64, Reg::R15, hart(layout::DATA));
    asm.mov(Width::W64, Reg::Rax, hart(layout::PC));
    asm.jump_to(lookup);
    Stubs { start, step, miss, lookup }
}

/// What the caller of [`Stubs::start`] wants back.
const CALLEE_SAVED: [Reg; 6] = [Reg::Rbx, Reg::Rbp, Reg::R12, Reg::R13, Reg::R14, Reg::R15];

fn emit_start(asm: &mut Asm) -> u64 {
    let start = asm.here();
    CALLEE_SAVED.iter().for_each(|reg| asm.push(*reg));
    asm.mov(Width::W64, Reg::Rax, Reg::Rsi);
    asm.lea(Width::W64, Reg::Rbp, Mem::at(Reg::Rdi, BIAS));
    asm.mov(Width::W64, Reg::R14, hart(layout::LEFT));
    asm.mov(Width::W64, Reg::R15, hart(layout::DATA));
    HOMES.iter().for_each(|(guest, host)| asm.mov(Width::W64, *host, x(*guest)));
    asm.jump_rm(Reg::Rax);
    start
}

/// Goes on at the address `rax`, or to `miss` with it.
pub(crate) fn emit_lookup(asm: &mut Asm, miss: crate::asm::Label) {
    asm.mov(Width::W32, Reg::Rcx, Reg::Rax);
    asm.shift_imm(Shift::Shr, Width::W32, Reg::Rcx, layout::FETCH_SHIFT);
    asm.alu_imm(Alu::And, Width::W32, Reg::Rcx, layout::FETCH_MASK as i32);
    asm.alu(Alu::Add, Width::W64, Reg::Rcx, hart(layout::FETCH));
    asm.mov(Width::W64, Reg::Rdx, Reg::Rax);
    asm.alu_imm(Alu::And, Width::W64, Reg::Rdx, -4096);
    asm.alu(Alu::Cmp, Width::W64, Reg::Rdx, Mem::at(Reg::Rcx, layout::FETCH_TAG as i32));
    asm.jump_if(Cond::NotEqual, miss);
    asm.store(8, hart(layout::PAGE_VA), Reg::Rdx);
    asm.mov(Width::W64, Reg::Rcx, Mem::at(Reg::Rcx, layout::ENTRIES as i32));
    asm.alu_imm(Alu::And, Width::W32, Reg::Rax, 0xffe);
    asm.jump_rm(Mem::indexed(Reg::Rcx, Reg::Rax, 2, 0));
}
