//! Conversion between the formats and from and to integers.

use super::format::{
    Finite, Format, Magnitude, is_negative, quiet, round, rounds_up, shift_right_sticky, unpack,
    with_sign,
};
use super::{Flags, Rounding};

/// The integers a conversion can give: `-negative ..= positive`.
#[derive(Clone, Copy)]
pub(super) struct Range {
    negative: u64,
    positive: u64,
}

impl Range {
    pub(super) const I32: Self = Self { negative: 1 << 31, positive: i32::MAX as u64 };
    pub(super) const U32: Self = Self { negative: 0, positive: u32::MAX as u64 };
    pub(super) const I64: Self = Self { negative: 1 << 63, positive: i64::MAX as u64 };
    pub(super) const U64: Self = Self { negative: 0, positive: u64::MAX };
}

/// `a` rounded to an integer, in two's complement. What is out of range saturates and raises NV
/// alone; NaNs count as positive infinity (RISC-V, "Domains of float-to-integer conversions").
#[inline]
pub(super) fn to_integer<F: Format>(
    a: u64,
    range: Range,
    rounding: Rounding,
    flags: &mut Flags,
) -> u64 {
    let negative = is_negative::<F>(a);
    let limit = if negative { range.negative } else { range.positive };
    let saturated = match unpack::<F>(a) {
        Magnitude::Zero => return 0,
        Magnitude::Nan => range.positive,
        Magnitude::Finite(number) if number.exponent < 64 => {
            // 64 bits of integer and 64 of fraction, the lowest one sticky.
            let fixed = u128::from(number.significand) << 64;
            let fixed = shift_right_sticky(fixed, (63 - number.exponent) as u32);
            let (whole, rest) = (fixed >> 64, fixed as u64);
            let up = rounds_up(rounding, negative, whole & 1 != 0, rest);
            let magnitude = whole + u128::from(up);
            if magnitude <= u128::from(limit) {
                if rest != 0 {
                    flags.raise(Flags::NX);
                }
                return signed(negative, magnitude as u64);
            }
            signed(negative, limit)
        }
        Magnitude::Finite(_) | Magnitude::Infinity => signed(negative, limit),
    };
    flags.raise(Flags::NV);
    saturated
}

#[inline]
fn signed(negative: bool, magnitude: u64) -> u64 {
    if negative { magnitude.wrapping_neg() } else { magnitude }
}

/// An integer given as sign and magnitude.
#[inline]
pub(super) fn from_integer<F: Format>(
    negative: bool,
    magnitude: u64,
    rounding: Rounding,
    flags: &mut Flags,
) -> u64 {
    if magnitude == 0 {
        return 0;
    }
    let shift = magnitude.leading_zeros();
    let number = Finite { exponent: 63 - shift as i32, significand: magnitude << shift };
    round::<F>(negative, number, rounding, flags)
}

/// `a` of format `F` in format `G`.
#[inline]
pub(super) fn to_format<F: Format, G: Format>(
    a: u64,
    rounding: Rounding,
    flags: &mut Flags,
) -> u64 {
    let negative = is_negative::<F>(a);
    match unpack::<F>(a) {
        Magnitude::Finite(number) => round::<G>(negative, number, rounding, flags),
        Magnitude::Zero => with_sign::<G>(negative, 0),
        Magnitude::Infinity => with_sign::<G>(negative, G::INFINITY),
        Magnitude::Nan => {
            quiet::<F>(&[a], flags);
            G::NAN
        }
    }
}
