//! RV64FD: every instruction, every rounding mode (reserved ones too), both formats, moves.

use super::{Generator, state};
use crate::asm::{csr, i_type, li, op, r_type};

impl Generator {
    pub(super) fn float(&mut self) {
        match self.rng.below(16) {
            0..11 => self.arithmetic(),
            11 | 12 => self.fused(),
            13 => self.flags_and_mode(),
            14 => self.fresh_operand(),
            _ => {
                // Anything at all: reserved formats, rounding modes and functions.
                let rd = self.rd();
                let word = op::OP_FP | rd << 7 | (self.rng.next() as u32) << 12;
                self.sequence.push(word);
            }
        }
    }

    /// Dynamic in half the cases; 5 and 6 are reserved.
    fn rounding_mode(&mut self) -> u32 {
        match self.rng.below(16) {
            0..8 => 7,
            15 => 5 + self.rng.below(2) as u32,
            _ => self.rng.below(5) as u32,
        }
    }

    fn arithmetic(&mut self) {
        let rm = self.rounding_mode();
        let (rd, rs1, rs2) = (self.rs(), self.rs(), self.rs());
        let format = self.rng.below(2) as u32;
        // `funct5`, `funct3`, second source, and whether the result is an integer.
        let (f5, f3, rs2, to_integer) = match self.rng.below(13) {
            0 => (0x00, rm, rs2, false),                       // fadd
            1 => (0x01, rm, rs2, false),                       // fsub
            2 => (0x02, rm, rs2, false),                       // fmul
            3 => (0x03, rm, rs2, false),                       // fdiv
            4 => (0x0b, rm, 0, false),                         // fsqrt
            5 => (0x04, self.rng.below(3) as u32, rs2, false), // fsgnj
            6 => (0x05, self.rng.below(2) as u32, rs2, false), // fmin, fmax
            // Widening is exact, yet QEMU refuses a reserved rounding mode there; we need not.
            7 => (0x08, if format == 1 { rm % 5 } else { rm }, 1 - format, false), // fcvt s <-> d
            8 => (0x14, self.rng.below(3) as u32, rs2, true),                      // feq, flt, fle
            9 => (0x18, rm, self.rng.below(4) as u32, true), // fcvt to integer
            10 => (0x1a, rm, self.rng.below(4) as u32, false), // fcvt from integer
            11 => (0x1c, self.rng.below(2) as u32, 0, true), // fmv.x, fclass
            _ => (0x1e, 0, 0, false),                        // fmv from integer
        };
        let rd = if to_integer { self.rd() } else { rd };
        self.sequence.push(r_type(op::OP_FP, f3, f5 << 2 | format, rd, rs1, rs2));
    }

    fn fused(&mut self) {
        let opcode = op::MADD + 4 * self.rng.below(4) as u32;
        let (rd, rs1, rs2, rs3) = (self.rs(), self.rs(), self.rs(), self.rs());
        // The second format bit is for half and quad precision: reserved here.
        let format = if self.rng.one_in(16) { 2 } else { self.rng.below(2) as u32 };
        let rm = self.rounding_mode();
        self.sequence.push(r_type(opcode, rm, rs3 << 2 | format, rd, rs1, rs2));
    }

    /// Reads and writes `fflags`, `frm`, `fcsr`.
    fn flags_and_mode(&mut self) {
        let (rd, number) = (self.rd(), 1 + self.rng.below(3) as u32);
        let f3 = self.rng.pick(&[1, 2, 3, 5, 6, 7]);
        let source = self.rs();
        let word = match number {
            // A valid mode, mostly, or little else would run afterwards.
            2 if !self.rng.one_in(8) => csr(5, rd, number, self.rng.below(5) as u32),
            _ => csr(f3, rd, number, source),
        };
        self.sequence.push(word);
    }

    /// A new special value in a register.
    fn fresh_operand(&mut self) {
        let value = state::float(&mut self.rng);
        let (via, to) = (self.rd().max(1), self.rs());
        let mut words = li(via, value);
        words.push(r_type(op::OP_FP, 0, 0x79, to, via, 0));
        self.sequence.push_all(&words);
    }

    /// A load that only floating point knows, used by [`Generator::memory`].
    pub(super) fn float_load(&mut self, base: u32, imm: i64) -> u32 {
        let f3 = if self.rng.one_in(12) { self.rng.below(8) as u32 } else { 2 };
        let f3 = if self.rng.one_in(2) { 3 } else { f3 };
        i_type(op::LOAD_FP, f3, self.rs(), base, imm)
    }
}
