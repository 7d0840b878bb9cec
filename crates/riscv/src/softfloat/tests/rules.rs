//! What is RISC-V's own: known answers, and comparisons against the order of values.

use std::cmp::Ordering;

use super::operands::{Random, specials};
use super::oracle::{self, Reference};
use super::{Double, Flags, Format, Rounding, Single, double, single};
use crate::softfloat::compare;
use crate::softfloat::format::{is_nan, is_negative, is_signalling};

use Rounding::{Down, NearestEven, NearestMaxMagnitude, TowardZero, Up};

const ONE: u64 = 0x3ff0_0000_0000_0000;
const INFINITY: u64 = 0x7ff0_0000_0000_0000;
const QUIET: u64 = 0x7ff8_0000_0000_0000;
const SIGNALLING: u64 = 0x7ff0_0000_0000_0001;
const SIGN: u64 = 1 << 63;

/// One call of the public interface: what it gives and which flags it raises.
fn check<T: PartialEq + std::fmt::Debug>(call: impl FnOnce(&mut Flags) -> T, expected: (T, u8)) {
    let mut flags = Flags::default();
    let result = call(&mut flags);
    assert_eq!((result, flags.0), expected);
}

#[test]
fn rounding_modes_are_numbered_as_in_frm() {
    let expected = [
        Some(NearestEven),
        Some(TowardZero),
        Some(Down),
        Some(Up),
        Some(NearestMaxMagnitude),
        None,
        None,
        None,
    ];
    for (bits, expected) in expected.into_iter().enumerate() {
        assert_eq!(Rounding::from_bits(bits as u32), expected, "rounding mode {bits}");
    }
}

#[test]
fn flags_accrue() {
    let mut flags = Flags(Flags::DZ);
    let result = double::sub(INFINITY, INFINITY, NearestEven, &mut flags);
    assert_eq!((result, flags), (QUIET, Flags(Flags::DZ | Flags::NV)));
}

#[test]
fn invalid_operations_give_the_canonical_nan() {
    let payload = QUIET | SIGN | 0x1234;
    check(|f| double::add(payload, ONE, NearestEven, f), (QUIET, 0));
    check(|f| double::add(SIGNALLING, ONE, NearestEven, f), (QUIET, Flags::NV));
    check(|f| double::mul(INFINITY, 0, NearestEven, f), (QUIET, Flags::NV));
    check(|f| double::fma(INFINITY, 0, QUIET, NearestEven, f), (QUIET, Flags::NV));
    check(|f| double::fma(INFINITY, ONE, payload, NearestEven, f), (QUIET, 0));
    check(|f| double::div(0, SIGN, NearestEven, f), (QUIET, Flags::NV));
    check(|f| double::div(ONE | SIGN, 0, NearestEven, f), (INFINITY | SIGN, Flags::DZ));
    check(|f| double::sqrt(ONE | SIGN, NearestEven, f), (QUIET, Flags::NV));
    check(|f| double::sqrt(SIGN | 1, Up, f), (QUIET, Flags::NV));
    check(|f| double::sqrt(INFINITY | SIGN, NearestEven, f), (QUIET, Flags::NV));
    check(|f| double::sqrt(SIGN, NearestEven, f), (SIGN, 0));
    check(|f| double::sqrt(INFINITY, Down, f), (INFINITY, 0));
    check(|f| double::sqrt(payload, Down, f), (QUIET, 0));
    check(|f| double::sqrt(SIGNALLING, Down, f), (QUIET, Flags::NV));
    check(|f| double::to_f32(payload, NearestEven, f), (0x7fc0_0000, 0));
    check(|f| single::to_f64(0xff80_0001, f), (QUIET, Flags::NV));
}

