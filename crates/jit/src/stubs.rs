//! The code that all regions share: the way in and out, the call to the interpreter, the search
//! for compiled code by address.
//!
//! Registers, while compiled code runs: `rbp` is near the hart, `r14` counts the steps left, `r15`
//! points at the data translations that apply, `rax`, `rcx` and `rdx` are free, and the rest hold
//! the guest's registers ([`Homes`]). The others stay in the hart. `rsp` is eight bytes off a multiple of 16,
//! so that it is right for a call out of a routine.

use stackvm_riscv::native::{answer, layout};

use crate::asm::{Alu, Asm, Cond, Label, Mem, Reg, Shift, Width};
use crate::homes::Homes;

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
    /// Where such a routine goes if the code does not go on: its caller's address is on the stack,
    /// the answer in `eax`, all registers of the guest in the hart.
    pub(crate) elsewhere: u64,
    /// Goes on at the offset `eax` of the page, which is not compiled: leaves.
    pub(crate) miss: u64,
    /// Leaves, to go on at the address `rax`.
    pub(crate) leave: u64,
}

/// Writes the shared code.
pub(crate) fn emit(asm: &mut Asm) -> Stubs {
    let (out, spilled) = (asm.label(), asm.label());
    let start = emit_start(asm);

    let miss = asm.here();
    asm.alu(Alu::Add, Width::W64, Reg::Rax, hart(layout::PAGE_VA));
    let leave = asm.label();
    asm.place(leave);
    asm.store(8, hart(layout::PC), Reg::Rax);
    asm.place(out);
    spill(asm, Homes::common());
    asm.store(8, hart(layout::LEFT), Reg::R14);
    asm.place(spilled);
    CALLEE_SAVED.iter().rev().for_each(|reg| asm.pop(*reg));
    asm.ret();

    let lookup = asm.here();
    emit_lookup(asm, leave);

    let (elsewhere, homes) = (asm.here(), Homes::common());
    // Nobody returns to the caller.
    asm.pop(Reg::Rcx);
    asm.alu_imm(Alu::Cmp, Width::W32, Reg::Rax, answer::GOTO as i32);
    asm.jump_if(Cond::NotEqual, spilled);
    fill(asm, homes);
    asm.mov(Width::W64, Reg::R14, hart(layout::LEFT));
    asm.mov(Width::W64, Reg::R15, hart(layout::DATA));
    asm.mov(Width::W64, Reg::Rax, hart(layout::PC));
    asm.jump_to(lookup);

    let step = asm.here();
    emit_step(asm, homes, elsewhere);
    Stubs { start, step, elsewhere, miss, leave: asm.address_of(leave) }
}

/// The routine that has the interpreter do the op that `rax` points at, for code with these homes.
pub(crate) fn emit_step(asm: &mut Asm, homes: Homes, elsewhere: u64) {
    let other = asm.label();
    spill(asm, homes);
    asm.store(8, hart(layout::LEFT), Reg::R14);
    asm.mov(Width::W64, Reg::Rsi, Reg::Rax);
    asm.mov(Width::W64, Reg::Rdi, hart(layout::RUNNER));
    asm.call_rm(hart(layout::STEP));
    asm.test(Width::W32, Reg::Rax);
    asm.jump_if(Cond::NotEqual, other);
    fill(asm, homes);
    asm.ret();
    asm.place(other);
    asm.jump_to(elsewhere);
}

/// Copies registers of the guest to the hart.
fn spill(asm: &mut Asm, homes: Homes) {
    homes.iter().for_each(|(guest, host)| asm.store(8, x(guest), host));
}

/// Copies registers of the guest from the hart.
fn fill(asm: &mut Asm, homes: Homes) {
    homes.iter().for_each(|(guest, host)| asm.mov(Width::W64, host, x(guest)));
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
    fill(asm, Homes::common());
    asm.jump_rm(Reg::Rax);
    start
}

/// Goes on at the address `rax`, or to `miss` with it.
pub(crate) fn emit_lookup(asm: &mut Asm, miss: Label) {
    asm.mov(Width::W64, Reg::Rdx, Reg::Rax);
    asm.alu_imm(Alu::And, Width::W64, Reg::Rdx, -4096);
    emit_fetch_entry(asm, miss);
    asm.store(8, hart(layout::PAGE_VA), Reg::Rdx);
    asm.mov(Width::W64, Reg::Rcx, Mem::at(Reg::Rcx, layout::ENTRIES as i32));
    asm.alu_imm(Alu::And, Width::W32, Reg::Rax, 0xffe);
    asm.jump_rm(Mem::indexed(Reg::Rcx, Reg::Rax, 2, 0));
}

/// Has `rcx` point at the fetch entry of the page at the address `rdx`, or goes to `miss`.
pub(crate) fn emit_fetch_entry(asm: &mut Asm, miss: Label) {
    asm.mov(Width::W64, Reg::Rcx, Reg::Rdx);
    asm.shift_imm(Shift::Shr, Width::W64, Reg::Rcx, layout::FETCH_FOLD);
    asm.alu(Alu::Xor, Width::W32, Reg::Rcx, Reg::Rdx);
    asm.shift_imm(Shift::Shr, Width::W32, Reg::Rcx, layout::FETCH_SHIFT);
    asm.alu_imm(Alu::And, Width::W32, Reg::Rcx, layout::FETCH_MASK as i32);
    asm.alu(Alu::Add, Width::W64, Reg::Rcx, hart(layout::FETCH));
    asm.alu(Alu::Cmp, Width::W64, Reg::Rdx, Mem::at(Reg::Rcx, layout::FETCH_TAG as i32));
    asm.jump_if(Cond::NotEqual, miss);
}
