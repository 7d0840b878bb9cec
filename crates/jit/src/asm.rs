//! An assembler for the few x86-64 instructions that the emitter uses (Intel SDM, volume 2).
//!
//! Owns encodings and labels. Deliberately chooses nothing: one method is one instruction.

/// A register of the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
#[rustfmt::skip]
pub(crate) enum Reg {
    Rax, Rcx, Rdx, Rbx, Rsp, Rbp, Rsi, Rdi, R8, R9, R10, R11, R12, R13, R14, R15,
}

/// A vector register, by its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Xmm(pub(crate) u8);

/// Memory at a register plus a displacement, maybe plus another register times a power of two.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mem {
    base: Reg,
    index: Option<(Reg, u8)>,
    disp: i32,
}

impl Mem {
    pub(crate) fn at(base: Reg, disp: i32) -> Mem {
        Mem { base, index: None, disp }
    }

    /// `base + index * 2^scale + disp`.
    pub(crate) fn indexed(base: Reg, index: Reg, scale: u8, disp: i32) -> Mem {
        assert!(index != Reg::Rsp && scale < 4);
        Mem { base, index: Some((index, scale)), disp }
    }
}

/// What an instruction reads from or, some, write to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Rm {
    Reg(Reg),
    Mem(Mem),
}

impl From<Reg> for Rm {
    fn from(reg: Reg) -> Rm {
        Rm::Reg(reg)
    }
}

impl From<Mem> for Rm {
    fn from(mem: Mem) -> Rm {
        Rm::Mem(mem)
    }
}

/// Operand size.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Width {
    W32,
    W64,
}

/// The eight operations with one encoding, by their number in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Alu {
    Add = 0,
    Or = 1,
    And = 4,
    Sub = 5,
    Xor = 6,
    Cmp = 7,
}

/// Shifts and rotations, by their number in the encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Shift {
    Ror = 1,
    Shl = 4,
    Shr = 5,
    Sar = 7,
}

/// One-operand operations on `rdx:rax`, by their number in the encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Wide {
    Not = 2,
    Mul = 4,
    Imul = 5,
    Div = 6,
    Idiv = 7,
}

/// Conditions, by their number in the encoding.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Cond {
    Overflow = 0,
    Below = 2,
    AboveEqual = 3,
    Equal = 4,
    NotEqual = 5,
    BelowEqual = 6,
    Above = 7,
    Sign = 8,
    Parity = 10,
    Less = 12,
    GreaterEqual = 13,
}

impl Cond {
    /// What holds when it does not.
    pub(crate) fn inverted(self) -> Cond {
        match self {
            Cond::Below => Cond::AboveEqual,
            Cond::AboveEqual => Cond::Below,
            Cond::Equal => Cond::NotEqual,
            Cond::NotEqual => Cond::Equal,
            Cond::BelowEqual => Cond::Above,
            Cond::Above => Cond::BelowEqual,
            Cond::Less => Cond::GreaterEqual,
            Cond::GreaterEqual => Cond::Less,
            Cond::Overflow | Cond::Sign | Cond::Parity => unreachable!("{self:?} is of no branch"),
        }
    }
}

/// What is loaded, and how it fills a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extend {
    S8,
    S16,
    S32,
    Z8,
    Z16,
    Z32,
    Full,
}

/// A place in the code, known or not yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(u32);

/// Code being written for a fixed address.
pub(crate) struct Asm {
    address: u64,
    code: Vec<u8>,
    labels: Vec<Option<u32>>,
    /// Where the four bytes of a distance are, and to what.
    fixups: Vec<(u32, Label)>,
}

impl Asm {
    pub(crate) fn new(address: u64) -> Asm {
        Asm { address, code: Vec::new(), labels: Vec::new(), fixups: Vec::new() }
    }

