//! F and D: operands, rounding modes and flags around [`crate::softfloat`].

use crate::bus::Bus;
use crate::csr::mstatus;
use crate::hart::Hart;
use crate::op::{Code, Op};
use crate::run::Runner;
use crate::softfloat::{Flags, Rounding, f32 as single, f64 as double};
use crate::trap::{Cause, Exception};

/// What reads as a single where a register holds something else (§21.2, NaN boxing).
const CANONICAL_NAN_32: u32 = 0x7fc0_0000;
const BOX: u64 = 0xffff_ffff_0000_0000;
const SIGN_32: u32 = 1 << 31;
const SIGN_64: u64 = 1 << 63;

/// The instruction is reserved, or floating point is off.
struct Illegal;

impl<B: Bus> Runner<'_, B> {
    /// All floating-point instructions but loads and stores.
    pub(crate) fn float(&mut self, op: Op) -> Result<(), Exception> {
        self.hart.float(op).map_err(|Illegal| Exception::new(Cause::IllegalInstruction, 0))
    }
}

impl Hart {
    fn float(&mut self, op: Op) -> Result<(), Illegal> {
        if self.csr.mstatus & mstatus::FS == 0 {
            return Err(Illegal);
        }
        let mut flags = Flags((self.csr.fcsr & 0x1f) as u8);
        if op.code == Code::FpToInt {
            let value = self.to_integer(op, &mut flags)?;
            self.x[usize::from(op.rd)] = value;
        } else {
            let value = match op.code {
                Code::FpToFp => self.to_float(op, &mut flags)?,
                _ => self.arithmetic(op, &mut flags)?,
            };
            self.f[usize::from(op.rd)] = value;
            self.csr.mstatus |= mstatus::FS;
        }
        let before = self.csr.fcsr;
        self.csr.fcsr |= u64::from(flags.0);
        if self.csr.fcsr != before {
            self.csr.mstatus |= mstatus::FS;
        }
        Ok(())
    }

    fn arithmetic(&self, op: Op, flags: &mut Flags) -> Result<u64, Illegal> {
        use Code::*;
        let rm = self.rounding(op.imm)?;
        let rs3 = (op.imm >> 8) as u8;
        let (a, b, c) = (self.single(op.rs1), self.single(op.rs2), self.single(rs3));
        let (x, y, z) = (self.double(op.rs1), self.double(op.rs2), self.double(rs3));
        Ok(match op.code {
            FaddS => boxed(single::add(a, b, rm, flags)),
            FsubS => boxed(single::sub(a, b, rm, flags)),
            FmulS => boxed(single::mul(a, b, rm, flags)),
            FdivS => boxed(single::div(a, b, rm, flags)),
            FmaddS => boxed(single::fma(a, b, c, rm, flags)),
            FmsubS => boxed(single::fma(a, b, c ^ SIGN_32, rm, flags)),
            FnmsubS => boxed(single::fma(a ^ SIGN_32, b, c, rm, flags)),
            FnmaddS => boxed(single::fma(a ^ SIGN_32, b, c ^ SIGN_32, rm, flags)),
            FaddD => double::add(x, y, rm, flags),
            FsubD => double::sub(x, y, rm, flags),
            FmulD => double::mul(x, y, rm, flags),
            FdivD => double::div(x, y, rm, flags),
            FmaddD => double::fma(x, y, z, rm, flags),
            FmsubD => double::fma(x, y, z ^ SIGN_64, rm, flags),
            FnmsubD => double::fma(x ^ SIGN_64, y, z, rm, flags),
            _ => double::fma(x ^ SIGN_64, y, z ^ SIGN_64, rm, flags),
        })
    }

