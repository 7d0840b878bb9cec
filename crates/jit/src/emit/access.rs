//! Loads, stores and the plain read-modify-write instructions, where the translation is known.

use stackvm_riscv::native::{Code, Op, layout};

use super::{Cold, Emitter};
use crate::asm::{Alu, Cond, Extend, Label, Mem, Reg, Shift, Width};
use crate::region::straddles;
use crate::stubs;
use Width::{W32, W64};

/// Furthest that accesses with one look at the translations are apart.
const GROUP_BYTES_MAX: i32 = 1024;

/// What an access is for, and so which translations it takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

/// A load or store of an integer register.
#[derive(Clone, Copy)]
pub(super) struct Access {
    pub(super) kind: Kind,
    pub(super) bytes: u8,
    extend: Extend,
}

impl Access {
    pub(super) fn of(code: Code) -> Option<Access> {
        use Code::*;
        let (kind, bytes, extend) = match code {
            Lb => (Kind::Read, 1, Extend::S8),
            Lh => (Kind::Read, 2, Extend::S16),
            Lw => (Kind::Read, 4, Extend::S32),
            Ld => (Kind::Read, 8, Extend::Full),
            Lbu => (Kind::Read, 1, Extend::Z8),
            Lhu => (Kind::Read, 2, Extend::Z16),
            Lwu => (Kind::Read, 4, Extend::Z32),
            Sb => (Kind::Write, 1, Extend::Full),
            Sh => (Kind::Write, 2, Extend::Full),
            Sw => (Kind::Write, 4, Extend::Full),
            Sd => (Kind::Write, 8, Extend::Full),
            _ => return None,
        };
        Some(Access { kind, bytes, extend })
    }
}

/// Accesses through one register that are near each other.
struct Group {
    /// To write if any of them writes: who may write a page may read it.
    kind: Kind,
    /// The least displacement.
    first: i32,
    /// From there to behind the last byte.
    bytes: i32,
    /// Instructions from the first access to the last.
    len: usize,
}

impl Group {
    /// The accesses through the base register of `ops[0]`, as far as nothing between them needs
    /// `rcx` or changes the base; none if there is but one.
    fn begin(ops: &[Op]) -> Option<Group> {
        let base = ops[0].rs1;
        let first = Access::of(ops[0].code).filter(|_| base != 0)?;
        let end = |op: &Op, access: Access| op.imm + i32::from(access.bytes);
        let mut group = Group { kind: first.kind, first: ops[0].imm, bytes: 0, len: 0 };
        let (mut last, mut count) = (end(&ops[0], first), 0);
        for (index, op) in ops.iter().enumerate() {
            if straddles(op) {
                break;
            }
            let Some(access) = Access::of(op.code) else {
                if keeps_rcx(op.code) && op.rd != base { continue } else { break }
            };
            let (from, to) = (group.first.min(op.imm), last.max(end(op, access)));
            if op.rs1 != base || to - from > GROUP_BYTES_MAX {
                break;
            }
            (group.first, last) = (from, to);
            if access.kind == Kind::Write {
                group.kind = Kind::Write;
            }
            group.len = index + 1;
            count += 1;
            if access.kind == Kind::Read && op.rd == base {
                break;
            }
        }
        group.bytes = last - group.first;
        (count > 1).then_some(group)
    }
}

/// A field of the data entry that is at `index`.
fn data_entry(index: Reg, kind: Kind, field: usize) -> Mem {
    let table = if kind == Kind::Write { layout::WRITE } else { 0 };
    Mem::indexed(Reg::R15, index, 0, (table + field) as i32)
}

/// Whether the emitted code leaves `rcx` alone and goes on behind.
pub(super) fn keeps_rcx(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        Lui | Auipc
            | Addi
            | Addiw
            | Xori
            | Ori
            | Andi
            | Slti
            | Sltiu
            | Slli
            | Srli
            | Srai
            | Slliw
            | Srliw
            | Sraiw
            | Add
            | Addw
            | Sub
            | Subw
            | Xor
            | Or
            | And
            | Slt
            | Sltu
            | Mul
            | Mulw
            | Beq
            | Bne
            | Blt
            | Bge
            | Bltu
            | Bgeu
    )
}

