//! Integer instructions that are too rare or too long for the interpreter's own match: the rest of
//! M, and Zba, Zbb, Zbs.

use crate::op::Code;

/// The low 32 bits, sign-extended.
#[inline(always)]
pub(crate) fn sext(value: u64) -> u64 {
    value as i32 as i64 as u64
}

/// The upper half of the unsigned product.
#[inline(always)]
pub(crate) fn mulhu(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

/// The result of an integer instruction that the interpreter's match leaves to this one; `None` of
/// any other instruction.
#[inline(never)]
pub(crate) fn compute(code: Code, a: u64, b: u64, imm: i32) -> Option<u64> {
    use Code::*;
    let (aw, bw) = (a as u32, b as u32);
    let bit = |index: u64| 1u64 << (index & 63);
    Some(match code {
        Mulh => ((i128::from(a as i64) * i128::from(b as i64)) >> 64) as u64,
        Mulhsu => ((i128::from(a as i64) * i128::from(b)) >> 64) as u64,
        // Division by zero and overflow give what the Unprivileged ISA's table 12 says.
        Div if b == 0 => u64::MAX,
        Div => (a as i64).wrapping_div(b as i64) as u64,
        Divu => a.checked_div(b).unwrap_or(u64::MAX),
        Rem if b == 0 => a,
        Rem => (a as i64).wrapping_rem(b as i64) as u64,
        Remu => a.checked_rem(b).unwrap_or(a),
        Divw if bw == 0 => u64::MAX,
        Divw => (aw as i32).wrapping_div(bw as i32) as u64,
        Divuw => sext(u64::from(aw.checked_div(bw).unwrap_or(u32::MAX))),
        Remw if bw == 0 => sext(a),
        Remw => (aw as i32).wrapping_rem(bw as i32) as u64,
        Remuw => sext(u64::from(aw.checked_rem(bw).unwrap_or(aw))),
        Sh1addUw => (u64::from(aw) << 1).wrapping_add(b),
        Sh2addUw => (u64::from(aw) << 2).wrapping_add(b),
        Sh3addUw => (u64::from(aw) << 3).wrapping_add(b),
        SlliUw => u64::from(aw) << (imm & 63),
        Orn => a | !b,
        Xnor => !(a ^ b),
        Clz => u64::from(a.leading_zeros()),
        Ctz => u64::from(a.trailing_zeros()),
        Cpop => u64::from(a.count_ones()),
        Clzw => u64::from(aw.leading_zeros()),
        Ctzw => u64::from(aw.trailing_zeros()),
        Cpopw => u64::from(aw.count_ones()),
        Max => (a as i64).max(b as i64) as u64,
        Maxu => a.max(b),
        Min => (a as i64).min(b as i64) as u64,
        Minu => a.min(b),
        SextB => a as i8 as i64 as u64,
        SextH => a as i16 as i64 as u64,
        ZextH => u64::from(a as u16),
        Rol => a.rotate_left(b as u32 & 63),
        Ror => a.rotate_right(b as u32 & 63),
        Rolw => sext(u64::from(aw.rotate_left(bw & 31))),
        Rorw => sext(u64::from(aw.rotate_right(bw & 31))),
        OrcB => u64::from_le_bytes(a.to_le_bytes().map(|byte| if byte == 0 { 0 } else { 0xff })),
        Rev8 => a.swap_bytes(),
        Bset => a | bit(b),
        Bclr => a & !bit(b),
        Binv => a ^ bit(b),
        Bext => a >> (b & 63) & 1,
        Bseti => a | bit(imm as u64),
        Bclri => a & !bit(imm as u64),
        Binvi => a ^ bit(imm as u64),
        Bexti => a >> (imm & 63) & 1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corner_cases() {
        let check = |code, a: i64, b: i64, result: i64| {
            assert_eq!(
                compute(code, a as u64, b as u64, 0),
                Some(result as u64),
                "{code:?} {a} {b}"
            );
        };
        check(Code::Div, 7, 0, -1);
        check(Code::Div, i64::MIN, -1, i64::MIN);
        check(Code::Rem, i64::MIN, -1, 0);
        check(Code::Rem, 7, 0, 7);
        check(Code::Divu, 7, 0, -1);
        check(Code::Remu, 7, 0, 7);
        check(Code::Divw, i64::from(i32::MIN), -1, i64::from(i32::MIN));
        check(Code::Divw, 5, 1 << 32, -1);
        check(Code::Divuw, 5, 0, -1);
        check(Code::Remw, -5, 0, -5);
        check(Code::Remuw, 0x8000_0000, 0, i64::from(i32::MIN));
        check(Code::Mulhsu, -1, -1, -1);
        check(Code::Mulh, -1, -1, 0);
        check(Code::Clz, 0, 0, 64);
        check(Code::Ctzw, 0, 0, 32);
        check(Code::OrcB, 0x0100_0000_0000_1000, 0, 0xff_u64.rotate_left(56) as i64 | 0xff00);
        check(Code::Bext, 4, 2, 1);
        check(Code::Rolw, 0x4000_0000, 1, i64::from(i32::MIN));
    }
}