    /// Instructions of OP-FP with a floating-point result that are not plain arithmetic.
    fn to_float(&self, op: Op, flags: &mut Flags) -> Result<u64, Illegal> {
        let (a, b) = (self.single(op.rs1), self.single(op.rs2));
        let (x, y) = (self.double(op.rs1), self.double(op.rs2));
        let int = self.x[usize::from(op.rs1)];
        let funct3 = op.imm & 7;
        Ok(match op.imm >> 8 {
            0x2c => boxed(single::sqrt(a, self.rounding(op.imm)?, flags)),
            0x2d => double::sqrt(x, self.rounding(op.imm)?, flags),
            0x10 => boxed(a & !SIGN_32 | sign(funct3, a.into(), b.into(), 31) as u32),
            0x11 => x & !SIGN_64 | sign(funct3, x, y, 63),
            0x14 if funct3 == 0 => boxed(single::min(a, b, flags)),
            0x14 => boxed(single::max(a, b, flags)),
            0x15 if funct3 == 0 => double::min(x, y, flags),
            0x15 => double::max(x, y, flags),
            0x20 => boxed(double::to_f32(x, self.rounding(op.imm)?, flags)),
            0x21 => {
                self.rounding(op.imm)?;
                single::to_f64(a, flags)
            }
            0x68 => {
                let rm = self.rounding(op.imm)?;
                boxed(match op.rs2 {
                    0 => single::from_i32(int as i32, rm, flags),
                    1 => single::from_u32(int as u32, rm, flags),
                    2 => single::from_i64(int as i64, rm, flags),
                    _ => single::from_u64(int, rm, flags),
                })
            }
            0x69 => {
                let rm = self.rounding(op.imm)?;
                match op.rs2 {
                    0 => double::from_i32(int as i32, rm, flags),
                    1 => double::from_u32(int as u32, rm, flags),
                    2 => double::from_i64(int as i64, rm, flags),
                    _ => double::from_u64(int, rm, flags),
                }
            }
            0x78 => boxed(int as u32),
            _ => int,
        })
    }

    /// Instructions of OP-FP with an integer result.
    fn to_integer(&self, op: Op, flags: &mut Flags) -> Result<u64, Illegal> {
        let (a, b) = (self.single(op.rs1), self.single(op.rs2));
        let (x, y) = (self.double(op.rs1), self.double(op.rs2));
        Ok(match (op.imm >> 8, op.imm & 7) {
            (0x50, 0) => single::le(a, b, flags).into(),
            (0x50, 1) => single::lt(a, b, flags).into(),
            (0x50, _) => single::eq(a, b, flags).into(),
            (0x51, 0) => double::le(x, y, flags).into(),
            (0x51, 1) => double::lt(x, y, flags).into(),
            (0x51, _) => double::eq(x, y, flags).into(),
            (0x60, _) => {
                let rm = self.rounding(op.imm)?;
                match op.rs2 {
                    0 => single::to_i32(a, rm, flags),
                    1 => single::to_u32(a, rm, flags),
                    2 => single::to_i64(a, rm, flags),
                    _ => single::to_u64(a, rm, flags),
                }
            }
            (0x61, _) => {
                let rm = self.rounding(op.imm)?;
                match op.rs2 {
                    0 => double::to_i32(x, rm, flags),
                    1 => double::to_u32(x, rm, flags),
                    2 => double::to_i64(x, rm, flags),
                    _ => double::to_u64(x, rm, flags),
                }
            }
            // FMV.X.W moves the bits, boxed or not.
            (0x70, 0) => self.f[usize::from(op.rs1)] as i32 as u64,
            (0x70, _) => single::classify(a),
            (_, 0) => x,
            (_, _) => double::classify(x),
        })
    }

    fn single(&self, index: u8) -> u32 {
        let value = self.f[usize::from(index)];
        if value & BOX == BOX { value as u32 } else { CANONICAL_NAN_32 }
    }

    fn double(&self, index: u8) -> u64 {
        self.f[usize::from(index)]
    }

    /// The rounding mode in the low three bits of `imm`, or of `frm` if that says dynamic.
    fn rounding(&self, imm: i32) -> Result<Rounding, Illegal> {
        let rm = match imm as u32 & 7 {
            7 => (self.csr.fcsr >> 5) as u32 & 7,
            rm => rm,
        };
        Rounding::from_bits(rm).ok_or(Illegal)
    }
}

fn boxed(value: u32) -> u64 {
    BOX | u64::from(value)
}

/// The sign bit that FSGNJ, FSGNJN and FSGNJX (`funct3` 0, 1, 2) choose.
fn sign(funct3: i32, a: u64, b: u64, bit: u32) -> u64 {
    let chosen = match funct3 {
        0 => b,
        1 => !b,
        _ => a ^ b,
    };
    chosen & 1 << bit
}
