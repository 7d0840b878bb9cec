//! Floating point, where the host's unit provably gives the same bits and flags.
//!
//! The argument is that of `stackvm_riscv::softfloat`'s fast paths: rounding is to nearest, NX is
//! set already (so raising it again changes nothing), and the result's exponent is neither special
//! nor among the two smallest (so no other flag was raised and the result is no NaN). Whatever is
//! not so, the interpreter does.

use stackvm_riscv::native::{Code, Op, layout};

use super::Emitter;
use super::access::Kind;
use crate::asm::{Alu, Cond, Extend, Label, Mem, Reg, Rm, Shift, Wide, Width, Xmm};
use crate::stubs::hart;
use Width::{W32, W64};

/// `mstatus.FS`: 3 is dirty.
const FS: i32 = 3 << 13;
/// In `fcsr`: inexact.
const NX: i32 = 1;
/// In `fcsr`: the dynamic rounding mode.
const FRM: i32 = 7 << 5;
/// Mandatory prefixes of scalar instructions.
const DOUBLE: u8 = 0xf2;
const SINGLE: u8 = 0xf3;
/// Opcodes.
const MOV_LOAD: u8 = 0x10;
const MOV_STORE: u8 = 0x11;
const SQRT: u8 = 0x51;
const ADD: u8 = 0x58;
const MUL: u8 = 0x59;
const CONVERT: u8 = 0x5a;
const SUB: u8 = 0x5c;
const DIV: u8 = 0x5e;

/// Floating-point register `index`.
fn f(index: u8) -> Mem {
    hart(layout::F + usize::from(index) * 8)
}

/// Its upper half, all ones if it holds a single.
fn boxing(index: u8) -> Mem {
    hart(layout::F + usize::from(index) * 8 + 4)
}

impl Emitter {
    /// Emits a floating-point instruction; false if it is none of those that are emitted.
    pub(super) fn float(&mut self, op: &Op) -> bool {
        use Code::*;
        match op.code {
            Fld => self.float_load(op, 8),
            Flw => self.float_load(op, 4),
            Fsd => self.float_store(op, 8),
            Fsw => self.float_store(op, 4),
            FaddD => self.arithmetic(op, DOUBLE, ADD),
            FsubD => self.arithmetic(op, DOUBLE, SUB),
            FmulD => self.arithmetic(op, DOUBLE, MUL),
            FdivD => self.arithmetic(op, DOUBLE, DIV),
            FaddS => self.arithmetic(op, SINGLE, ADD),
            FsubS => self.arithmetic(op, SINGLE, SUB),
            FmulS => self.arithmetic(op, SINGLE, MUL),
            FdivS => self.arithmetic(op, SINGLE, DIV),
            FmaddD => return self.fused(op, 0xa9),
            FmsubD => return self.fused(op, 0xab),
            FnmsubD => return self.fused(op, 0xad),
            FnmaddD => return self.fused(op, 0xaf),
            FpToFp => self.float_result(op),
            FpToInt => self.integer_result(op),
            _ => return false,
        }
        true
    }

    /// Goes to `slow` unless floating point is on and marked as changed.
    fn check_on(&mut self, slow: Label) {
        if !self.float_is_on {
            self.asm.load(Extend::Z32, Reg::Rax, hart(layout::MSTATUS));
            self.asm.alu_imm(Alu::And, W32, Reg::Rax, FS);
            self.asm.alu_imm(Alu::Cmp, W32, Reg::Rax, FS);
            self.asm.jump_if(Cond::NotEqual, slow);
        }
    }

    /// Goes to `slow` unless the rounding mode in the op is to nearest and NX is set.
    fn check_rounding(&mut self, op: &Op, slow: Label) {
        match op.imm & 7 {
            0 => {
                self.asm.test_imm(hart(layout::FCSR), NX);
                self.asm.jump_if(Cond::Equal, slow);
            }
            7 => {
                self.asm.load(Extend::Z32, Reg::Rax, hart(layout::FCSR));
                self.asm.alu_imm(Alu::And, W32, Reg::Rax, FRM | NX);
                self.asm.alu_imm(Alu::Cmp, W32, Reg::Rax, NX);
                self.asm.jump_if(Cond::NotEqual, slow);
            }
            _ => self.asm.jump(slow),
        }
    }

    /// Goes to `slow` unless the exponent of `xmm0` is such that no flag but NX was raised.
    fn check_result(&mut self, prefix: u8, slow: Label) {
        let (width, sign_off, fraction, largest) =
            if prefix == DOUBLE { (W64, 1, 53, 0x7fc) } else { (W32, 1, 24, 0xfc) };
        // MOVQ or MOVD.
        self.asm.scalar_wide(0x66, width, 0x7e, 0, Rm::Reg(Reg::Rcx));
        self.asm.shift_imm(Shift::Shl, width, Reg::Rcx, sign_off);
        self.asm.shift_imm(Shift::Shr, width, Reg::Rcx, fraction);
        self.asm.alu_imm(Alu::Sub, W32, Reg::Rcx, 2);
        self.asm.alu_imm(Alu::Cmp, W32, Reg::Rcx, largest);
        self.asm.jump_if(Cond::Above, slow);
    }

