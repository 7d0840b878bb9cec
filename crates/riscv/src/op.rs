//! Predecoded instructions: what the interpreter runs.

/// One predecoded instruction of a block.
///
/// 16 bytes, so that a block of ordinary length stays in few cache lines.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Op {
    /// What to do.
    pub(crate) code: Code,
    /// Offset of the instruction in its page, plus 1 if it is 4 bytes long.
    pub(crate) place: u16,
    /// Instructions from this one to the end of the block, inclusive.
    pub(crate) n: u8,
    /// Destination; [`crate::hart::DISCARD`] stands for an integer destination `x0`.
    pub(crate) rd: u8,
    /// First source.
    pub(crate) rs1: u8,
    /// Second source.
    pub(crate) rs2: u8,
    /// Immediate, or what [`Code`] says.
    pub(crate) imm: i32,
    /// For jumps within a page: arena index of the target's block once known, else 0.
    pub(crate) link: u32,
}

impl Op {
    /// Offset of the instruction in its page.
    pub(crate) fn offset(&self) -> u64 {
        u64::from(self.place & !1)
    }

    /// Length of the instruction in bytes.
    pub(crate) fn len(&self) -> u64 {
        2 + 2 * u64::from(self.place & 1)
    }
}

/// What an [`Op`] does. Instruction names, compressed ones under the name of what they expand to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
#[rustfmt::skip]
pub(crate) enum Code {
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
}

impl Code {
    /// Whether a block must end with this instruction: it always leaves, may change the mode or
    /// what interrupts are enabled, or needs to know the exact time.
    pub(crate) fn ends_block(self) -> bool {
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
