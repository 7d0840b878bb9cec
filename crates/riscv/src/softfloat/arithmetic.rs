//! Addition, subtraction, multiplication, division, square root and fused multiply-add in integer
//! arithmetic.
//!
//! Each operation settles zeros, infinities and NaNs first, then forms its exact result (or one
//! exact down to a sticky bit) and hands it to the rounding of `format`.

use super::format::{
    Finite, Format, Magnitude, invalid, is_negative, quiet, round, round_wide, shift_right_sticky,
    unpack, with_sign,
};
use super::{Flags, Rounding};

/// `a + b`.
#[inline(never)]
pub(super) fn add<F: Format>(a: u64, b: u64, rounding: Rounding, flags: &mut Flags) -> u64 {
    use Magnitude::{Finite, Infinity, Nan, Zero};
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Finite(x), Finite(y)) => {
            let x = Term::new(is_negative::<F>(a), x);
            sum::<F>(x, Term::new(is_negative::<F>(b), y), rounding, flags)
        }
        (Nan, _) | (_, Nan) => quiet::<F>(&[a, b], flags),
        (Infinity, Infinity) if a != b => invalid::<F>(flags),
        (Zero, Zero) if a != b => zero_of_difference::<F>(rounding),
        (Infinity, _) | (_, Zero) => a,
        (_, Infinity) | (Zero, _) => b,
    }
}

/// `a - b`.
#[inline]
pub(super) fn sub<F: Format>(a: u64, b: u64, rounding: Rounding, flags: &mut Flags) -> u64 {
    // A NaN whose sign is flipped is still the same kind of NaN, and its sign never shows.
    add::<F>(a, b ^ F::SIGN, rounding, flags)
}

/// `a * b`.
#[inline(never)]
pub(super) fn mul<F: Format>(a: u64, b: u64, rounding: Rounding, flags: &mut Flags) -> u64 {
    use Magnitude::{Finite, Infinity, Nan, Zero};
    let negative = is_negative::<F>(a ^ b);
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Finite(x), Finite(y)) => {
            let (scale, product) = product(x, y);
            round_wide::<F>(negative, scale, product, rounding, flags)
        }
        (Nan, _) | (_, Nan) => quiet::<F>(&[a, b], flags),
        (Infinity, Zero) | (Zero, Infinity) => invalid::<F>(flags),
        (Infinity, _) | (_, Infinity) => with_sign::<F>(negative, F::INFINITY),
        (Zero, _) | (_, Zero) => with_sign::<F>(negative, 0),
    }
}

/// `a / b`.
#[inline(never)]
pub(super) fn div<F: Format>(a: u64, b: u64, rounding: Rounding, flags: &mut Flags) -> u64 {
    use Magnitude::{Finite, Infinity, Nan, Zero};
    let negative = is_negative::<F>(a ^ b);
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Finite(x), Finite(y)) => {
            // Both significands have bit 63 set, so the quotient lies in (2^62, 2^64): at least 63
            // bits, and the remainder becomes a sticky bit far below the last one kept.
            let dividend = u128::from(x.significand) << 63;
            let divisor = u128::from(y.significand);
            let quotient = dividend / divisor;
            let significand = quotient | u128::from(quotient * divisor != dividend);
            let scale = x.exponent - y.exponent - 63;
            round_wide::<F>(negative, scale, significand, rounding, flags)
        }
        (Nan, _) | (_, Nan) => quiet::<F>(&[a, b], flags),
        (Infinity, Infinity) | (Zero, Zero) => invalid::<F>(flags),
        (Finite(_), Zero) => {
            flags.raise(Flags::DZ);
            with_sign::<F>(negative, F::INFINITY)
        }
        (Infinity, _) => with_sign::<F>(negative, F::INFINITY),
        (Zero, _) | (_, Infinity) => with_sign::<F>(negative, 0),
    }
}

