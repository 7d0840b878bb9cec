//! The C extension: each 2-byte instruction as the 4-byte one it stands for
//! (Unprivileged ISA, chapter 26).

use crate::hart::DISCARD;
use crate::op::{Code, Op};

/// Decodes a 2-byte instruction. `place` is filled in by the caller.
pub(crate) fn decode(bits: u16) -> Op {
    let c = Parcel(u32::from(bits));
    match (bits & 3, bits >> 13) {
        (0, 0) if c.addi4spn() != 0 => c.op(Code::Addi, c.rs2_short(), 2, 0, c.addi4spn()),
        (0, 1) => c.op(Code::Fld, c.rs2_short(), c.rs1_short(), 0, c.offset_double()),
        (0, 2) => c.op(Code::Lw, c.rs2_short(), c.rs1_short(), 0, c.offset_word()),
        (0, 3) => c.op(Code::Ld, c.rs2_short(), c.rs1_short(), 0, c.offset_double()),
        (0, 5) => c.op(Code::Fsd, 0, c.rs1_short(), c.rs2_short(), c.offset_double()),
        (0, 6) => c.op(Code::Sw, 0, c.rs1_short(), c.rs2_short(), c.offset_word()),
        (0, 7) => c.op(Code::Sd, 0, c.rs1_short(), c.rs2_short(), c.offset_double()),
        (1, 0) => c.op(Code::Addi, c.to(), c.rd(), 0, c.imm6()),
        (1, 1) if c.rd() != 0 => c.op(Code::Addiw, c.rd(), c.rd(), 0, c.imm6()),
        (1, 2) => c.op(Code::Addi, c.to(), 0, 0, c.imm6()),
        (1, 3) if c.rd() == 2 && c.addi16sp() != 0 => c.op(Code::Addi, 2, 2, 0, c.addi16sp()),
        (1, 3) if c.rd() != 2 && c.imm6() != 0 => c.op(Code::Lui, c.to(), 0, 0, c.imm6() << 12),
        (1, 4) => arithmetic(c),
        (1, 5) => c.op(Code::J, DISCARD, 0, 0, c.jump()),
        (1, 6) => c.op(Code::Beq, 0, c.rs1_short(), 0, c.branch()),
        (1, 7) => c.op(Code::Bne, 0, c.rs1_short(), 0, c.branch()),
        (2, 0) => c.op(Code::Slli, c.to(), c.rd(), 0, c.imm6() & 63),
        (2, 1) => c.op(Code::Fld, c.rd(), 2, 0, c.ldsp()),
        (2, 2) if c.rd() != 0 => c.op(Code::Lw, c.rd(), 2, 0, c.lwsp()),
        (2, 3) if c.rd() != 0 => c.op(Code::Ld, c.rd(), 2, 0, c.ldsp()),
        (2, 4) => jumps_and_moves(c),
        (2, 5) => c.op(Code::Fsd, 0, 2, c.rs2(), c.sdsp()),
        (2, 6) => c.op(Code::Sw, 0, 2, c.rs2(), c.swsp()),
        (2, 7) => c.op(Code::Sd, 0, 2, c.rs2(), c.sdsp()),
        _ => c.illegal(),
    }
}

/// The fields of a 2-byte instruction.
#[derive(Clone, Copy)]
struct Parcel(u32);

