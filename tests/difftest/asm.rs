//! A very small assembler: instruction formats, labels and constants. It knows formats, not
//! mnemonics; who needs an instruction writes its fields.

use std::collections::BTreeMap;

/// An integer register, by number.
pub(crate) type Reg = u32;

pub(crate) const ZERO: Reg = 0;
pub(crate) const RA: Reg = 1;
pub(crate) const SP: Reg = 2;
pub(crate) const T0: Reg = 5;
pub(crate) const T1: Reg = 6;
pub(crate) const T2: Reg = 7;
pub(crate) const S0: Reg = 8;
pub(crate) const S1: Reg = 9;
pub(crate) const A0: Reg = 10;
pub(crate) const A1: Reg = 11;
pub(crate) const A2: Reg = 12;
pub(crate) const A3: Reg = 13;
pub(crate) const T3: Reg = 28;
pub(crate) const T4: Reg = 29;
pub(crate) const T5: Reg = 30;

/// Major opcodes, with the low bits that say "32 bits long".
pub(crate) mod op {
    pub(crate) const LOAD: u32 = 0x03;
    pub(crate) const LOAD_FP: u32 = 0x07;
    pub(crate) const MISC_MEM: u32 = 0x0f;
    pub(crate) const OP_IMM: u32 = 0x13;
    pub(crate) const AUIPC: u32 = 0x17;
    pub(crate) const OP_IMM_32: u32 = 0x1b;
    pub(crate) const STORE: u32 = 0x23;
    pub(crate) const STORE_FP: u32 = 0x27;
    pub(crate) const AMO: u32 = 0x2f;
    pub(crate) const OP: u32 = 0x33;
    pub(crate) const LUI: u32 = 0x37;
    pub(crate) const OP_32: u32 = 0x3b;
    pub(crate) const MADD: u32 = 0x43;
    pub(crate) const OP_FP: u32 = 0x53;
    pub(crate) const BRANCH: u32 = 0x63;
    pub(crate) const JALR: u32 = 0x67;
    pub(crate) const JAL: u32 = 0x6f;
    pub(crate) const SYSTEM: u32 = 0x73;
}

pub(crate) fn r_type(opcode: u32, f3: u32, f7: u32, rd: Reg, rs1: Reg, rs2: u32) -> u32 {
    opcode | rd << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | f7 << 25
}

/// `imm` is taken modulo 4096.
pub(crate) fn i_type(opcode: u32, f3: u32, rd: Reg, rs1: Reg, imm: i64) -> u32 {
    opcode | rd << 7 | f3 << 12 | rs1 << 15 | (imm as u32 & 0xfff) << 20
}

/// `imm` is taken modulo 4096.
pub(crate) fn s_type(opcode: u32, f3: u32, rs1: Reg, rs2: Reg, imm: i64) -> u32 {
    let imm = imm as u32;
    opcode | (imm & 31) << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | (imm >> 5 & 0x7f) << 25
}

pub(crate) fn b_type(f3: u32, rs1: Reg, rs2: Reg, offset: i64) -> u32 {
    assert!((-4096..4096).contains(&offset) && offset % 2 == 0);
    let o = offset as u32;
    let (low, high) = ((o >> 1 & 15) << 1 | (o >> 11 & 1), (o >> 5 & 63) | (o >> 12 & 1) << 6);
    op::BRANCH | low << 7 | f3 << 12 | rs1 << 15 | rs2 << 20 | high << 25
}

pub(crate) fn jal(rd: Reg, offset: i64) -> u32 {
    assert!((-(1 << 20)..1 << 20).contains(&offset) && offset % 2 == 0);
    let o = offset as u32;
    let imm = (o >> 12 & 0xff) | (o >> 11 & 1) << 8 | (o >> 1 & 0x3ff) << 9 | (o >> 20 & 1) << 19;
    op::JAL | rd << 7 | imm << 12
}

pub(crate) fn addi(rd: Reg, rs1: Reg, imm: i64) -> u32 {
    assert!((-2048..2048).contains(&imm));
    i_type(op::OP_IMM, 0, rd, rs1, imm)
}

/// CSR instruction; `f3` is 1 write, 2 set, 3 clear, and 5–7 with `rs1` as a constant.
pub(crate) fn csr(f3: u32, rd: Reg, csr: u32, rs1: u32) -> u32 {
    op::SYSTEM | rd << 7 | f3 << 12 | rs1 << 15 | csr << 20
}