impl Emitter {
    /// Emits an access of integer registers; false if it is none of those that are emitted.
    pub(super) fn access(&mut self, op: &Op) -> bool {
        use Code::*;
        match op.code {
            AmoW => self.amo(op, 4),
            AmoD => self.amo(op, 8),
            CboZero => self.cbo_zero(op),
            _ => {
                let Some(access) = Access::of(op.code) else { return false };
                let (slow, back) = self.slow(op);
                let at = self.translate(op, op.imm, access.bytes, access.kind, slow);
                self.transfer(op, access, at, Reg::Rdx);
                self.asm.place(back);
                true
            }
        }
    }

    /// Loads from, or stores to, memory of the host; `scratch` may be used for what is stored.
    pub(super) fn transfer(&mut self, op: &Op, access: Access, at: Mem, scratch: Reg) {
        match access.kind {
            Kind::Read => {
                let to = self.result(op.rd);
                self.asm.load(access.extend, to, at);
                self.put(op.rd, to);
            }
            Kind::Write => {
                let value = self.get(op.rs2, scratch);
                self.asm.store(access.bytes, at, value);
            }
        }
    }

    /// Emits the accesses through one register that `ops` begins with, and what is between them,
    /// with one look at the translations; returns how many ops that were, 0 if it is not worth it.
    pub(super) fn group(&mut self, ops: &[Op]) -> usize {
        let Some(group) = Group::begin(ops) else { return 0 };
        let (at, back) = (self.asm.label(), self.asm.label());
        let base = self.get(ops[0].rs1, Reg::Rax);
        self.asm.lea(W64, Reg::Rax, Mem::at(base, group.first));
        self.look_up_span(Reg::Rcx, group.bytes, group.kind, at);
        let homeless = self.home(ops[0].rs1).is_none();
        if homeless {
            // The host's address of what the register points at.
            self.asm.alu(Alu::Add, W64, Reg::Rcx, stubs::x(ops[0].rs1));
        }
        for op in &ops[..group.len] {
            match Access::of(op.code) {
                Some(access) if homeless => {
                    self.transfer(op, access, Mem::at(Reg::Rcx, op.imm), Reg::Rdx);
                }
                Some(access) => {
                    let at = Mem::indexed(Reg::Rcx, base, 0, op.imm);
                    self.transfer(op, access, at, Reg::Rdx);
                }
                None => self.op(*op),
            }
        }
        self.asm.place(back);
        self.cold.push(Cold::Singly { at, ops: ops[..group.len].to_vec(), back });
        group.len
    }

    /// `to` is what to add to the guest's addresses of so many bytes from the address `rax`; goes
    /// to `missing` where they are not on one page that the translations know. Uses `rax`.
    pub(super) fn look_up_span(&mut self, to: Reg, bytes: i32, kind: Kind, missing: Label) {
        self.data_index(to, Reg::Rax);
        // The offset in the page, if it is that page: else larger than any.
        self.asm.alu(Alu::Xor, W64, Reg::Rax, data_entry(to, kind, layout::TAG));
        self.asm.alu_imm(Alu::Cmp, W64, Reg::Rax, 4096 - bytes);
        self.asm.jump_if(Cond::Above, missing);
        self.asm.mov(W64, to, data_entry(to, kind, layout::ADDEND));
    }

    /// `to` is where the entry for the address `va` is among the data entries.
    fn data_index(&mut self, to: Reg, va: Reg) {
        if self.setting.features.bmi2 {
            self.asm.rorx(to, va, layout::DATA_SHIFT);
        } else {
            self.asm.mov(W32, to, va);
            self.asm.shift_imm(Shift::Shr, W32, to, layout::DATA_SHIFT);
        }
        self.asm.alu_imm(Alu::And, W32, to, layout::DATA_MASK as i32);
    }

