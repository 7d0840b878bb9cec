//! RV64IM, Zba, Zbb, Zbs: register and immediate instructions, and encodings near them.

use super::Generator;
use crate::asm::{i_type, op, r_type};

/// `funct7`, `funct3` of OP.
const OP: [(u32, u32); 37] = [
    (0x00, 0), // add
    (0x20, 0), // sub
    (0x00, 1), // sll
    (0x00, 2), // slt
    (0x00, 3), // sltu
    (0x00, 4), // xor
    (0x00, 5), // srl
    (0x20, 5), // sra
    (0x00, 6), // or
    (0x00, 7), // and
    (0x01, 0), // mul
    (0x01, 1), // mulh
    (0x01, 2), // mulhsu
    (0x01, 3), // mulhu
    (0x01, 4), // div
    (0x01, 5), // divu
    (0x01, 6), // rem
    (0x01, 7), // remu
    (0x10, 2), // sh1add
    (0x10, 4), // sh2add
    (0x10, 6), // sh3add
    (0x20, 7), // andn
    (0x20, 6), // orn
    (0x20, 4), // xnor
    (0x05, 4), // min
    (0x05, 5), // minu
    (0x05, 6), // max
    (0x05, 7), // maxu
    (0x30, 1), // rol
    (0x30, 5), // ror
    (0x24, 1), // bclr
    (0x24, 5), // bext
    (0x34, 1), // binv
    (0x14, 1), // bset
    (0x05, 1), // clmul: not ours, traps
    (0x07, 5), // czero.eqz: likewise
    (0x04, 4), // pack: likewise
];

/// `funct7`, `funct3` of OP-32.
const OP_32: [(u32, u32); 16] = [
    (0x00, 0), // addw
    (0x20, 0), // subw
    (0x00, 1), // sllw
    (0x00, 5), // srlw
    (0x20, 5), // sraw
    (0x01, 0), // mulw
    (0x01, 4), // divw
    (0x01, 5), // divuw
    (0x01, 6), // remw
    (0x01, 7), // remuw
    (0x04, 0), // add.uw
    (0x10, 2), // sh1add.uw
    (0x10, 4), // sh2add.uw
    (0x10, 6), // sh3add.uw
    (0x30, 1), // rolw
    (0x30, 5), // rorw
];

/// `funct3`, whole immediate of OP-IMM with one source and no constant.
const UNARY: [(u32, i64); 7] = [
    (1, 0x600), // clz
    (1, 0x601), // ctz
    (1, 0x602), // cpop
    (1, 0x604), // sext.b
    (1, 0x605), // sext.h
    (5, 0x287), // orc.b
    (5, 0x6b8), // rev8
];

/// `funct3`, immediate without the shift amount.
const SHIFT: [(u32, i64); 8] = [
    (1, 0x000), // slli
    (5, 0x000), // srli
    (5, 0x400), // srai
    (5, 0x600), // rori
    (1, 0x280), // bseti
    (1, 0x480), // bclri
    (1, 0x680), // binvi
    (5, 0x480), // bexti
];

impl Generator {
    pub(super) fn integer(&mut self) {
        let (rd, rs1, rs2) = (self.rd(), self.rs(), self.rs());
        let shift = self.rng.below(64) as i64;
        let word = match self.rng.below(16) {
            0..5 => {
                let (f7, f3) = self.rng.pick(&OP);
                r_type(op::OP, f3, f7, rd, rs1, rs2)
            }
            5..8 => {
                let (f7, f3) = self.rng.pick(&OP_32);
                r_type(op::OP_32, f3, f7, rd, rs1, rs2)
            }
            8 => {
                let (f3, imm) = self.rng.pick(&UNARY);
                i_type(op::OP_IMM, f3, rd, rs1, imm)
            }
            9 => {
                let (f3, imm) = self.rng.pick(&SHIFT);
                i_type(op::OP_IMM, f3, rd, rs1, imm | shift)
            }
            10 => match self.rng.below(4) {
                0 => i_type(op::OP_IMM_32, 1, rd, rs1, 0x600 + self.rng.below(3) as i64), // clzw …
                1 => i_type(op::OP_IMM_32, 1, rd, rs1, 0x080 | shift),                    // slli.uw
                2 => i_type(op::OP_IMM_32, 5, rd, rs1, 0x600 | shift & 31),               // roriw
                _ => r_type(op::OP_32, 4, 0x04, rd, rs1, 0),                              // zext.h
            },
            11 | 12 => {
                let f3 = self.rng.pick(&[0, 2, 3, 4, 6, 7]);
                i_type(op::OP_IMM, f3, rd, rs1, self.rng.signed(12))
            }
            13 => match self.rng.below(3) {
                0 => i_type(op::OP_IMM_32, 0, rd, rs1, self.rng.signed(12)),
                1 => i_type(op::OP_IMM_32, 1, rd, rs1, shift & 31),
                _ => i_type(op::OP_IMM_32, 5, rd, rs1, self.rng.pick(&[0, 0x400]) | shift & 31),
            },
            14 => {
                let opcode = self.rng.pick(&[op::LUI, op::AUIPC]);
                opcode | rd << 7 | (self.rng.next() as u32) << 12
            }
            // Anything at all in these major opcodes: what is no instruction must trap.
            _ => {
                let opcode = self.rng.pick(&[op::OP, op::OP_32, op::OP_IMM, op::OP_IMM_32]);
                opcode | rd << 7 | (self.rng.next() as u32) << 12
            }
        };
        self.sequence.push(word);
    }
}