#[test]
fn tininess_is_detected_after_rounding() {
    const SMALLEST: u64 = 1 << 52;
    let (below_one, above_half) = (ONE - 1, ONE - (1 << 52) + 1);
    // (1 - 2^-53) * 2^-1022 fits 53 bits: tiny, though it rounds to the smallest normal number.
    let tiny = (SMALLEST, Flags::UF | Flags::NX);
    check(|f| double::mul(SMALLEST, below_one, NearestEven, f), tiny);
    check(|f| double::mul(SMALLEST, below_one, TowardZero, f), (SMALLEST - 1, tiny.1));
    // (1 + 2^-52) * (1 - 2^-53) * 2^-1022 is above the smallest normal number.
    check(|f| double::mul(SMALLEST + 1, below_one, NearestEven, f), (SMALLEST, Flags::NX));
    // (2 - 2^-52) * (2^-1 + 2^-53) * 2^-1022 = (1 + 2^-53 - 2^-105) * 2^-1022.
    let largest = (SMALLEST << 1) - 1;
    check(|f| double::mul(largest, above_half, NearestEven, f), (SMALLEST, Flags::NX));
    // (1 - 2^-54) * 2^-1022 is halfway and goes to the normal number with any exponent: not tiny.
    let quarter = (ONE - (2 << 52)) | SIGN;
    check(|f| double::fma(1, quarter, SMALLEST, NearestEven, f), (SMALLEST, Flags::NX));
    check(|f| double::fma(1, quarter, SMALLEST, Down, f), (SMALLEST - 1, Flags::UF | Flags::NX));
    // An exact subnormal result raises nothing.
    check(|f| double::fma(SMALLEST, ONE, SIGN | 1, Up, f), (SMALLEST - 1, 0));
    check(|f| double::div(SMALLEST, ONE + (1 << 52), NearestEven, f), (SMALLEST >> 1, 0));
}

#[test]
fn overflow_gives_infinity_or_the_largest_number() {
    const LARGEST: u64 = INFINITY - 1;
    let flags = Flags::OF | Flags::NX;
    for (rounding, positive, negative) in [
        (NearestEven, INFINITY, INFINITY),
        (TowardZero, LARGEST, LARGEST),
        (Down, LARGEST, INFINITY),
        (Up, INFINITY, LARGEST),
        (NearestMaxMagnitude, INFINITY, INFINITY),
    ] {
        check(|f| double::add(LARGEST, LARGEST, rounding, f), (positive, flags));
        check(|f| double::sub(LARGEST | SIGN, LARGEST, rounding, f), (negative | SIGN, flags));
    }
}

#[test]
fn integers_saturate_and_words_are_sign_extended() {
    let number = |value: i64| double::from_i64(value, NearestEven, &mut Flags::default());
    let (nv, nx) = (Flags::NV, Flags::NX);
    let minus_half = (ONE - (1 << 52)) | SIGN;
    check(|f| double::to_i32(number(-5), NearestEven, f), (-5_i64 as u64, 0));
    check(|f| double::to_i32(number(1 << 31), NearestEven, f), (0x7fff_ffff, nv));
    check(|f| double::to_i32(number(-(1 << 31)), NearestEven, f), (0xffff_ffff_8000_0000, 0));
    check(|f| double::to_i32(INFINITY | SIGN, NearestEven, f), (0xffff_ffff_8000_0000, nv));
    check(|f| double::to_i32(QUIET | SIGN, NearestEven, f), (0x7fff_ffff, nv));
    check(|f| double::to_u32(number(0x8000_0000), NearestEven, f), (0xffff_ffff_8000_0000, 0));
    check(|f| double::to_u32(number(1 << 32), NearestEven, f), (u64::MAX, nv));
    check(|f| double::to_u32(number(-1), NearestEven, f), (0, nv));
    check(|f| double::to_u32(minus_half, NearestEven, f), (0, nx));
    check(|f| double::to_u32(minus_half, Down, f), (0, nv));
    check(|f| double::to_i64(QUIET, TowardZero, f), (i64::MAX as u64, nv));
    check(|f| double::to_i64(SIGNALLING, TowardZero, f), (i64::MAX as u64, nv));
    check(|f| double::to_u64(INFINITY, TowardZero, f), (u64::MAX, nv));
    check(|f| double::to_u64(INFINITY | SIGN, TowardZero, f), (0, nv));
    check(|f| single::to_u64(0xbf00_0000, TowardZero, f), (0, nx));
    check(|f| single::to_i64(0x3f00_0000, NearestMaxMagnitude, f), (1, nx));
    check(|f| single::to_u32(0x4f80_0000, NearestEven, f), (u64::MAX, nv));
    check(|f| single::to_i32(0xcf00_0001, NearestEven, f), (0xffff_ffff_8000_0000, nv));
    check(|f| single::from_i32(-1, NearestEven, f), (0xbf80_0000, 0));
    check(|f| single::from_u32(u32::MAX, NearestEven, f), (0x4f80_0000, nx));
    check(|f| single::from_u32(u32::MAX, TowardZero, f), (0x4f7f_ffff, nx));
    check(|f| double::from_i32(i32::MIN, NearestEven, f), (0xc1e0_0000_0000_0000, 0));
    check(|f| double::from_u32(u32::MAX, NearestEven, f), (0x41ef_ffff_ffe0_0000, 0));
    check(|f| double::from_i64(0, Down, f), (0, 0));
}

