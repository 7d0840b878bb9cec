//! Encodings of the instructions that test programs use, by name. Registers are numbers.
//!
//! The tests of `machine` include this file as well, so that it stays out of the public interface.
#![expect(dead_code, reason = "each of the crates that share this uses a part of it")]

/// `x0`, `ra`, `sp` and the registers that test programs use most.
pub(crate) const ZERO: u32 = 0;
pub(crate) const RA: u32 = 1;
pub(crate) const T0: u32 = 5;
pub(crate) const T1: u32 = 6;
pub(crate) const T2: u32 = 7;
pub(crate) const A0: u32 = 10;
pub(crate) const A1: u32 = 11;
pub(crate) const A2: u32 = 12;
pub(crate) const A6: u32 = 16;
pub(crate) const A7: u32 = 17;
pub(crate) const S2: u32 = 18;
pub(crate) const S3: u32 = 19;

pub(crate) const NOP: u32 = 0x0000_0013;
pub(crate) const ECALL: u32 = 0x0000_0073;
pub(crate) const EBREAK: u32 = 0x0010_0073;
pub(crate) const SRET: u32 = 0x1020_0073;
pub(crate) const MRET: u32 = 0x3020_0073;
pub(crate) const WFI: u32 = 0x1050_0073;
pub(crate) const FENCE_I: u32 = 0x0000_100f;
pub(crate) const SFENCE_VMA: u32 = 0x1200_0073;
pub(crate) const PAUSE: u32 = 0x0100_000f;
/// `j .`
pub(crate) const SPIN: u32 = 0x0000_006f;
/// `c.nop`
pub(crate) const C_NOP: u16 = 0x0001;

fn r_type(opcode: u32, funct3: u32, funct7: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    opcode | rd << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | funct7 << 25
}

fn i_type(opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    assert!((-2048..2048).contains(&imm), "immediate {imm}");
    opcode | rd << 7 | funct3 << 12 | rs1 << 15 | (imm as u32) << 20
}

fn s_type(opcode: u32, funct3: u32, rs1: u32, rs2: u32, imm: i32) -> u32 {
    assert!((-2048..2048).contains(&imm), "immediate {imm}");
    let imm = imm as u32;
    opcode | (imm & 31) << 7 | funct3 << 12 | rs1 << 15 | rs2 << 20 | (imm >> 5 & 0x7f) << 25
}

fn b_type(funct3: u32, rs1: u32, rs2: u32, offset: i32) -> u32 {
    assert!((-4096..4096).contains(&offset) && offset & 1 == 0, "branch by {offset}");
    let o = offset as u32;
    let low = (o >> 11 & 1) << 7 | (o >> 1 & 15) << 8;
    let high = (o >> 5 & 0x3f) << 25 | (o >> 12 & 1) << 31;
    0x63 | low | funct3 << 12 | rs1 << 15 | rs2 << 20 | high
}

pub(crate) fn jal(rd: u32, offset: i32) -> u32 {
    let o = offset as u32;
    let imm = (o >> 12 & 0xff) << 12 | (o >> 11 & 1) << 20 | (o >> 1 & 0x3ff) << 21;
    0x6f | rd << 7 | imm | (o >> 20 & 1) << 31
}

pub(crate) fn jalr(rd: u32, rs1: u32, offset: i32) -> u32 {
    i_type(0x67, 0, rd, rs1, offset)
}

pub(crate) fn beq(rs1: u32, rs2: u32, offset: i32) -> u32 {
    b_type(0, rs1, rs2, offset)
}

pub(crate) fn bne(rs1: u32, rs2: u32, offset: i32) -> u32 {
    b_type(1, rs1, rs2, offset)
}

/// `imm` is the whole value, of which the upper 20 bits count.
pub(crate) fn lui(rd: u32, imm: i32) -> u32 {
    0x37 | rd << 7 | imm as u32 & 0xffff_f000
}

pub(crate) fn auipc(rd: u32, imm: i32) -> u32 {
    0x17 | rd << 7 | imm as u32 & 0xffff_f000
}

