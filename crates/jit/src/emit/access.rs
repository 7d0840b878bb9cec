//! Loads, stores and the plain read-modify-write instructions, where the translation is known.

use stackvm_riscv::native::{Code, Op, layout};

use super::{Emitter, home};
use crate::asm::{Alu, Cond, Extend, Label, Mem, Reg, Shift, Width};
use Width::{W32, W64};

/// What an access is for, and so which translations it takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
}

impl Emitter {
    /// Emits an access of integer registers; false if it is none of those that are emitted.
    pub(super) fn access(&mut self, op: &Op) -> bool {
        use Code::*;
        match op.code {
            Lb => self.load(op, 1, Extend::S8),
            Lh => self.load(op, 2, Extend::S16),
            Lw => self.load(op, 4, Extend::S32),
            Ld => self.load(op, 8, Extend::Full),
            Lbu => self.load(op, 1, Extend::Z8),
            Lhu => self.load(op, 2, Extend::Z16),
            Lwu => self.load(op, 4, Extend::Z32),
            Sb => self.store(op, 1),
            Sh => self.store(op, 2),
            Sw => self.store(op, 4),
            Sd => self.store(op, 8),
            AmoW => return self.amo(op, 4),
            AmoD => return self.amo(op, 8),
            _ => return false,
        }
        true
    }

    fn load(&mut self, op: &Op, bytes: u8, extend: Extend) {
        let (slow, back) = self.slow(op);
        let from = self.translate(op, op.imm, bytes, Kind::Read, slow);
        let to = self.result(op.rd);
        self.asm.load(extend, to, from);
        self.put(op.rd, to);
        self.asm.place(back);
    }

    fn store(&mut self, op: &Op, bytes: u8) {
        let (slow, back) = self.slow(op);
        let to = self.translate(op, op.imm, bytes, Kind::Write, slow);
        let value = self.get(op.rs2, Reg::Rdx);
        self.asm.store(bytes, to, value);
        self.asm.place(back);
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
        let va = match home(op.rs1) {
            Some(reg) if imm == 0 => reg,
            _ => {
                let base = self.get(op.rs1, Reg::Rax);
                if base != Reg::Rax || imm != 0 {
                    self.asm.lea(W64, Reg::Rax, Mem::at(base, imm));
                }
                Reg::Rax
            }
        };
        let table = if kind == Kind::Write { layout::WRITE } else { 0 };
        let field = |field| Mem::indexed(Reg::R15, Reg::Rcx, 0, (table + field) as i32);
        self.asm.mov(W32, Reg::Rcx, va);
        self.asm.shift_imm(Shift::Shr, W32, Reg::Rcx, layout::DATA_SHIFT);
        self.asm.alu_imm(Alu::And, W32, Reg::Rcx, layout::DATA_MASK as i32);
        self.asm.mov(W64, Reg::Rdx, va);
        self.asm.alu_imm(Alu::And, W64, Reg::Rdx, -4096 | (i32::from(bytes) - 1));
        self.asm.alu(Alu::Cmp, W64, Reg::Rdx, field(layout::TAG));
        self.asm.jump_if(Cond::NotEqual, slow);
        self.asm.mov(W64, Reg::Rcx, field(layout::ADDEND));
        Mem::indexed(Reg::Rcx, va, 0, 0)
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
