//! Predecoded instructions: what the interpreter runs and a compiler reads.

use std::fmt;

/// One predecoded instruction of a block.
///
/// 16 bytes, so that a block of ordinary length stays in few cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Op {
    /// What to do.
    pub code: Code,
    /// Offset of the instruction in its page, plus 1 if it is 4 bytes long.
    pub place: u16,
    /// Instructions from this one to the end of the block, inclusive.
    pub n: u8,
    /// Destination; [`crate::hart::DISCARD`] stands for an integer destination `x0`.
    pub rd: u8,
    /// First source.
    pub rs1: u8,
    /// Second source.
    pub rs2: u8,
    /// Immediate, or what [`Code`] says.
    pub imm: i32,
    /// For jumps within a page: arena index of the target's block once known, else 0.
    pub link: u32,
}

impl Op {
    /// Offset of the instruction in its page.
    pub fn offset(&self) -> u64 {
        u64::from(self.place & !1)
    }

    /// Length of the instruction in bytes.
    #[expect(clippy::len_without_is_empty, reason = "no instruction is empty")]
    pub fn len(&self) -> u64 {
        2 + 2 * u64::from(self.place & 1)
    }
}

/// For people: where it is, the name, and the operands by number, the immediate last.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = format!("{:?}", self.code).to_lowercase();
        let (at, rd, rs1, rs2) = (self.offset(), self.rd, self.rs1, self.rs2);
        write!(f, "{at:03x} {name:<8} {rd:>2} {rs1:>2} {rs2:>2} {:#x}", self.imm)
    }
}

/// What an [`Op`] does. Instruction names, compressed ones under the name of what they expand to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
#[rustfmt::skip]
#[expect(missing_docs, reason = "the ISA manual has them")]
pub enum Code {
    // RV64I.
    Lui, Auipc, Jal, J, Jalr, Beq, Bne, Blt, Bge, Bltu, Bgeu,
    Lb, Lh, Lw, Ld, Lbu, Lhu, Lwu, Sb, Sh, Sw, Sd,
    Addi, Slti, Sltiu, Xori, Ori, Andi, Slli, Srli, Srai,
    Add, Sub, Sll, Slt, Sltu, Xor, Srl, Sra, Or, And,
    Addiw, Slliw, Srliw, Sraiw, Addw, Subw, Sllw, Srlw, Sraw,
    Fence, Pause, FenceI, Ecall, Ebreak,
    // M.
    Mul, Mulh, Mulhsu, Mulhu, Div, Divu, Rem, Remu, Mulw, Divw, Divuw, Remw, Remuw,
    // A: `imm` is funct5.
    LrW, LrD, ScW, ScD, AmoW, AmoD,
    // Zba, Zbb, Zbs.
    Sh1add, Sh2add, Sh3add, AddUw, Sh1addUw, Sh2addUw, Sh3addUw, SlliUw,
    Andn, Orn, Xnor, Clz, Ctz, Cpop, Clzw, Ctzw, Cpopw, Max, Maxu, Min, Minu,
    SextB, SextH, ZextH, Rol, Ror, Rori, Rolw, Rorw, Roriw, OrcB, Rev8,
    Bset, Bclr, Binv, Bext, Bseti, Bclri, Binvi, Bexti,
    // F and D. Arithmetic: `imm` is rm; fused: `imm` is rm | rs3 << 8.
    Flw, Fld, Fsw, Fsd,
    FaddS, FsubS, FmulS, FdivS, FaddD, FsubD, FmulD, FdivD,
    FmaddS, FmsubS, FnmsubS, FnmaddS, FmaddD, FmsubD, FnmsubD, FnmaddD,
    // The rest of OP-FP: `imm` is funct7 << 8 | rm, `rs2` selects as in the encoding.
    FpToFp, FpToInt,
    // Zicsr: `imm` is the CSR number, `rs1` the register or the immediate.
    Csrrw, Csrrs, Csrrc, Csrrwi, Csrrsi, Csrrci,
    // Privileged.
    Sret, Mret, Wfi, SfenceVma,
    // Zicbom, Zicboz.
    CboInval, CboClean, CboFlush, CboZero,
    /// Not an instruction; `imm` holds the bits.
    Illegal,
    // Of the interpreter's own making:
    /// Goes on at `place`, which may be the first byte of the next page. Counts as nothing.
    Next,
    /// Begins a block while there is a compiler; `imm` is how often it may run before it is
    /// compiled. Counts as nothing.
    Heat,
    /// Begins a block that is compiled. Counts as nothing.
    Native,
}

impl Code {
    /// Whether a block must end with this instruction: it always leaves, may change the mode or
    /// what interrupts are enabled, or needs to know the exact time.
    pub fn ends_block(self) -> bool {
        use Code::*;
        matches!(
            self,
            Jal | J
                | Jalr
                | Pause
                | FenceI
                | Ecall
                | Ebreak
                | Csrrw
                | Csrrs
                | Csrrc
                | Csrrwi
                | Csrrsi
                | Csrrci
                | Sret
                | Mret
                | Wfi
                | SfenceVma
                | Illegal
                | Next
        )
    }
}

const _: () = assert!(size_of::<Op>() == 16);