pub(crate) fn addi(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x13, 0, rd, rs1, imm)
}

pub(crate) fn slli(rd: u32, rs1: u32, shamt: i32) -> u32 {
    i_type(0x13, 1, rd, rs1, shamt)
}

pub(crate) fn addiw(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x1b, 0, rd, rs1, imm)
}

pub(crate) fn add(rd: u32, rs1: u32, rs2: u32) -> u32 {
    r_type(0x33, 0, 0, rd, rs1, rs2)
}

/// A load of `1 << log2_size` bytes, sign-extended.
pub(crate) fn load(log2_size: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x03, log2_size, rd, rs1, imm)
}

/// A store of `1 << log2_size` bytes.
pub(crate) fn store(log2_size: u32, rs2: u32, rs1: u32, imm: i32) -> u32 {
    s_type(0x23, log2_size, rs1, rs2, imm)
}

pub(crate) fn ld(rd: u32, rs1: u32, imm: i32) -> u32 {
    load(3, rd, rs1, imm)
}

pub(crate) fn sw(rs2: u32, rs1: u32, imm: i32) -> u32 {
    store(2, rs2, rs1, imm)
}

pub(crate) fn sd(rs2: u32, rs1: u32, imm: i32) -> u32 {
    store(3, rs2, rs1, imm)
}

/// LR of `1 << log2_size` bytes.
pub(crate) fn lr(log2_size: u32, rd: u32, rs1: u32) -> u32 {
    r_type(0x2f, log2_size, 0x02 << 2, rd, rs1, 0)
}

/// SC of `1 << log2_size` bytes.
pub(crate) fn sc(log2_size: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    r_type(0x2f, log2_size, 0x03 << 2, rd, rs1, rs2)
}

/// AMOADD of `1 << log2_size` bytes.
pub(crate) fn amoadd(log2_size: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    r_type(0x2f, log2_size, 0, rd, rs1, rs2)
}

pub(crate) fn csrrw(rd: u32, csr: u16, rs1: u32) -> u32 {
    r_type(0x73, 1, 0, rd, rs1, 0) | u32::from(csr) << 20
}

pub(crate) fn csrrs(rd: u32, csr: u16, rs1: u32) -> u32 {
    r_type(0x73, 2, 0, rd, rs1, 0) | u32::from(csr) << 20
}

pub(crate) fn csrrc(rd: u32, csr: u16, rs1: u32) -> u32 {
    r_type(0x73, 3, 0, rd, rs1, 0) | u32::from(csr) << 20
}

pub(crate) fn cbo(kind: u32, rs1: u32) -> u32 {
    r_type(0x0f, 2, 0, 0, rs1, 0) | kind << 20
}

pub(crate) fn flw(rd: u32, rs1: u32, imm: i32) -> u32 {
    i_type(0x07, 2, rd, rs1, imm)
}

pub(crate) fn fsw(rs2: u32, rs1: u32, imm: i32) -> u32 {
    s_type(0x27, 2, rs1, rs2, imm)
}

/// OP-FP with `funct7`, `rs2` and rounding mode as given.
pub(crate) fn op_fp(funct7: u32, rm: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    r_type(0x53, rm, funct7, rd, rs1, rs2)
}

/// Loads any constant.
pub(crate) fn li(rd: u32, value: u64) -> Vec<u32> {
    let value = value as i64;
    let low = (value << 52 >> 52) as i32;
    if value == i64::from(low) {
        return vec![addi(rd, ZERO, low)];
    }
    if let Ok(word) = i32::try_from(value) {
        return vec![lui(rd, word.wrapping_sub(low)), addiw(rd, rd, low)];
    }
    let mut code = li(rd, (value.wrapping_sub(i64::from(low)) >> 12) as u64);
    code.extend([slli(rd, rd, 12), addi(rd, rd, low)]);
    code
}

/// The bytes of a program.
pub(crate) fn bytes(program: &[u32]) -> Vec<u8> {
    program.iter().flat_map(|word| word.to_le_bytes()).collect()
}