    /// The code, with all labels in it resolved.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for (at, label) in std::mem::take(&mut self.fixups) {
            let target = self.labels[label.0 as usize].expect("every label used is placed");
            let distance = target as i32 - (at as i32 + 4);
            self.code[at as usize..][..4].copy_from_slice(&distance.to_le_bytes());
        }
        self.code
    }

    /// Address of the next instruction.
    pub(crate) fn here(&self) -> u64 {
        self.address + self.code.len() as u64
    }

    pub(crate) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() as u32 - 1)
    }

    pub(crate) fn place(&mut self, label: Label) {
        let place = &mut self.labels[label.0 as usize];
        assert!(place.is_none(), "a label has one place");
        *place = Some(self.code.len() as u32);
    }

    /// Address of a label that is placed.
    pub(crate) fn address_of(&self, label: Label) -> u64 {
        self.address + u64::from(self.labels[label.0 as usize].expect("placed"))
    }

    /// Fills up to a multiple of `bytes` from the address of the code, which is one.
    pub(crate) fn align(&mut self, bytes: usize) {
        assert!(self.address.is_multiple_of(bytes as u64));
        self.code.resize(self.code.len().next_multiple_of(bytes), 0);
    }

    /// Bytes as they are.
    pub(crate) fn data(&mut self, bytes: &[u8]) {
        self.code.extend_from_slice(bytes);
    }

    fn byte(&mut self, byte: u8) {
        self.code.push(byte);
    }

    fn imm32(&mut self, value: i32) {
        self.code.extend_from_slice(&value.to_le_bytes());
    }

    fn distance(&mut self, label: Label) {
        self.fixups.push((self.code.len() as u32, label));
        self.imm32(0);
    }

    fn distance_to(&mut self, target: u64) {
        let distance = target.wrapping_sub(self.here() + 4) as i64;
        self.imm32(i32::try_from(distance).expect("all code is within 2 GiB"));
    }

    /// Prefix, opcode and operands of most instructions. `bytes` has REX even if it is empty, which
    /// byte registers 4 to 7 need.
    fn op(
        &mut self,
        prefix: Option<u8>,
        width: Width,
        opcode: &[u8],
        reg: u8,
        rm: Rm,
        bytes: bool,
    ) {
        if let Some(prefix) = prefix {
            self.byte(prefix);
        }
        let (base, index) = match rm {
            Rm::Reg(reg) => (reg as u8, 0),
            Rm::Mem(mem) => (mem.base as u8, mem.index.map_or(0, |(index, _)| index as u8)),
        };
        let w = u8::from(width == Width::W64);
        let rex = 0x40 | w << 3 | (reg >> 3) << 2 | (index >> 3) << 1 | base >> 3;
        if rex != 0x40 || bytes {
            self.byte(rex);
        }
        self.data(opcode);
        self.modrm(reg & 7, rm);
    }

    fn modrm(&mut self, reg: u8, rm: Rm) {
        let mem = match rm {
            Rm::Reg(rm) => return self.byte(0xc0 | reg << 3 | rm as u8 & 7),
            Rm::Mem(mem) => mem,
        };
        let base = mem.base as u8 & 7;
        // Without a displacement, base 5 means something else.
        let mode = match mem.disp {
            0 if base != 5 => 0,
            -128..=127 => 1,
            _ => 2,
        };
        match mem.index {
            None if base != 4 => self.byte(mode << 6 | reg << 3 | base),
            None => self.data(&[mode << 6 | reg << 3 | 4, 0x24]),
            Some((index, scale)) => {
                self.data(&[mode << 6 | reg << 3 | 4, scale << 6 | (index as u8 & 7) << 3 | base]);
            }
        }
        match mode {
            0 => {}
            1 => self.byte(mem.disp as u8),
            _ => self.imm32(mem.disp),
        }
    }

    /// `mov to, from`.
    pub(crate) fn mov(&mut self, width: Width, to: Reg, from: impl Into<Rm>) {
        self.op(None, width, &[0x8b], to as u8, from.into(), false);
    }

    /// `mov [to], from` of one to eight bytes.
    pub(crate) fn store(&mut self, bytes: u8, to: Mem, from: Reg) {
        let (prefix, width, opcode) = match bytes {
            1 => (None, Width::W32, 0x88),
            2 => (Some(0x66), Width::W32, 0x89),
            4 => (None, Width::W32, 0x89),
            _ => (None, Width::W64, 0x89),
        };
        self.op(prefix, width, &[opcode], from as u8, to.into(), bytes == 1);
    }

    /// Loads, with extension.
    pub(crate) fn load(&mut self, extend: Extend, to: Reg, from: impl Into<Rm>) {
        let (width, opcode): (_, &[u8]) = match extend {
            Extend::S8 => (Width::W64, &[0x0f, 0xbe]),
            Extend::S16 => (Width::W64, &[0x0f, 0xbf]),
            Extend::S32 => (Width::W64, &[0x63]),
            Extend::Z8 => (Width::W32, &[0x0f, 0xb6]),
            Extend::Z16 => (Width::W32, &[0x0f, 0xb7]),
            Extend::Z32 => (Width::W32, &[0x8b]),
            Extend::Full => (Width::W64, &[0x8b]),
        };
        let bytes = matches!(extend, Extend::S8 | Extend::Z8);
        self.op(None, width, opcode, to as u8, from.into(), bytes);
    }

    /// `mov to, value`, in the shortest form.
    pub(crate) fn mov_imm(&mut self, to: Reg, value: u64) {
        if value == 0 {
            self.alu(Alu::Xor, Width::W32, to, to);
        } else if let Ok(value) = u32::try_from(value) {
            if to as u8 >= 8 {
                self.byte(0x41);
            }
            self.byte(0xb8 | to as u8 & 7);
            self.imm32(value as i32);
        } else if let Ok(value) = i32::try_from(value as i64) {
            self.op(None, Width::W64, &[0xc7], 0, to.into(), false);
            self.imm32(value);
        } else {
            self.byte(0x48 | to as u8 >> 3);
            self.byte(0xb8 | to as u8 & 7);
            self.data(&value.to_le_bytes());
        }
    }

    /// `mov qword [to], value`.
    pub(crate) fn store_imm(&mut self, to: Mem, value: i32) {
        self.op(None, Width::W64, &[0xc7], 0, to.into(), false);
        self.imm32(value);
    }

    /// `mov dword [to], value`.
    pub(crate) fn store_imm32(&mut self, to: Mem, value: i32) {
        self.op(None, Width::W32, &[0xc7], 0, to.into(), false);
        self.imm32(value);
    }

    /// `lea to, [from]`.
    pub(crate) fn lea(&mut self, width: Width, to: Reg, from: Mem) {
        self.op(None, width, &[0x8d], to as u8, from.into(), false);
    }

    /// `lea to, [label]`.
    pub(crate) fn lea_label(&mut self, to: Reg, label: Label) {
        self.data(&[0x48 | (to as u8 >> 3) << 2, 0x8d, (to as u8 & 7) << 3 | 5]);
        self.distance(label);
    }

    /// `op to, from`.
    pub(crate) fn alu(&mut self, op: Alu, width: Width, to: Reg, from: impl Into<Rm>) {
        self.op(None, width, &[(op as u8) << 3 | 3], to as u8, from.into(), false);
    }

    /// `op to, value`.
    pub(crate) fn alu_imm(&mut self, op: Alu, width: Width, to: impl Into<Rm>, value: i32) {
        let short = i8::try_from(value);
        let opcode = if short.is_ok() { 0x83 } else { 0x81 };
        self.op(None, width, &[opcode], op as u8, to.into(), false);
        match short {
            Ok(value) => self.byte(value as u8),
            Err(_) => self.imm32(value),
        }
    }

    /// `test at, value` of 32 bits.
    pub(crate) fn test_imm(&mut self, at: impl Into<Rm>, value: i32) {
        self.op(None, Width::W32, &[0xf7], 0, at.into(), false);
        self.imm32(value);
    }

    /// `test reg, reg`.
    pub(crate) fn test(&mut self, width: Width, reg: Reg) {
        self.op(None, width, &[0x85], reg as u8, reg.into(), false);
    }

    /// Shifts by a constant.
    pub(crate) fn shift_imm(&mut self, op: Shift, width: Width, to: Reg, by: u8) {
        self.op(None, width, &[0xc1], op as u8, to.into(), false);
        self.byte(by);
    }

    /// `rorx to, from, by` of 32 bits (BMI2).
    pub(crate) fn rorx(&mut self, to: Reg, from: Reg, by: u8) {
        // VEX.LZ.F2.0F3A.W0 F0; the bits for extended registers are inverted.
        let extended = |reg: Reg, bit: u8| u8::from((reg as u8) < 8) << bit;
        let rxb = extended(to, 7) | 1 << 6 | extended(from, 5);
        self.data(&[0xc4, rxb | 3, 0x7b, 0xf0]);
        self.modrm(to as u8 & 7, from.into());
        self.byte(by);
    }

    /// Shifts by `cl`.
    pub(crate) fn shift_cl(&mut self, op: Shift, width: Width, to: Reg) {
        self.op(None, width, &[0xd3], op as u8, to.into(), false);
    }

    /// `imul to, from`.
    pub(crate) fn imul(&mut self, width: Width, to: Reg, from: impl Into<Rm>) {
        self.op(None, width, &[0x0f, 0xaf], to as u8, from.into(), false);
    }

    /// An operation with one operand.
    pub(crate) fn wide(&mut self, op: Wide, width: Width, by: impl Into<Rm>) {
        self.op(None, width, &[0xf7], op as u8, by.into(), false);
    }

    /// `cdq` or `cqo`: the sign of `rax` into `rdx`.
    pub(crate) fn sign_rdx(&mut self, width: Width) {
        if width == Width::W64 {
            self.byte(0x48);
        }
        self.byte(0x99);
    }

    /// `setcc to; movzx to, to`.
    pub(crate) fn set(&mut self, cond: Cond, to: Reg) {
        self.op(None, Width::W32, &[0x0f, 0x90 | cond as u8], 0, to.into(), true);
        self.load(Extend::Z8, to, to);
    }

    pub(crate) fn jump(&mut self, to: Label) {
        self.byte(0xe9);
        self.distance(to);
    }

    pub(crate) fn jump_if(&mut self, cond: Cond, to: Label) {
        self.data(&[0x0f, 0x80 | cond as u8]);
        self.distance(to);
    }

    /// `jmp address`.
    pub(crate) fn jump_to(&mut self, address: u64) {
        self.byte(0xe9);
        self.distance_to(address);
    }

    /// `jmp [address]`.
    pub(crate) fn jump_through(&mut self, address: u64) {
        self.data(&[0xff, 0x25]);
        self.distance_to(address);
    }

    /// `jmp [mem]` or `jmp reg`.
    pub(crate) fn jump_rm(&mut self, to: impl Into<Rm>) {
        self.op(None, Width::W32, &[0xff], 4, to.into(), false);
    }

    /// `add qword [address], value`.
    pub(crate) fn add_at(&mut self, address: u64, value: i32) {
        self.data(&[0x48, 0x81, 0x05]);
        // The distance counts from behind the value.
        let distance = address.wrapping_sub(self.here() + 8) as i64;
        self.imm32(i32::try_from(distance).expect("all code is within 2 GiB"));
        self.imm32(value);
    }

    /// `call address`.
    pub(crate) fn call_to(&mut self, address: u64) {
        self.byte(0xe8);
        self.distance_to(address);
    }

    pub(crate) fn call(&mut self, to: Label) {
        self.byte(0xe8);
        self.distance(to);
    }

    /// `call [mem]`.
    pub(crate) fn call_rm(&mut self, to: impl Into<Rm>) {
        self.op(None, Width::W32, &[0xff], 2, to.into(), false);
    }

    pub(crate) fn ret(&mut self) {
        self.byte(0xc3);
    }

    pub(crate) fn push(&mut self, reg: Reg) {
        if reg as u8 >= 8 {
            self.byte(0x41);
        }
        self.byte(0x50 | reg as u8 & 7);
    }

    pub(crate) fn pop(&mut self, reg: Reg) {
        if reg as u8 >= 8 {
            self.byte(0x41);
        }
        self.byte(0x58 | reg as u8 & 7);
    }

    /// A scalar instruction of a vector register: `op to, from`, with the mandatory prefix.
    pub(crate) fn scalar(&mut self, prefix: u8, opcode: u8, to: Xmm, from: Mem) {
        self.op(Some(prefix), Width::W32, &[0x0f, opcode], to.0, from.into(), false);
    }

    /// As [`Asm::scalar`], to memory.
    pub(crate) fn scalar_store(&mut self, prefix: u8, opcode: u8, to: Mem, from: Xmm) {
        self.op(Some(prefix), Width::W32, &[0x0f, opcode], from.0, to.into(), false);
    }

    /// As [`Asm::scalar`], with a register of integers or memory of 64 bits.
    pub(crate) fn scalar_wide(&mut self, prefix: u8, width: Width, opcode: u8, to: u8, from: Rm) {
        self.op(Some(prefix), width, &[0x0f, opcode], to, from, false);
    }
}

#[cfg(test)]
mod tests;
