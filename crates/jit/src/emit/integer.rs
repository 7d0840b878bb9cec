//! Integer instructions in registers.

use stackvm_riscv::native::{Code, Op, layout};

use super::{DISCARD, Emitter};
use crate::asm::{Alu, Cond, Extend, Mem, Reg, Rm, Shift, Wide, Width};
use crate::stubs::{hart, x};
use Width::{W32, W64};

impl Emitter {
    /// Emits an integer instruction; false if it is none of those that are emitted.
    pub(super) fn integer(&mut self, op: &Op) -> bool {
        use Code::*;
        match op.code {
            Lui => self.constant(op, op.imm as u64),
            Auipc => self.auipc(op),
            Addi => self.add_immediate(op),
            Addiw => self.immediate(op, Alu::Add, W32),
            Xori => self.immediate(op, Alu::Xor, W64),
            Ori => self.immediate(op, Alu::Or, W64),
            Andi => self.immediate(op, Alu::And, W64),
            Slti => self.set_immediate(op, Cond::Less),
            Sltiu => self.set_immediate(op, Cond::Below),
            Slli => self.shift_immediate(op, Shift::Shl, W64),
            Srli => self.shift_immediate(op, Shift::Shr, W64),
            Srai => self.shift_immediate(op, Shift::Sar, W64),
            Slliw => self.shift_immediate(op, Shift::Shl, W32),
            Srliw => self.shift_immediate(op, Shift::Shr, W32),
            Sraiw => self.shift_immediate(op, Shift::Sar, W32),
            Rori => self.shift_immediate(op, Shift::Ror, W64),
            Roriw => self.shift_immediate(op, Shift::Ror, W32),
            Add => self.add(op),
            Addw => self.registers(op, Alu::Add, W32),
            Sub => self.registers(op, Alu::Sub, W64),
            Subw => self.registers(op, Alu::Sub, W32),
            Xor => self.registers(op, Alu::Xor, W64),
            Or => self.registers(op, Alu::Or, W64),
            And => self.registers(op, Alu::And, W64),
            Slt => self.set(op, Cond::Less),
            Sltu => self.set(op, Cond::Below),
            Sll => self.shift(op, Shift::Shl, W64),
            Srl => self.shift(op, Shift::Shr, W64),
            Sra => self.shift(op, Shift::Sar, W64),
            Sllw => self.shift(op, Shift::Shl, W32),
            Srlw => self.shift(op, Shift::Shr, W32),
            Sraw => self.shift(op, Shift::Sar, W32),
            Ror => self.shift(op, Shift::Ror, W64),
            Rorw => self.shift(op, Shift::Ror, W32),
            Mul => self.multiply(op, W64),
            Mulw => self.multiply(op, W32),
            Mulh => self.multiply_high(op, Wide::Imul),
            Mulhu => self.multiply_high(op, Wide::Mul),
            Div => self.divide(op, Wide::Idiv, W64, Reg::Rax),
            Divu => self.divide(op, Wide::Div, W64, Reg::Rax),
            Rem => self.divide(op, Wide::Idiv, W64, Reg::Rdx),
            Remu => self.divide(op, Wide::Div, W64, Reg::Rdx),
            Divw => self.divide(op, Wide::Idiv, W32, Reg::Rax),
            Divuw => self.divide(op, Wide::Div, W32, Reg::Rax),
            Remw => self.divide(op, Wide::Idiv, W32, Reg::Rdx),
            Remuw => self.divide(op, Wide::Div, W32, Reg::Rdx),
            Sh1add => self.shift_add(op, 1),
            Sh2add => self.shift_add(op, 2),
            Sh3add => self.shift_add(op, 3),
            AddUw => self.add_word(op),
            Andn => self.and_not(op),
            SextB => self.extend(op, Extend::S8),
            SextH => self.extend(op, Extend::S16),
            ZextH => self.extend(op, Extend::Z16),
            _ => return false,
        }
        true
    }

    fn constant(&mut self, op: &Op, value: u64) {
        if op.rd == DISCARD {
            return;
        }
        match (self.home(op.rd), i32::try_from(value as i64)) {
            (Some(reg), _) => self.asm.mov_imm(reg, value),
            (None, Ok(value)) => self.asm.store_imm(x(op.rd), value),
            (None, Err(_)) => {
                self.asm.mov_imm(Reg::Rax, value);
                self.put(op.rd, Reg::Rax);
            }
        }
    }

