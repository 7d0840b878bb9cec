//! Expected results from `rustc_apfloat`, an independent implementation of IEEE 754.
//!
//! Its flags are not RISC-V's: it decides underflow from the rounded encoding and raises no
//! overflow when rounding stops at the largest number. So OF and UF are taken from a second run
//! in a format of the same precision whose exponent is never at its limits.

use rustc_apfloat::ieee::{self, IeeeFloat, Semantics};
use rustc_apfloat::{Float, FloatConvert, Round, Status, StatusAnd};

use crate::softfloat::format::{Double, Format, Single, is_nan, is_negative, is_signalling};
use crate::softfloat::{Flags, Rounding};

/// An operation of two or, for `Fma`, three operands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Operation {
    Add,
    Sub,
    Mul,
    Div,
    Fma,
}

/// The precision of binary32 with 15 bits of exponent.
pub(super) struct WideSingle;
/// The precision of binary64 with 15 bits of exponent.
pub(super) struct WideDouble;

impl Semantics for WideSingle {
    const BITS: usize = 1 + 15 + 23;
    const EXP_BITS: usize = 15;
}

impl Semantics for WideDouble {
    const BITS: usize = 1 + 15 + 52;
    const EXP_BITS: usize = 15;
}

/// A format with its types in the oracle.
pub(super) trait Reference: Format {
    type Exact: Float + FloatConvert<Self::Wide>;
    type Wide: Float;
}

impl Reference for Single {
    type Exact = ieee::Single;
    type Wide = IeeeFloat<WideSingle>;
}

impl Reference for Double {
    type Exact = ieee::Double;
    type Wide = IeeeFloat<WideDouble>;
}

fn round_of(rounding: Rounding) -> Round {
    match rounding {
        Rounding::NearestEven => Round::NearestTiesToEven,
        Rounding::TowardZero => Round::TowardZero,
        Rounding::Down => Round::TowardNegative,
        Rounding::Up => Round::TowardPositive,
        Rounding::NearestMaxMagnitude => Round::NearestTiesToAway,
    }
}

/// Result and flags of an arithmetic operation.
pub(super) fn arithmetic<F: Reference>(
    operation: Operation,
    operands: [u64; 3],
    rounding: Rounding,
) -> (u64, u8) {
    let used = if operation == Operation::Fma { &operands[..] } else { &operands[..2] };
    if used.iter().any(|&bits| is_nan::<F>(bits)) {
        let signalling = used.iter().any(|&bits| is_signalling::<F>(bits));
        let [a, b] = [operands[0] & !F::SIGN, operands[1] & !F::SIGN];
        let undefined = operation == Operation::Fma
            && ((a == F::INFINITY && b == 0) || (a == 0 && b == F::INFINITY));
        return (F::NAN, if signalling || undefined { Flags::NV } else { 0 });
    }
    let exact = operands.map(|bits| F::Exact::from_bits(u128::from(bits)));
    let wide = exact.map(|number| number.convert(&mut false).value);
    let round = round_of(rounding);
    expected::<F>(apply(operation, exact, round), apply(operation, wide, round).value)
}

fn apply<T: Float>(operation: Operation, [a, b, c]: [T; 3], round: Round) -> StatusAnd<T> {
    match operation {
        Operation::Add => a.add_r(b, round),
        Operation::Sub => a.sub_r(b, round),
        Operation::Mul => a.mul_r(b, round),
        Operation::Div => a.div_r(b, round),
        Operation::Fma => a.mul_add_r(b, c, round),
    }
}

fn expected<F: Reference>(result: StatusAnd<F::Exact>, wide: F::Wide) -> (u64, u8) {
    let mut flags = Flags::default();
    for (status, flag) in [
        (Status::INVALID_OP, Flags::NV),
        (Status::DIV_BY_ZERO, Flags::DZ),
        (Status::INEXACT, Flags::NX),
    ] {
        if result.status.contains(status) {
            flags.raise(flag);
        }
    }
    if wide.is_finite_non_zero() {
        if wide.ilogb() > F::BIAS {
            flags.raise(Flags::OF);
        }
        if wide.ilogb() < F::MIN_EXPONENT && flags.contains(Flags::NX) {
            flags.raise(Flags::UF);
        }
    }
    let bits = if result.value.is_nan() { F::NAN } else { result.value.to_bits() as u64 };
    (bits, flags.0)
}

/// Result and flags of a conversion between formats.
pub(super) fn convert<F: Reference, G: Reference>(a: u64, rounding: Rounding) -> (u64, u8)
where
    F::Exact: FloatConvert<G::Exact> + FloatConvert<G::Wide>,
{
    if is_nan::<F>(a) {
        return (G::NAN, if is_signalling::<F>(a) { Flags::NV } else { 0 });
    }
    let number = F::Exact::from_bits(u128::from(a));
    let round = round_of(rounding);
    let result: StatusAnd<G::Exact> = number.convert_r(round, &mut false);
    let wide: StatusAnd<G::Wide> = number.convert_r(round, &mut false);
    expected::<G>(result, wide.value)
}

/// Result and flags of a conversion to an integer in `low ..= high`, as a number.
pub(super) fn to_integer<F: Reference>(
    a: u64,
    low: i128,
    high: i128,
    rounding: Rounding,
) -> (i128, u8) {
    if is_nan::<F>(a) {
        return (high, Flags::NV);
    }
    let number = F::Exact::from_bits(u128::from(a));
    let rounded = number.to_i128_r(128, round_of(rounding), &mut false);
    let too_large = rounded.status.contains(Status::INVALID_OP);
    if too_large || rounded.value < low || rounded.value > high {
        return (if is_negative::<F>(a) { low } else { high }, Flags::NV);
    }
    (rounded.value, if rounded.status.contains(Status::INEXACT) { Flags::NX } else { 0 })
}

/// Result and flags of a conversion from an integer.
pub(super) fn from_integer<F: Reference>(value: i128, rounding: Rounding) -> (u64, u8) {
    let result = F::Exact::from_i128_r(value, round_of(rounding));
    let inexact = result.status.contains(Status::INEXACT);
    (result.value.to_bits() as u64, if inexact { Flags::NX } else { 0 })
}

/// How two encodings compare, `None` if they do not.
pub(super) fn compare<F: Reference>(a: u64, b: u64) -> Option<std::cmp::Ordering> {
    F::Exact::from_bits(u128::from(a)).partial_cmp(&F::Exact::from_bits(u128::from(b)))
}
