//! The binary interchange formats: taking encodings apart, rounding, putting them together.
//!
//! Owns the one place where a result is rounded and where NX, UF and OF are decided. Encodings of
//! either width travel as `u64` (binary32 zero-extended). Knows nothing of single operations.

use super::{Flags, Rounding};

/// A binary interchange format of IEEE 754-2019 §3.4.
pub(super) trait Format {
    /// Bits of an encoding.
    const WIDTH: u32;
    /// Bits of a significand, the implicit leading bit included.
    const PRECISION: u32;

    /// Bits of the fraction field.
    const FRACTION_BITS: u32 = Self::PRECISION - 1;
    /// The fraction field.
    const FRACTION: u64 = (1 << Self::FRACTION_BITS) - 1;
    /// What is added to an exponent to store it; also the largest exponent of a finite number.
    const BIAS: i32 = (1 << (Self::WIDTH - Self::PRECISION - 1)) - 1;
    /// The smallest exponent of a normal number.
    const MIN_EXPONENT: i32 = 1 - Self::BIAS;
    /// The exponent field of infinities and NaNs.
    const SPECIAL_FIELD: u64 = 2 * Self::BIAS as u64 + 1;
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::WIDTH - 1);
    /// Positive infinity.
    const INFINITY: u64 = Self::SPECIAL_FIELD << Self::FRACTION_BITS;
    /// The bit that tells quiet NaNs from signalling ones.
    const QUIET: u64 = 1 << (Self::FRACTION_BITS - 1);
    /// The canonical NaN (RISC-V unprivileged ISA, "NaN Generation and Propagation").
    const NAN: u64 = Self::INFINITY | Self::QUIET;
}

/// binary32.
pub(super) struct Single;
/// binary64.
pub(super) struct Double;

impl Format for Single {
    const WIDTH: u32 = 32;
    const PRECISION: u32 = 24;
}

impl Format for Double {
    const WIDTH: u32 = 64;
    const PRECISION: u32 = 53;
}

/// The magnitude of a finite number other than zero: `significand * 2^(exponent - 63)`, where bit
/// 63 of the significand is set.
#[derive(Clone, Copy)]
pub(super) struct Finite {
    pub(super) exponent: i32,
    pub(super) significand: u64,
}

/// What an encoding stands for, its sign aside.
#[derive(Clone, Copy)]
pub(super) enum Magnitude {
    Zero,
    Finite(Finite),
    Infinity,
    Nan,
}

/// Takes an encoding apart.
#[inline]
pub(super) fn unpack<F: Format>(bits: u64) -> Magnitude {
    let field = exponent_field::<F>(bits);
    let fraction = bits & F::FRACTION;
    if field == F::SPECIAL_FIELD {
        return if fraction == 0 { Magnitude::Infinity } else { Magnitude::Nan };
    }
    if field != 0 {
        let significand = (fraction | (1 << F::FRACTION_BITS)) << (63 - F::FRACTION_BITS);
        return Magnitude::Finite(Finite { exponent: field as i32 - F::BIAS, significand });
    }
    if fraction == 0 {
        return Magnitude::Zero;
    }
    let shift = fraction.leading_zeros();
    let lowest_bit = F::MIN_EXPONENT - F::FRACTION_BITS as i32;
    Magnitude::Finite(Finite {
        exponent: lowest_bit + 63 - shift as i32,
        significand: fraction << shift,
    })
}

/// The biased exponent of an encoding.
#[inline]
pub(super) fn exponent_field<F: Format>(bits: u64) -> u64 {
    (bits >> F::FRACTION_BITS) & F::SPECIAL_FIELD
}

/// Whether the sign bit is set.
#[inline]
pub(super) fn is_negative<F: Format>(bits: u64) -> bool {
    bits & F::SIGN != 0
}

/// Whether an encoding is a NaN of either kind.
#[inline]
pub(super) fn is_nan<F: Format>(bits: u64) -> bool {
    bits & !F::SIGN > F::INFINITY
}

/// Whether an encoding is a signalling NaN.
#[inline]
pub(super) fn is_signalling<F: Format>(bits: u64) -> bool {
    is_nan::<F>(bits) && bits & F::QUIET == 0
}

/// `bits` (a magnitude) with the given sign.
#[inline]
pub(super) fn with_sign<F: Format>(negative: bool, bits: u64) -> u64 {
    bits | if negative { F::SIGN } else { 0 }
}

/// The result of an invalid operation.
#[inline]
pub(super) fn invalid<F: Format>(flags: &mut Flags) -> u64 {
    flags.raise(Flags::NV);
    F::NAN
}

/// The result of an operation with a NaN among its operands: payloads are never propagated.
#[inline]
pub(super) fn quiet<F: Format>(operands: &[u64], flags: &mut Flags) -> u64 {
    if operands.iter().any(|&bits| is_signalling::<F>(bits)) {
        flags.raise(Flags::NV);
    }
    F::NAN
}