    fn auipc(&mut self, op: &Op) {
        if op.rd == DISCARD {
            return;
        }
        let to = self.result(op.rd);
        self.asm.mov(W64, to, hart(layout::PAGE_VA));
        match (op.offset() as i32).checked_add(op.imm) {
            Some(bytes) => self.asm.alu_imm(Alu::Add, W64, to, bytes),
            None => {
                self.asm.alu_imm(Alu::Add, W64, to, op.imm);
                self.asm.alu_imm(Alu::Add, W64, to, op.offset() as i32);
            }
        }
        self.put(op.rd, to);
    }

    fn add_immediate(&mut self, op: &Op) {
        if op.rs1 == 0 {
            return self.constant(op, op.imm as u64);
        }
        if op.rd == DISCARD {
            return;
        }
        match (self.home(op.rd), self.home(op.rs1)) {
            (_, _) if op.rd == op.rs1 && op.imm == 0 => {}
            (None, None) if op.rd == op.rs1 => {
                self.asm.alu_imm(Alu::Add, W64, x(op.rd), op.imm);
            }
            (None, Some(from)) if op.imm == 0 => self.put(op.rd, from),
            (to, Some(from)) if to != Some(from) && op.imm != 0 => {
                let to = to.unwrap_or(Reg::Rax);
                self.asm.lea(W64, to, Mem::at(from, op.imm));
                self.put(op.rd, to);
            }
            _ => {
                let to = self.result(op.rd);
                self.copy(to, op.rs1);
                if op.imm != 0 {
                    self.asm.alu_imm(Alu::Add, W64, to, op.imm);
                }
                self.put(op.rd, to);
            }
        }
    }

    fn immediate(&mut self, op: &Op, alu: Alu, width: Width) {
        if op.rd == DISCARD {
            return;
        }
        let to = self.result(op.rd);
        if width == W32 && op.imm == 0 {
            // SEXT.W
            let from = self.operand(op.rs1, Reg::Rdx);
            self.asm.load(Extend::S32, to, from);
            return self.put(op.rd, to);
        }
        self.copy(to, op.rs1);
        if alu == Alu::Xor && op.imm == -1 {
            self.asm.wide(Wide::Not, width, to);
        } else {
            self.asm.alu_imm(alu, width, to, op.imm);
        }
        self.finish(op.rd, to, width);
    }

    /// Writes a result; a word is sign-extended.
    fn finish(&mut self, rd: u8, from: Reg, width: Width) {
        if width == W32 {
            self.asm.load(Extend::S32, from, from);
        }
        self.put(rd, from);
    }

    fn set_immediate(&mut self, op: &Op, cond: Cond) {
        if op.rd == DISCARD {
            return;
        }
        let from = self.get(op.rs1, Reg::Rax);
        self.asm.alu_imm(Alu::Cmp, W64, from, op.imm);
        self.asm.set(cond, Reg::Rax);
        self.put(op.rd, Reg::Rax);
    }

    fn set(&mut self, op: &Op, cond: Cond) {
        if op.rd == DISCARD {
            return;
        }
        let a = self.get(op.rs1, Reg::Rax);
        let b = self.operand(op.rs2, Reg::Rdx);
        self.asm.alu(Alu::Cmp, W64, a, b);
        self.asm.set(cond, Reg::Rax);
        self.put(op.rd, Reg::Rax);
    }

    fn shift_immediate(&mut self, op: &Op, shift: Shift, width: Width) {
        if op.rd == DISCARD {
            return;
        }
        let to = self.result(op.rd);
        self.copy(to, op.rs1);
        let bits = if width == W64 { 63 } else { 31 };
        if op.imm & bits != 0 {
            self.asm.shift_imm(shift, width, to, (op.imm & bits) as u8);
        }
        self.finish(op.rd, to, width);
    }

    fn shift(&mut self, op: &Op, shift: Shift, width: Width) {
        if op.rd == DISCARD {
            return;
        }
        self.copy(Reg::Rcx, op.rs2);
        self.copy(Reg::Rax, op.rs1);
        self.asm.shift_cl(shift, width, Reg::Rax);
        self.finish(op.rd, Reg::Rax, width);
    }

    fn add(&mut self, op: &Op) {
        if op.rd == DISCARD {
            return;
        }
        match (self.home(op.rd), self.home(op.rs1), self.home(op.rs2)) {
            (Some(to), Some(a), Some(b)) if to != a && to != b => {
                self.asm.lea(W64, to, Mem::indexed(a, b, 0, 0));
            }
            // MV is often written so.
            _ if op.rs1 == 0 => {
                let to = self.result(op.rd);
                self.copy(to, op.rs2);
                self.put(op.rd, to);
            }
            _ => self.registers(op, Alu::Add, W64),
        }
    }