    /// The memory at `rs1 + imm`, of so many bytes, through the translations; goes to `slow` where
    /// they do not know the page or the access is misaligned. Uses `rax`, `rcx` and `rdx`, of which
    /// only `rdx` is free afterwards.
    pub(super) fn translate(
        &mut self,
        op: &Op,
        imm: i32,
        bytes: u8,
        kind: Kind,
        slow: Label,
    ) -> Mem {
        let va = match self.home(op.rs1) {
            Some(reg) if imm == 0 => reg,
            _ => {
                let base = self.get(op.rs1, Reg::Rax);
                if base != Reg::Rax || imm != 0 {
                    self.asm.lea(W64, Reg::Rax, Mem::at(base, imm));
                }
                Reg::Rax
            }
        };
        self.look_up(va, bytes, kind, slow);
        Mem::indexed(Reg::Rcx, va, 0, 0)
    }

    /// `rcx` is what to add to the address `va` for the host's; see [`Emitter::translate`].
    fn look_up(&mut self, va: Reg, bytes: u8, kind: Kind, slow: Label) {
        let field = |field| data_entry(Reg::Rcx, kind, field);
        self.data_index(Reg::Rcx, va);
        self.asm.mov(W64, Reg::Rdx, va);
        self.asm.alu_imm(Alu::And, W64, Reg::Rdx, -4096 | (i32::from(bytes) - 1));
        self.asm.alu(Alu::Cmp, W64, Reg::Rdx, field(layout::TAG));
        self.asm.jump_if(Cond::NotEqual, slow);
        self.asm.mov(W64, Reg::Rcx, field(layout::ADDEND));
    }

    /// CBO.ZERO in S-mode, by which kernels clear pages.
    fn cbo_zero(&mut self, op: &Op) -> bool {
        const BLOCK_BYTES: i32 = 64;
        let (slow, back) = self.slow(op);
        self.asm.load(Extend::Z8, Reg::Rax, stubs::hart(layout::MODE));
        self.asm.alu_imm(Alu::Cmp, W32, Reg::Rax, 1);
        self.asm.jump_if(Cond::NotEqual, slow);
        self.asm.test_imm(stubs::hart(layout::MENVCFG), layout::CBZE);
        self.asm.jump_if(Cond::Equal, slow);
        self.copy(Reg::Rax, op.rs1);
        self.asm.alu_imm(Alu::And, W64, Reg::Rax, -BLOCK_BYTES);
        self.look_up(Reg::Rax, 1, Kind::Write, slow);
        for at in (0..BLOCK_BYTES).step_by(8) {
            self.asm.store_imm(Mem::indexed(Reg::Rcx, Reg::Rax, 0, at), 0);
        }
        self.asm.place(back);
        true
    }

    /// AMOADD, AMOSWAP, AMOXOR, AMOOR, AMOAND: harts take turns, so nothing is locked.
    fn amo(&mut self, op: &Op, bytes: u8) -> bool {
        let alu = match op.imm {
            0x00 => Some(Alu::Add),
            0x01 => None,
            0x04 => Some(Alu::Xor),
            0x08 => Some(Alu::Or),
            0x0c => Some(Alu::And),
            _ => return false,
        };
        let (slow, back) = self.slow(op);
        let at = self.translate(op, 0, bytes, Kind::Write, slow);
        self.asm.lea(W64, Reg::Rcx, at);
        let at = Mem::at(Reg::Rcx, 0);
        self.copy(Reg::Rdx, op.rs2);
        let extend = if bytes == 4 { Extend::S32 } else { Extend::Full };
        self.asm.load(extend, Reg::Rax, at);
        if let Some(alu) = alu {
            self.asm.alu(alu, W64, Reg::Rdx, Reg::Rax);
        }
        self.asm.store(bytes, at, Reg::Rdx);
        self.put(op.rd, Reg::Rax);
        self.asm.place(back);
        true
    }
}
