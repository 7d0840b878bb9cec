//! From instruction bits to [`Op`]s (Unprivileged ISA, chapter 34 "instruction set listings").

use crate::hart::DISCARD;
use crate::op::{Code, Op};

pub(crate) mod compressed;

/// Decodes a 4-byte instruction. `place` is filled in by the caller.
pub(crate) fn decode(bits: u32) -> Op {
    let f = Fields(bits);
    match bits & 0x7f {
        0x37 => f.op(Code::Lui).imm(f.imm_u()),
        0x17 => f.op(Code::Auipc).imm(f.imm_u()),
        0x6f => {
            let code = if f.rd() == 0 { Code::J } else { Code::Jal };
            f.op(code).imm(f.imm_j())
        }
        0x67 if f.funct3() == 0 => f.op(Code::Jalr).imm(f.imm_i()),
        0x63 => branch(f),
        0x03 => load(f),
        0x23 => store(f),
        0x13 => op_imm(f),
        0x1b => op_imm_32(f),
        0x33 => op_reg(f),
        0x3b => op_32(f),
        0x0f => misc_mem(f),
        0x73 => system(f),
        0x2f => atomic(f),
        0x07 => match f.funct3() {
            2 => f.fp(Code::Flw).imm(f.imm_i()),
            3 => f.fp(Code::Fld).imm(f.imm_i()),
            _ => f.illegal(),
        },
        0x27 => match f.funct3() {
            2 => f.fp(Code::Fsw).imm(f.imm_s()),
            3 => f.fp(Code::Fsd).imm(f.imm_s()),
            _ => f.illegal(),
        },
        0x43 | 0x47 | 0x4b | 0x4f => fused(f),
        0x53 => op_fp(f),
        _ => f.illegal(),
    }
}

/// The fields of a 4-byte instruction.
#[derive(Clone, Copy)]
struct Fields(u32);

impl Fields {
    fn rd(self) -> u8 {
        (self.0 >> 7 & 31) as u8
    }
    fn rs1(self) -> u8 {
        (self.0 >> 15 & 31) as u8
    }
    fn rs2(self) -> u8 {
        (self.0 >> 20 & 31) as u8
    }
    fn funct3(self) -> u32 {
        self.0 >> 12 & 7
    }
    fn funct7(self) -> u32 {
        self.0 >> 25
    }
    fn imm_i(self) -> i32 {
        self.0 as i32 >> 20
    }
    fn imm_s(self) -> i32 {
        (self.0 as i32 >> 25) << 5 | (self.0 >> 7 & 31) as i32
    }
    fn imm_b(self) -> i32 {
        (self.0 as i32 >> 31) << 12
            | ((self.0 >> 7 & 1) << 11 | (self.0 >> 25 & 0x3f) << 5 | (self.0 >> 8 & 15) << 1)
                as i32
    }
    fn imm_u(self) -> i32 {
        (self.0 & 0xffff_f000) as i32
    }
    fn imm_j(self) -> i32 {
        (self.0 as i32 >> 31) << 20
            | (self.0 & 0xf_f000 | (self.0 >> 20 & 1) << 11 | (self.0 >> 21 & 0x3ff) << 1) as i32
    }

    /// With an integer destination.
    fn op(self, code: Code) -> Op {
        let rd = if self.rd() == 0 { DISCARD } else { self.rd() };
        Op { rd, ..self.fp(code) }
    }

    /// With a floating-point destination, or none.
    fn fp(self, code: Code) -> Op {
        Op {
            code,
            place: 0,
            n: 0,
            rd: self.rd(),
            rs1: self.rs1(),
            rs2: self.rs2(),
            imm: 0,
            link: 0,
        }
    }

    fn illegal(self) -> Op {
        self.fp(Code::Illegal).imm(self.0 as i32)
    }

    fn op_or_illegal(self, code: Option<Code>) -> Op {
        code.map_or_else(|| self.illegal(), |code| self.op(code))
    }
}

impl Op {
    fn imm(self, imm: i32) -> Op {
        Op { imm, ..self }
    }
}

fn branch(f: Fields) -> Op {
    let code = match f.funct3() {
        0 => Code::Beq,
        1 => Code::Bne,
        4 => Code::Blt,
        5 => Code::Bge,
        6 => Code::Bltu,
        7 => Code::Bgeu,
        _ => return f.illegal(),
    };
    f.fp(code).imm(f.imm_b())
}

fn load(f: Fields) -> Op {
    use Code::*;
    match [Lb, Lh, Lw, Ld, Lbu, Lhu, Lwu].get(f.funct3() as usize) {
        Some(&code) => f.op(code).imm(f.imm_i()),
        None => f.illegal(),
    }
}