/// The square root of `a`.
#[inline(never)]
pub(super) fn sqrt<F: Format>(a: u64, rounding: Rounding, flags: &mut Flags) -> u64 {
    match unpack::<F>(a) {
        Magnitude::Nan => quiet::<F>(&[a], flags),
        // The root of negative zero is negative zero.
        Magnitude::Zero => a,
        _ if is_negative::<F>(a) => invalid::<F>(flags),
        Magnitude::Infinity => a,
        Magnitude::Finite(x) => {
            // Make the exponent even by moving one bit of it into the radicand, which then lies
            // in [2^126, 2^128): its integer root has exactly 64 bits.
            let odd = x.exponent & 1;
            let radicand = u128::from(x.significand) << (63 + odd);
            let root = radicand.isqrt();
            let sticky = u64::from(root * root != radicand);
            let number =
                Finite { exponent: (x.exponent - odd) / 2, significand: root as u64 | sticky };
            round::<F>(false, number, rounding, flags)
        }
    }
}

/// `a * b + c`, rounded once.
#[inline(never)]
pub(super) fn fma<F: Format>(a: u64, b: u64, c: u64, rounding: Rounding, flags: &mut Flags) -> u64 {
    use Magnitude::{Finite, Infinity, Nan, Zero};
    let negative = is_negative::<F>(a ^ b);
    match (unpack::<F>(a), unpack::<F>(b), unpack::<F>(c)) {
        (Finite(x), Finite(y), Finite(z)) => {
            let (scale, significand) = product(x, y);
            // A product has at most 106 significant bits at its top, so its lowest bit is zero:
            // dropping it makes room for the carry of the sum.
            let product = Term { negative, scale: scale + 1, significand: significand >> 1 };
            sum::<F>(product, Term::new(is_negative::<F>(c), z), rounding, flags)
        }
        (Finite(x), Finite(y), Zero) => {
            let (scale, product) = product(x, y);
            round_wide::<F>(negative, scale, product, rounding, flags)
        }
        // RISC-V raises NV for infinity times zero even when a quiet NaN is added.
        (Infinity, Zero, _) | (Zero, Infinity, _) => invalid::<F>(flags),
        (Nan, _, _) | (_, Nan, _) | (_, _, Nan) => quiet::<F>(&[a, b, c], flags),
        (Infinity, _, Infinity) | (_, Infinity, Infinity) if negative != is_negative::<F>(c) => {
            invalid::<F>(flags)
        }
        (_, _, Infinity) => c,
        (Infinity, _, _) | (_, Infinity, _) => with_sign::<F>(negative, F::INFINITY),
        (Zero, _, Zero) | (_, Zero, Zero) if negative != is_negative::<F>(c) => {
            zero_of_difference::<F>(rounding)
        }
        (Zero, _, _) | (_, Zero, _) => c,
    }
}

/// The exact product as (scale, significand): `significand * 2^scale`, in [2^126, 2^128).
#[inline]
fn product(x: Finite, y: Finite) -> (i32, u128) {
    let significand = u128::from(x.significand) * u128::from(y.significand);
    (x.exponent + y.exponent - 126, significand)
}

/// A term of a sum: `significand * 2^scale`, the significand in [2^125, 2^127).
#[derive(Clone, Copy)]
struct Term {
    negative: bool,
    scale: i32,
    significand: u128,
}

impl Term {
    #[inline]
    fn new(negative: bool, number: Finite) -> Self {
        let significand = u128::from(number.significand) << 62;
        Self { negative, scale: number.exponent - 125, significand }
    }
}

/// The rounded sum of two terms.
///
/// The term of smaller scale is shifted right to the other's, sticky. Bits are lost only if it is
/// shifted by more than the 21 zero bits at the end of a product, so that it is below 2^106 and
/// the sum above 2^124: the sticky bit stays far below the last bit kept.
#[inline]
fn sum<F: Format>(x: Term, y: Term, rounding: Rounding, flags: &mut Flags) -> u64 {
    let (large, small) = if x.scale >= y.scale { (x, y) } else { (y, x) };
    let shifted = shift_right_sticky(small.significand, (large.scale - small.scale) as u32);
    if large.negative == small.negative {
        let total = large.significand + shifted;
        return round_wide::<F>(large.negative, large.scale, total, rounding, flags);
    }
    if large.significand == shifted {
        return zero_of_difference::<F>(rounding);
    }
    let negative = large.negative == (large.significand > shifted);
    let difference = large.significand.abs_diff(shifted);
    round_wide::<F>(negative, large.scale, difference, rounding, flags)
}

/// The sum of two numbers that cancel exactly (IEEE 754-2019 §6.3).
#[inline]
fn zero_of_difference<F: Format>(rounding: Rounding) -> u64 {
    with_sign::<F>(rounding == Rounding::Down, 0)
}