    /// Writes `xmm0`.
    fn put_float(&mut self, rd: u8, prefix: u8) {
        self.asm.scalar_store(prefix, MOV_STORE, f(rd), Xmm(0));
        if prefix == SINGLE {
            self.asm.store_imm32(boxing(rd), -1);
        }
    }

    /// Goes to `slow` unless the register holds a single, if a single is wanted.
    fn check_boxed(&mut self, prefix: u8, index: u8, slow: Label) {
        if prefix == SINGLE {
            self.asm.alu_imm(Alu::Cmp, W32, boxing(index), -1);
            self.asm.jump_if(Cond::NotEqual, slow);
        }
    }

    fn float_load(&mut self, op: &Op, bytes: u8) {
        let (slow, back) = self.slow(op);
        self.check_on(slow);
        let from = self.translate(op, op.imm, bytes, Kind::Read, slow);
        if bytes == 8 {
            self.asm.mov(W64, Reg::Rdx, from);
            self.asm.store(8, f(op.rd), Reg::Rdx);
        } else {
            self.asm.mov(W32, Reg::Rdx, from);
            self.asm.store(4, f(op.rd), Reg::Rdx);
            self.asm.store_imm32(boxing(op.rd), -1);
        }
        self.asm.place(back);
        self.float_is_on = true;
    }

    fn float_store(&mut self, op: &Op, bytes: u8) {
        let (slow, back) = self.slow(op);
        if !self.float_is_on {
            // What only reads registers does not mark them as changed.
            self.asm.test_imm(hart(layout::MSTATUS), FS);
            self.asm.jump_if(Cond::Equal, slow);
        }
        let to = self.translate(op, op.imm, bytes, Kind::Write, slow);
        self.asm.mov(W64, Reg::Rdx, f(op.rs2));
        self.asm.store(bytes, to, Reg::Rdx);
        self.asm.place(back);
    }

    fn arithmetic(&mut self, op: &Op, prefix: u8, opcode: u8) {
        let (slow, back) = self.slow(op);
        self.check_on(slow);
        self.check_rounding(op, slow);
        self.check_boxed(prefix, op.rs1, slow);
        self.check_boxed(prefix, op.rs2, slow);
        self.asm.scalar(prefix, MOV_LOAD, Xmm(0), f(op.rs1));
        self.asm.scalar(prefix, opcode, Xmm(0), f(op.rs2));
        self.check_result(prefix, slow);
        self.put_float(op.rd, prefix);
        self.asm.place(back);
        self.float_is_on = true;
    }

    /// `xmm0 = ±(xmm1 * xmm0) ± xmm2`, rounded once; `opcode` chooses the signs.
    fn fused(&mut self, op: &Op, opcode: u8) -> bool {
        if !self.setting.features.fma {
            return false;
        }
        let (slow, back) = self.slow(op);
        self.check_on(slow);
        self.check_rounding(op, slow);
        self.asm.scalar(DOUBLE, MOV_LOAD, Xmm(0), f(op.rs1));
        self.asm.scalar(DOUBLE, MOV_LOAD, Xmm(1), f(op.rs2));
        self.asm.scalar(DOUBLE, MOV_LOAD, Xmm(2), f((op.imm >> 8) as u8));
        self.asm.data(&[0xc4, 0xe2, 0xf1, opcode, 0xc2]);
        self.check_result(DOUBLE, slow);
        self.put_float(op.rd, DOUBLE);
        self.asm.place(back);
        self.float_is_on = true;
        true
    }