/// `value >> count`, with the lowest bit set if any bit shifted out was: all that rounding needs
/// to know of them, as long as at least two more bits will be dropped.
#[inline]
pub(super) fn shift_right_sticky(value: u128, count: u32) -> u128 {
    match count {
        0 => value,
        1..128 => (value >> count) | u128::from(value << (128 - count) != 0),
        _ => u128::from(value != 0),
    }
}

/// Whether a number whose kept part is followed by the fraction `rest / 2^64` is rounded away from
/// zero.
#[inline]
pub(super) fn rounds_up(rounding: Rounding, negative: bool, odd: bool, rest: u64) -> bool {
    const HALF: u64 = 1 << 63;
    match rounding {
        Rounding::NearestEven => rest > HALF || (rest == HALF && odd),
        Rounding::TowardZero => false,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
        Rounding::NearestMaxMagnitude => rest >= HALF,
    }
}

/// Rounds the exact value `significand * 2^scale`, whose significand is not zero and may be sticky
/// in its lowest bit.
#[inline]
pub(super) fn round_wide<F: Format>(
    negative: bool,
    scale: i32,
    significand: u128,
    rounding: Rounding,
    flags: &mut Flags,
) -> u64 {
    let shift = significand.leading_zeros();
    let normalised = significand << shift;
    let number = Finite {
        exponent: scale + 127 - shift as i32,
        significand: (normalised >> 64) as u64 | u64::from(normalised as u64 != 0),
    };
    round::<F>(negative, number, rounding, flags)
}

/// Rounds a number, whose significand may be sticky in its lowest bit, to an encoding and raises
/// NX, UF and OF as due.
#[inline]
pub(super) fn round<F: Format>(
    negative: bool,
    number: Finite,
    rounding: Rounding,
    flags: &mut Flags,
) -> u64 {
    debug_assert!(number.significand >> 63 == 1, "a significand must be normalised");
    if number.exponent < F::MIN_EXPONENT {
        return round_subnormal::<F>(negative, number, rounding, flags);
    }
    let (kept, inexact) = round_significand::<F>(negative, number.significand, rounding);
    // The leading bit of `kept` adds the one that is missing in the exponent field, and a carry
    // out of the significand leaves a zero fraction and the next exponent, as it should.
    let field = (number.exponent - F::MIN_EXPONENT) as u64;
    let bits = (field << F::FRACTION_BITS) + kept;
    if bits >= F::INFINITY {
        return overflow::<F>(negative, rounding, flags);
    }
    if inexact {
        flags.raise(Flags::NX);
    }
    with_sign::<F>(negative, bits)
}

/// The upper `PRECISION` bits of a significand, rounded (up to `2^PRECISION`), and whether
/// anything was lost.
#[inline]
fn round_significand<F: Format>(
    negative: bool,
    significand: u64,
    rounding: Rounding,
) -> (u64, bool) {
    let kept = significand >> (64 - F::PRECISION);
    let rest = significand << F::PRECISION;
    (kept + u64::from(rounds_up(rounding, negative, kept & 1 != 0, rest)), rest != 0)
}

#[cold]
fn round_subnormal<F: Format>(
    negative: bool,
    number: Finite,
    rounding: Rounding,
    flags: &mut Flags,
) -> u64 {
    let deficit = F::MIN_EXPONENT - number.exponent;
    assert!(deficit > 0, "a normal number must not be denormalised");
    // Tininess is detected after rounding (RISC-V F extension, "Subnormal Arithmetic"): a number
    // is tiny unless rounding it with an unbounded exponent carries to the smallest normal one.
    let (unbounded, _) = round_significand::<F>(negative, number.significand, rounding);
    let tiny = deficit > 1 || unbounded >> F::PRECISION == 0;
    let significand = shift_right_sticky(u128::from(number.significand), deficit as u32) as u64;
    let (bits, inexact) = round_significand::<F>(negative, significand, rounding);
    if inexact {
        flags.raise(if tiny { Flags::UF | Flags::NX } else { Flags::NX });
    }
    with_sign::<F>(negative, bits)
}

#[cold]
fn overflow<F: Format>(negative: bool, rounding: Rounding, flags: &mut Flags) -> u64 {
    flags.raise(Flags::OF | Flags::NX);
    let to_infinity = match rounding {
        Rounding::NearestEven | Rounding::NearestMaxMagnitude => true,
        Rounding::TowardZero => false,
        Rounding::Down => negative,
        Rounding::Up => !negative,
    };
    // The encoding below infinity is the largest finite number.
    with_sign::<F>(negative, F::INFINITY - u64::from(!to_infinity))
}