impl Parcel {
    /// Bits `high..=low`, moved to start at bit `to`.
    fn bits(self, high: u32, low: u32, to: u32) -> i32 {
        (((self.0 >> low) & ((1 << (high - low + 1)) - 1)) << to) as i32
    }
    fn rd(self) -> u8 {
        self.bits(11, 7, 0) as u8
    }
    /// The destination, or the slot that swallows writes to `x0` (hints).
    fn to(self) -> u8 {
        if self.rd() == 0 { DISCARD } else { self.rd() }
    }
    fn rs2(self) -> u8 {
        self.bits(6, 2, 0) as u8
    }
    fn rs1_short(self) -> u8 {
        8 + self.bits(9, 7, 0) as u8
    }
    fn rs2_short(self) -> u8 {
        8 + self.bits(4, 2, 0) as u8
    }
    fn imm6(self) -> i32 {
        let imm = self.bits(12, 12, 5) | self.bits(6, 2, 0);
        imm << 26 >> 26
    }
    fn addi4spn(self) -> i32 {
        self.bits(10, 7, 6) | self.bits(12, 11, 4) | self.bits(5, 5, 3) | self.bits(6, 6, 2)
    }
    fn addi16sp(self) -> i32 {
        let imm = self.bits(12, 12, 9)
            | self.bits(4, 3, 7)
            | self.bits(5, 5, 6)
            | self.bits(2, 2, 5)
            | self.bits(6, 6, 4);
        imm << 22 >> 22
    }
    fn offset_word(self) -> i32 {
        self.bits(5, 5, 6) | self.bits(12, 10, 3) | self.bits(6, 6, 2)
    }
    fn offset_double(self) -> i32 {
        self.bits(6, 5, 6) | self.bits(12, 10, 3)
    }
    fn lwsp(self) -> i32 {
        self.bits(3, 2, 6) | self.bits(12, 12, 5) | self.bits(6, 4, 2)
    }
    fn ldsp(self) -> i32 {
        self.bits(4, 2, 6) | self.bits(12, 12, 5) | self.bits(6, 5, 3)
    }
    fn swsp(self) -> i32 {
        self.bits(8, 7, 6) | self.bits(12, 9, 2)
    }
    fn sdsp(self) -> i32 {
        self.bits(9, 7, 6) | self.bits(12, 10, 3)
    }
    fn jump(self) -> i32 {
        let imm = self.bits(12, 12, 11)
            | self.bits(8, 8, 10)
            | self.bits(10, 9, 8)
            | self.bits(6, 6, 7)
            | self.bits(7, 7, 6)
            | self.bits(2, 2, 5)
            | self.bits(11, 11, 4)
            | self.bits(5, 3, 1);
        imm << 20 >> 20
    }
    fn branch(self) -> i32 {
        let imm = self.bits(12, 12, 8)
            | self.bits(6, 5, 6)
            | self.bits(2, 2, 5)
            | self.bits(11, 10, 3)
            | self.bits(4, 3, 1);
        imm << 23 >> 23
    }

    fn op(self, code: Code, rd: u8, rs1: u8, rs2: u8, imm: i32) -> Op {
        Op { code, place: 0, n: 0, rd, rs1, rs2, imm, link: 0 }
    }

    fn illegal(self) -> Op {
        self.op(Code::Illegal, 0, 0, 0, self.0 as i32)
    }
}

fn arithmetic(c: Parcel) -> Op {
    use Code::*;
    let rd = c.rs1_short();
    match c.bits(11, 10, 0) {
        0 => c.op(Srli, rd, rd, 0, c.imm6() & 63),
        1 => c.op(Srai, rd, rd, 0, c.imm6() & 63),
        2 => c.op(Andi, rd, rd, 0, c.imm6()),
        _ => {
            let row =
                [Some(Sub), Some(Xor), Some(Or), Some(And), Some(Subw), Some(Addw), None, None];
            let index = c.bits(12, 12, 2) | c.bits(6, 5, 0);
            row[index as usize]
                .map_or_else(|| c.illegal(), |code| c.op(code, rd, rd, c.rs2_short(), 0))
        }
    }
}

fn jumps_and_moves(c: Parcel) -> Op {
    match (c.bits(12, 12, 0), c.rd(), c.rs2()) {
        (0, 0, 0) => c.illegal(),
        (0, rs1, 0) => c.op(Code::Jalr, DISCARD, rs1, 0, 0),
        (0, _, rs2) => c.op(Code::Add, c.to(), 0, rs2, 0),
        (_, 0, 0) => c.op(Code::Ebreak, 0, 0, 0, 0),
        (_, rs1, 0) => c.op(Code::Jalr, 1, rs1, 0, 0),
        (_, rd, rs2) => c.op(Code::Add, c.to(), rd, rs2, 0),
    }
}