fn store(f: Fields) -> Op {
    use Code::*;
    match [Sb, Sh, Sw, Sd].get(f.funct3() as usize) {
        Some(&code) => f.fp(code).imm(f.imm_s()),
        None => f.illegal(),
    }
}

fn op_imm(f: Fields) -> Op {
    use Code::*;
    let shamt = (f.0 >> 20 & 63) as i32;
    let funct6 = f.0 >> 26;
    let (code, imm) = match f.funct3() {
        0 => (Addi, f.imm_i()),
        2 => (Slti, f.imm_i()),
        3 => (Sltiu, f.imm_i()),
        4 => (Xori, f.imm_i()),
        6 => (Ori, f.imm_i()),
        7 => (Andi, f.imm_i()),
        1 => match (funct6, shamt) {
            (0x00, _) => (Slli, shamt),
            (0x0a, _) => (Bseti, shamt),
            (0x12, _) => (Bclri, shamt),
            (0x1a, _) => (Binvi, shamt),
            (0x18, 0) => (Clz, 0),
            (0x18, 1) => (Ctz, 0),
            (0x18, 2) => (Cpop, 0),
            (0x18, 4) => (SextB, 0),
            (0x18, 5) => (SextH, 0),
            _ => return f.illegal(),
        },
        _ => match (funct6, shamt) {
            (0x00, _) => (Srli, shamt),
            (0x10, _) => (Srai, shamt),
            (0x12, _) => (Bexti, shamt),
            (0x18, _) => (Rori, shamt),
            (0x0a, 7) => (OrcB, 0),
            (0x1a, 0x38) => (Rev8, 0),
            _ => return f.illegal(),
        },
    };
    f.op(code).imm(imm)
}

fn op_imm_32(f: Fields) -> Op {
    use Code::*;
    let shamt = f.rs2();
    let (code, imm) = match (f.funct3(), f.funct7()) {
        (0, _) => (Addiw, f.imm_i()),
        (1, 0x00) => (Slliw, i32::from(shamt)),
        (1, 0x04 | 0x05) => (SlliUw, (f.0 >> 20 & 63) as i32),
        (1, 0x30) => match shamt {
            0 => (Clzw, 0),
            1 => (Ctzw, 0),
            2 => (Cpopw, 0),
            _ => return f.illegal(),
        },
        (5, 0x00) => (Srliw, i32::from(shamt)),
        (5, 0x20) => (Sraiw, i32::from(shamt)),
        (5, 0x30) => (Roriw, i32::from(shamt)),
        _ => return f.illegal(),
    };
    f.op(code).imm(imm)
}

fn op_reg(f: Fields) -> Op {
    use Code::*;
    let row = match f.funct7() {
        0x00 => [Add, Sll, Slt, Sltu, Xor, Srl, Or, And].map(Some),
        0x01 => [Mul, Mulh, Mulhsu, Mulhu, Div, Divu, Rem, Remu].map(Some),
        0x20 => [Some(Sub), None, None, None, Some(Xnor), Some(Sra), Some(Orn), Some(Andn)],
        0x05 => [None, None, None, None, Some(Min), Some(Minu), Some(Max), Some(Maxu)],
        0x10 => [None, None, Some(Sh1add), None, Some(Sh2add), None, Some(Sh3add), None],
        0x14 => [None, Some(Bset), None, None, None, None, None, None],
        0x24 => [None, Some(Bclr), None, None, None, Some(Bext), None, None],
        0x30 => [None, Some(Rol), None, None, None, Some(Ror), None, None],
        0x34 => [None, Some(Binv), None, None, None, None, None, None],
        _ => [None; 8],
    };
    f.op_or_illegal(row[f.funct3() as usize])
}

fn op_32(f: Fields) -> Op {
    use Code::*;
    let row = match f.funct7() {
        0x00 => [Some(Addw), Some(Sllw), None, None, None, Some(Srlw), None, None],
        0x01 => [Some(Mulw), None, None, None, Some(Divw), Some(Divuw), Some(Remw), Some(Remuw)],
        0x04 => {
            let zext_h = (f.rs2() == 0).then_some(ZextH);
            [Some(AddUw), None, None, None, zext_h, None, None, None]
        }
        0x10 => [None, None, Some(Sh1addUw), None, Some(Sh2addUw), None, Some(Sh3addUw), None],
        0x20 => [Some(Subw), None, None, None, None, Some(Sraw), None, None],
        0x30 => [None, Some(Rolw), None, None, None, Some(Rorw), None, None],
        _ => [None; 8],
    };
    f.op_or_illegal(row[f.funct3() as usize])
}