#[test]
fn minimum_and_maximum_prefer_numbers() {
    check(|f| double::min(0, SIGN, f), (SIGN, 0));
    check(|f| double::min(SIGN, 0, f), (SIGN, 0));
    check(|f| double::max(0, SIGN, f), (0, 0));
    check(|f| double::max(SIGN, 0, f), (0, 0));
    check(|f| double::min(QUIET | 7, ONE, f), (ONE, 0));
    check(|f| double::max(ONE, SIGNALLING, f), (ONE, Flags::NV));
    check(|f| double::min(QUIET | SIGN | 7, QUIET, f), (QUIET, 0));
    check(|f| double::max(SIGNALLING, QUIET | 1, f), (QUIET, Flags::NV));
    check(|f| single::min(0xff80_0000, 0x7f80_0000, f), (0xff80_0000, 0));
    check(|f| single::max(0x8000_0001, 0x8000_0000, f), (0x8000_0000, 0));
}

#[test]
fn classes_are_one_bit_each() {
    let classes = [
        (INFINITY | SIGN, 0xff80_0000),
        (ONE | SIGN, 0xbf80_0000),
        (SIGN | 1, 0x8000_0001),
        (SIGN, 0x8000_0000),
        (0, 0),
        (0xf_ffff_ffff_ffff, 0x7f_ffff),
        (1 << 52, 0x80_0000),
        (INFINITY, 0x7f80_0000),
        (SIGNALLING | SIGN, 0xff80_0001),
        (QUIET | SIGN, 0x7fff_ffff),
    ];
    for (bit, (wide, narrow)) in classes.into_iter().enumerate() {
        assert_eq!(double::classify(wide), 1 << bit, "class of {wide:#x}");
        assert_eq!(single::classify(narrow), 1 << bit, "class of {narrow:#x}");
    }
}

/// All comparisons of a pair against the order of the values.
fn check_order<F: Reference>(a: u64, b: u64) {
    let order = oracle::compare::<F>(a, b);
    let any = if order.is_none() { Flags::NV } else { 0 };
    let signalling = is_signalling::<F>(a) || is_signalling::<F>(b);
    let loud = if signalling { Flags::NV } else { 0 };
    let ordering = order.is_some();
    check(|f| compare::eq::<F>(a, b, f), (order == Some(Ordering::Equal), loud));
    check(|f| compare::lt::<F>(a, b, f), (order == Some(Ordering::Less), any));
    let le = ordering && order != Some(Ordering::Greater);
    check(|f| compare::le::<F>(a, b, f), (le, any));
    let (low, high) = match order {
        Some(Ordering::Less) => (a, b),
        Some(Ordering::Greater) => (b, a),
        // Only zeros are equal and differ.
        Some(Ordering::Equal) if is_negative::<F>(b) => (b, a),
        Some(Ordering::Equal) => (a, b),
        None if is_nan::<F>(a) && is_nan::<F>(b) => (F::NAN, F::NAN),
        None if is_nan::<F>(a) => (b, b),
        None => (a, a),
    };
    check(|f| compare::min::<F>(a, b, f), (low, loud));
    check(|f| compare::max::<F>(a, b, f), (high, loud));
}

fn orders_match<F: Reference>(seed: u64) {
    let all = specials::<F>();
    for &a in &all {
        for &b in &all {
            check_order::<F>(a, b);
        }
    }
    let mut random = Random::new(seed);
    for _ in 0..super::ORACLE_CASES {
        let [a, b, _] = random.operands::<F>();
        check_order::<F>(a, b);
    }
}

#[test]
fn comparisons_match_the_order_of_values() {
    assert_eq!((Single::WIDTH, Double::WIDTH), (32, 64));
    orders_match::<Single>(0x5eed_0008);
    orders_match::<Double>(0x5eed_0009);
}