/// The instructions that put `value` into `rd`, without touching another register.
pub(crate) fn li(rd: Reg, value: u64) -> Vec<u32> {
    let signed = value as i64;
    if i64::from(signed as i32) == signed {
        let low = (signed << 52) >> 52;
        let high = ((signed - low) >> 12) as u32 & 0xf_ffff;
        if high == 0 {
            return vec![addi(rd, ZERO, low)];
        }
        // ADDIW, so that 0x7fff_f800 and up do not leave the 32-bit range.
        return vec![op::LUI | rd << 7 | high << 12, i_type(op::OP_IMM_32, 0, rd, rd, low)];
    }
    let low = (signed << 52) >> 52;
    let mut code = li(rd, (signed.wrapping_sub(low) >> 12) as u64);
    code.push(i_type(op::OP_IMM, 1, rd, rd, 12));
    code.push(addi(rd, rd, low));
    code
}

/// A place in the code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Label(usize);

enum Fixup {
    Branch { f3: u32, rs1: Reg, rs2: Reg },
    Jump { rd: Reg },
}

/// Code under construction; 32-bit instructions only.
pub(crate) struct Asm {
    base: u64,
    words: Vec<u32>,
    labels: BTreeMap<Label, usize>,
    labels_made: usize,
    fixups: Vec<(usize, Label, Fixup)>,
}

impl Asm {
    pub(crate) fn new(base: u64) -> Asm {
        let (words, labels, fixups) = (Vec::new(), BTreeMap::new(), Vec::new());
        Asm { base, words, labels, labels_made: 0, fixups }
    }

    pub(crate) fn emit(&mut self, word: u32) {
        self.words.push(word);
    }

    pub(crate) fn li(&mut self, rd: Reg, value: u64) {
        self.words.extend(li(rd, value));
    }

    pub(crate) fn label(&mut self) -> Label {
        self.labels_made += 1;
        Label(self.labels_made)
    }

    /// The label is here.
    pub(crate) fn bind(&mut self, label: Label) {
        let before = self.labels.insert(label, self.words.len());
        assert!(before.is_none(), "a label is bound once");
    }

    /// A new label that is here.
    pub(crate) fn here(&mut self) -> Label {
        let label = self.label();
        self.bind(label);
        label
    }

    /// Address of a bound label.
    pub(crate) fn address(&self, label: Label) -> u64 {
        self.base + 4 * self.labels[&label] as u64
    }

    pub(crate) fn branch(&mut self, f3: u32, rs1: Reg, rs2: Reg, to: Label) {
        self.fixups.push((self.words.len(), to, Fixup::Branch { f3, rs1, rs2 }));
        self.words.push(0);
    }

    pub(crate) fn beq(&mut self, rs1: Reg, rs2: Reg, to: Label) {
        self.branch(0, rs1, rs2, to);
    }

    pub(crate) fn bne(&mut self, rs1: Reg, rs2: Reg, to: Label) {
        self.branch(1, rs1, rs2, to);
    }

    pub(crate) fn bgeu(&mut self, rs1: Reg, rs2: Reg, to: Label) {
        self.branch(7, rs1, rs2, to);
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.call(ZERO, to);
    }

    pub(crate) fn call(&mut self, rd: Reg, to: Label) {
        self.fixups.push((self.words.len(), to, Fixup::Jump { rd }));
        self.words.push(0);
    }

    pub(crate) fn ret(&mut self) {
        self.emit(i_type(op::JALR, 0, ZERO, RA, 0));
    }

    pub(crate) fn ld(&mut self, rd: Reg, base: Reg, offset: i64) {
        self.emit(i_type(op::LOAD, 3, rd, base, offset));
    }

    pub(crate) fn sd(&mut self, rs2: Reg, base: Reg, offset: i64) {
        self.emit(s_type(op::STORE, 3, base, rs2, offset));
    }

    pub(crate) fn addi(&mut self, rd: Reg, rs1: Reg, imm: i64) {
        self.emit(addi(rd, rs1, imm));
    }

    pub(crate) fn csrr(&mut self, rd: Reg, number: u32) {
        self.emit(csr(2, rd, number, ZERO));
    }

    pub(crate) fn csrw(&mut self, number: u32, rs1: Reg) {
        self.emit(csr(1, ZERO, number, rs1));
    }

    /// The finished code; every label used must be bound.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for (at, label, fixup) in &self.fixups {
            let offset = 4 * (self.labels[label] as i64 - *at as i64);
            self.words[*at] = match *fixup {
                Fixup::Branch { f3, rs1, rs2 } => b_type(f3, rs1, rs2, offset),
                Fixup::Jump { rd } => jal(rd, offset),
            };
        }
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}