fn misc_mem(f: Fields) -> Op {
    match f.funct3() {
        // PAUSE is a FENCE with these fields (Zihintpause); where harts share one clock it ends
        // the turn of a hart that spins.
        0 if f.0 == 0x0100_000f => f.fp(Code::Pause),
        0 => f.fp(Code::Fence),
        1 => f.fp(Code::FenceI),
        2 if f.rd() == 0 => match f.0 >> 20 {
            0 => f.fp(Code::CboInval),
            1 => f.fp(Code::CboClean),
            2 => f.fp(Code::CboFlush),
            4 => f.fp(Code::CboZero),
            _ => f.illegal(),
        },
        _ => f.illegal(),
    }
}

fn system(f: Fields) -> Op {
    use Code::*;
    // Indexed by funct3 - 1; 4 is no CSR instruction.
    let csr = [Csrrw, Csrrs, Csrrc, Illegal, Csrrwi, Csrrsi, Csrrci];
    match f.funct3() {
        0 => match f.0 {
            0x0000_0073 => f.fp(Ecall),
            0x0010_0073 => f.fp(Ebreak),
            0x1020_0073 => f.fp(Sret),
            0x3020_0073 => f.fp(Mret),
            0x1050_0073 => f.fp(Wfi),
            _ if f.funct7() == 0x09 && f.rd() == 0 => f.fp(SfenceVma),
            _ => f.illegal(),
        },
        4 => f.illegal(),
        funct3 => f.op(csr[funct3 as usize - 1]).imm((f.0 >> 20) as i32),
    }
}

fn atomic(f: Fields) -> Op {
    let funct5 = f.0 >> 27;
    let double = match f.funct3() {
        2 => false,
        3 => true,
        _ => return f.illegal(),
    };
    let pick = |word, dword| if double { dword } else { word };
    let code = match funct5 {
        0x02 if f.rs2() == 0 => pick(Code::LrW, Code::LrD),
        0x03 => pick(Code::ScW, Code::ScD),
        0x00 | 0x01 | 0x04 | 0x08 | 0x0c | 0x10 | 0x14 | 0x18 | 0x1c => {
            pick(Code::AmoW, Code::AmoD)
        }
        _ => return f.illegal(),
    };
    f.op(code).imm(funct5 as i32)
}

fn fused(f: Fields) -> Op {
    use Code::*;
    let row = match f.0 >> 25 & 3 {
        0 => [FmaddS, FmsubS, FnmsubS, FnmaddS],
        1 => [FmaddD, FmsubD, FnmsubD, FnmaddD],
        _ => return f.illegal(),
    };
    let rs3 = f.0 >> 27;
    f.fp(row[(f.0 >> 2 & 3) as usize]).imm((f.funct3() | rs3 << 8) as i32)
}

fn op_fp(f: Fields) -> Op {
    use Code::*;
    let rm = f.funct3();
    let rest = (f.funct7() << 8 | rm) as i32;
    match f.funct7() {
        0x00 => f.fp(FaddS).imm(rm as i32),
        0x01 => f.fp(FaddD).imm(rm as i32),
        0x04 => f.fp(FsubS).imm(rm as i32),
        0x05 => f.fp(FsubD).imm(rm as i32),
        0x08 => f.fp(FmulS).imm(rm as i32),
        0x09 => f.fp(FmulD).imm(rm as i32),
        0x0c => f.fp(FdivS).imm(rm as i32),
        0x0d => f.fp(FdivD).imm(rm as i32),
        // FSQRT, FSGNJ*, FMIN/FMAX, conversions between formats and from integers, FMV.*.X.
        0x2c | 0x2d if f.rs2() == 0 => f.fp(FpToFp).imm(rest),
        0x10 | 0x11 if rm <= 2 => f.fp(FpToFp).imm(rest),
        0x14 | 0x15 if rm <= 1 => f.fp(FpToFp).imm(rest),
        0x20 if f.rs2() == 1 => f.fp(FpToFp).imm(rest),
        0x21 if f.rs2() == 0 => f.fp(FpToFp).imm(rest),
        0x68 | 0x69 if f.rs2() <= 3 => f.fp(FpToFp).imm(rest),
        0x78 | 0x79 if f.rs2() == 0 && rm == 0 => f.fp(FpToFp).imm(rest),
        // Comparisons, conversions to integers, FMV.X.*, FCLASS.
        0x50 | 0x51 if rm <= 2 => f.op(FpToInt).imm(rest),
        0x60 | 0x61 if f.rs2() <= 3 => f.op(FpToInt).imm(rest),
        0x70 | 0x71 if f.rs2() == 0 && rm <= 1 => f.op(FpToInt).imm(rest),
        _ => f.illegal(),
    }
}

#[cfg(test)]
mod tests;
