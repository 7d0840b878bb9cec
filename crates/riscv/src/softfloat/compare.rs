//! Comparison, minimum, maximum and classification.

use super::Flags;
use super::format::{Format, exponent_field, is_nan, is_negative, is_signalling};

/// `a == b`; only a signalling NaN raises NV (FEQ).
#[inline]
pub(super) fn eq<F: Format>(a: u64, b: u64, flags: &mut Flags) -> bool {
    if is_nan::<F>(a) || is_nan::<F>(b) {
        raise_if_signalling::<F>(a, b, flags);
        return false;
    }
    key::<F>(a) == key::<F>(b)
}

/// `a < b`; any NaN raises NV (FLT).
#[inline]
pub(super) fn lt<F: Format>(a: u64, b: u64, flags: &mut Flags) -> bool {
    ordered::<F>(a, b, flags) && key::<F>(a) < key::<F>(b)
}

/// `a <= b`; any NaN raises NV (FLE).
#[inline]
pub(super) fn le<F: Format>(a: u64, b: u64, flags: &mut Flags) -> bool {
    ordered::<F>(a, b, flags) && key::<F>(a) <= key::<F>(b)
}

/// minimumNumber of IEEE 754-2019 §9.6, with the canonical NaN for two NaNs (FMIN).
#[inline]
pub(super) fn min<F: Format>(a: u64, b: u64, flags: &mut Flags) -> u64 {
    raise_if_signalling::<F>(a, b, flags);
    number_of::<F>(a, b).unwrap_or_else(|| if precedes::<F>(a, b) { a } else { b })
}

/// maximumNumber of IEEE 754-2019 §9.6, with the canonical NaN for two NaNs (FMAX).
#[inline]
pub(super) fn max<F: Format>(a: u64, b: u64, flags: &mut Flags) -> u64 {
    raise_if_signalling::<F>(a, b, flags);
    number_of::<F>(a, b).unwrap_or_else(|| if precedes::<F>(a, b) { b } else { a })
}

/// The one bit that FCLASS sets.
#[inline]
pub(super) fn classify<F: Format>(a: u64) -> u64 {
    if is_nan::<F>(a) {
        return if is_signalling::<F>(a) { 1 << 8 } else { 1 << 9 };
    }
    let field = exponent_field::<F>(a);
    // 0 zero, 1 subnormal, 2 normal, 3 infinity; the classes of negative numbers mirror them.
    let size = match field {
        0 => u32::from(a & F::FRACTION != 0),
        _ if field < F::SPECIAL_FIELD => 2,
        _ => 3,
    };
    if is_negative::<F>(a) { 1 << (3 - size) } else { 1 << (4 + size) }
}

/// An integer that orders numbers as their values do; both zeros have the same.
#[inline]
fn key<F: Format>(a: u64) -> i64 {
    let magnitude = (a & !F::SIGN) as i64;
    if is_negative::<F>(a) { -magnitude } else { magnitude }
}

/// Whether a number comes before another, negative zero before positive zero.
#[inline]
fn precedes<F: Format>(a: u64, b: u64) -> bool {
    let (left, right) = (key::<F>(a), key::<F>(b));
    left < right || (left == right && is_negative::<F>(a))
}

/// What a minimum or maximum is if there are NaNs.
#[inline]
fn number_of<F: Format>(a: u64, b: u64) -> Option<u64> {
    match (is_nan::<F>(a), is_nan::<F>(b)) {
        (true, true) => Some(F::NAN),
        (true, false) => Some(b),
        (false, true) => Some(a),
        (false, false) => None,
    }
}

#[inline]
fn ordered<F: Format>(a: u64, b: u64, flags: &mut Flags) -> bool {
    let unordered = is_nan::<F>(a) || is_nan::<F>(b);
    if unordered {
        flags.raise(Flags::NV);
    }
    !unordered
}

#[inline]
fn raise_if_signalling<F: Format>(a: u64, b: u64, flags: &mut Flags) {
    if is_signalling::<F>(a) || is_signalling::<F>(b) {
        flags.raise(Flags::NV);
    }
}