    /// What of OP-FP has a floating-point result: `imm` is funct7 and funct3.
    fn float_result(&mut self, op: &Op) {
        let funct3 = op.imm & 7;
        let (slow, back) = self.slow(op);
        self.check_on(slow);
        match (op.imm >> 8, op.rs2) {
            // FSQRT
            (0x2d, _) => {
                self.check_rounding(op, slow);
                self.asm.scalar(DOUBLE, SQRT, Xmm(0), f(op.rs1));
                self.check_result(DOUBLE, slow);
                self.put_float(op.rd, DOUBLE);
            }
            // FSGNJ, FSGNJN, FSGNJX
            (0x11, _) => self.sign(op, funct3),
            // FCVT.S.D and FCVT.D.S
            (0x20, _) => {
                self.check_rounding(op, slow);
                self.asm.scalar(DOUBLE, CONVERT, Xmm(0), f(op.rs1));
                self.check_result(SINGLE, slow);
                self.put_float(op.rd, SINGLE);
            }
            (0x21, _) => {
                self.check_rounding(op, slow);
                self.check_boxed(SINGLE, op.rs1, slow);
                self.asm.scalar(SINGLE, CONVERT, Xmm(0), f(op.rs1));
                self.check_result(DOUBLE, slow);
                self.put_float(op.rd, DOUBLE);
            }
            // FCVT.D.W, FCVT.D.WU, FCVT.D.L
            (0x69, from @ 0..=2) => {
                self.check_rounding(op, slow);
                let mut source = self.get(op.rs1, Reg::Rax);
                if from == 1 {
                    self.asm.load(Extend::Z32, Reg::Rax, source);
                    source = Reg::Rax;
                }
                let width = if from == 0 { W32 } else { W64 };
                self.asm.scalar_wide(DOUBLE, width, 0x2a, 0, source.into());
                self.put_float(op.rd, DOUBLE);
            }
            // FMV.D.X and FMV.W.X
            (0x79, _) => {
                let source = self.get(op.rs1, Reg::Rax);
                self.asm.store(8, f(op.rd), source);
            }
            (0x78, _) => {
                let source = self.get(op.rs1, Reg::Rax);
                self.asm.store(4, f(op.rd), source);
                self.asm.store_imm32(boxing(op.rd), -1);
            }
            // Singles for the most part, unsigned numbers, other rounding modes.
            _ => self.asm.jump(slow),
        }
        self.asm.place(back);
        self.float_is_on = true;
    }

    /// The sign of `rs2`, its opposite, or that of both, before the magnitude of `rs1`.
    fn sign(&mut self, op: &Op, funct3: i32) {
        self.asm.mov(W64, Reg::Rax, f(op.rs1));
        if op.rs1 == op.rs2 && funct3 == 0 {
            return self.asm.store(8, f(op.rd), Reg::Rax);
        }
        self.asm.mov_imm(Reg::Rdx, 1 << 63);
        self.asm.mov(W64, Reg::Rcx, f(op.rs2));
        if funct3 == 1 {
            self.asm.wide(Wide::Not, W64, Reg::Rcx);
        }
        self.asm.alu(Alu::And, W64, Reg::Rcx, Reg::Rdx);
        if funct3 != 2 {
            // The sign off: shifted out and back.
            self.asm.shift_imm(Shift::Shl, W64, Reg::Rax, 1);
            self.asm.shift_imm(Shift::Shr, W64, Reg::Rax, 1);
        }
        self.asm.alu(Alu::Xor, W64, Reg::Rax, Reg::Rcx);
        self.asm.store(8, f(op.rd), Reg::Rax);
    }

    /// What of OP-FP has an integer result.
    fn integer_result(&mut self, op: &Op) {
        let funct3 = op.imm & 7;
        let (slow, back) = self.slow(op);
        self.check_on(slow);
        match (op.imm >> 8, funct3, op.rs2) {
            // FLE, FLT, FEQ; a NaN is the interpreter's.
            (0x51, 0, _) => self.compare_floats(op, op.rs2, op.rs1, Cond::AboveEqual, slow),
            (0x51, 1, _) => self.compare_floats(op, op.rs2, op.rs1, Cond::Above, slow),
            (0x51, 2, _) => self.compare_floats(op, op.rs1, op.rs2, Cond::Equal, slow),
            // FCVT.W.D and FCVT.L.D towards zero
            (0x61, 1, to @ (0 | 2)) => {
                self.asm.test_imm(hart(layout::FCSR), NX);
                self.asm.jump_if(Cond::Equal, slow);
                let width = if to == 0 { W32 } else { W64 };
                self.asm.scalar_wide(DOUBLE, width, 0x2c, Reg::Rax as u8, f(op.rs1).into());
                // What does not fit gives the least number; only of that is 1 less too little.
                self.asm.alu_imm(Alu::Cmp, width, Reg::Rax, 1);
                self.asm.jump_if(Cond::Overflow, slow);
                if to == 0 {
                    self.asm.load(Extend::S32, Reg::Rax, Reg::Rax);
                }
                self.put(op.rd, Reg::Rax);
            }
            // FMV.X.D and FMV.X.W
            (0x71, 0, _) => self.move_out(op, Extend::Full),
            (0x70, 0, _) => self.move_out(op, Extend::S32),
            _ => self.asm.jump(slow),
        }
        self.asm.place(back);
    }

    fn move_out(&mut self, op: &Op, extend: Extend) {
        let to = self.home(op.rd).unwrap_or(Reg::Rax);
        self.asm.load(extend, to, f(op.rs1));
        self.put(op.rd, to);
    }

    fn compare_floats(&mut self, op: &Op, a: u8, b: u8, cond: Cond, slow: Label) {
        self.asm.scalar(DOUBLE, MOV_LOAD, Xmm(0), f(a));
        // UCOMISD
        self.asm.scalar(0x66, 0x2e, Xmm(0), f(b));
        self.asm.jump_if(Cond::Parity, slow);
        self.asm.set(cond, Reg::Rax);
        self.put(op.rd, Reg::Rax);
    }
}