    fn registers(&mut self, op: &Op, alu: Alu, width: Width) {
        if op.rd == DISCARD {
            return;
        }
        let to = self.result(op.rd);
        let second = self.operand(op.rs2, Reg::Rdx);
        if second == Rm::Reg(to) && op.rs1 != op.rs2 {
            if alu == Alu::Sub {
                self.copy(Reg::Rax, op.rs1);
                self.asm.alu(alu, width, Reg::Rax, second);
                return self.finish(op.rd, Reg::Rax, width);
            }
            let first = self.operand(op.rs1, Reg::Rax);
            self.asm.alu(alu, width, to, first);
        } else {
            self.copy(to, op.rs1);
            self.asm.alu(alu, width, to, second);
        }
        self.finish(op.rd, to, width);
    }

    fn multiply(&mut self, op: &Op, width: Width) {
        if op.rd == DISCARD {
            return;
        }
        let to = self.result(op.rd);
        let mut second = self.operand(op.rs2, Reg::Rdx);
        if second == Rm::Reg(to) {
            second = self.operand(op.rs1, Reg::Rdx);
        } else {
            self.copy(to, op.rs1);
        }
        self.asm.imul(width, to, second);
        self.finish(op.rd, to, width);
    }

    fn multiply_high(&mut self, op: &Op, wide: Wide) {
        self.copy(Reg::Rax, op.rs1);
        let second = self.operand(op.rs2, Reg::Rdx);
        self.asm.wide(wide, W64, second);
        self.put(op.rd, Reg::Rdx);
    }

    /// Division. By zero, and by -1 where it is signed (which may overflow, and the host then
    /// traps), the interpreter divides.
    fn divide(&mut self, op: &Op, wide: Wide, width: Width, result: Reg) {
        let (slow, back) = self.slow(op);
        self.copy(Reg::Rcx, op.rs2);
        if wide == Wide::Idiv {
            self.asm.lea(width, Reg::Rax, Mem::at(Reg::Rcx, 1));
            self.asm.alu_imm(Alu::Cmp, width, Reg::Rax, 1);
            self.asm.jump_if(Cond::BelowEqual, slow);
            self.copy(Reg::Rax, op.rs1);
            self.asm.sign_rdx(width);
        } else {
            self.asm.test(width, Reg::Rcx);
            self.asm.jump_if(Cond::Equal, slow);
            self.copy(Reg::Rax, op.rs1);
            self.asm.mov_imm(Reg::Rdx, 0);
        }
        self.asm.wide(wide, width, Reg::Rcx);
        self.finish(op.rd, result, width);
        self.asm.place(back);
    }

    fn shift_add(&mut self, op: &Op, by: u8) {
        if op.rd == DISCARD {
            return;
        }
        let a = self.get(op.rs1, Reg::Rax);
        let b = self.get(op.rs2, Reg::Rdx);
        let to = self.result(op.rd);
        self.asm.lea(W64, to, Mem::indexed(b, a, by, 0));
        self.put(op.rd, to);
    }

    fn add_word(&mut self, op: &Op) {
        if op.rd == DISCARD {
            return;
        }
        let from = self.operand(op.rs1, Reg::Rax);
        self.asm.load(Extend::Z32, Reg::Rax, from);
        let second = self.operand(op.rs2, Reg::Rdx);
        self.asm.alu(Alu::Add, W64, Reg::Rax, second);
        self.put(op.rd, Reg::Rax);
    }

    fn and_not(&mut self, op: &Op) {
        if op.rd == DISCARD {
            return;
        }
        self.copy(Reg::Rax, op.rs2);
        self.asm.wide(Wide::Not, W64, Reg::Rax);
        let first = self.operand(op.rs1, Reg::Rdx);
        self.asm.alu(Alu::And, W64, Reg::Rax, first);
        self.put(op.rd, Reg::Rax);
    }

    fn extend(&mut self, op: &Op, extend: Extend) {
        if op.rd == DISCARD {
            return;
        }
        let to = self.result(op.rd);
        let from = self.operand(op.rs1, Reg::Rdx);
        self.asm.load(extend, to, from);
        self.put(op.rd, to);
    }
}
