//! Results from the host's floating point unit, where they provably are those of the integer code.
//!
//! The only file of this crate that calculates with host floats. Each function answers `None`
//! when it cannot vouch for the result; the caller then takes the integer code. Callers ask only
//! for rounding to nearest, ties to even: the rounding that Rust, and every host named in
//! [`IEEE_HOST`], always uses.
//!
//! Why the bits are the same. On these hosts `+ - * /` and `sqrt` of Rust's float types are the
//! correctly rounded operations of IEEE 754, subnormals included (Rust forbids changing the
//! floating point environment; WebAssembly has none to change). A correctly rounded result is
//! unique except for the bits of NaNs, and no NaN passes [`is_comfortable`].
//!
//! Why the flags are the same. `is_comfortable` admits results whose biased exponent is neither
//! special nor 0 nor 1, so their magnitude is at least twice the smallest normal number and finite:
//! - NV and DZ give a NaN or an infinity, OF in this rounding an infinity: none was raised.
//! - UF needs a number that is tiny after rounding with an unbounded exponent; the exact result
//!   is within half an ulp of one at least twice as large as that: not raised.
//! - This leaves NX. If it is already set in the accrued flags, raising it again changes nothing,
//!   and nothing need be known. Otherwise it is decided exactly, as each function argues, or the
//!   function answers `None`.

use std::ops::{Add, Div, Mul, Sub};

use super::Flags;
use super::format::{Double, Format, Single, exponent_field};

/// Whether the host's operations are those of IEEE 754. Not so on 32-bit x86, whose x87 registers
/// round differently; other hosts are left out until someone makes the argument for them.
const IEEE_HOST: bool =
    cfg!(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "wasm32"));

/// A format that is also a type of the host.
pub(super) trait HostFormat: Format {
    /// The type.
    type Float: Copy
        + PartialEq
        + Add<Output = Self::Float>
        + Sub<Output = Self::Float>
        + Mul<Output = Self::Float>
        + Div<Output = Self::Float>;

    /// Zero.
    const ZERO: Self::Float;

    /// The number of an encoding.
    fn load(bits: u64) -> Self::Float;

    /// The encoding of a number.
    fn store(number: Self::Float) -> u64;

    /// The correctly rounded square root.
    fn root(number: Self::Float) -> Self::Float;

    /// Whether the exact `x * y` differs from `z`, which is less than twice and more than half of
    /// it, if that is cheap to know.
    fn product_differs(x: Self::Float, y: Self::Float, z: Self::Float) -> Option<bool>;

    /// `x * y + z` rounded once, and whether that was inexact, if known.
    fn fused(x: Self::Float, y: Self::Float, z: Self::Float)
    -> Option<(Self::Float, Option<bool>)>;
}

impl HostFormat for Single {
    type Float = f32;

    const ZERO: f32 = 0.0;

    #[inline]
    fn load(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }

    #[inline]
    fn store(number: f32) -> u64 {
        u64::from(number.to_bits())
    }

    #[inline]
    fn root(number: f32) -> f32 {
        number.sqrt()
    }

    /// Two significands of 24 bits have a product of at most 48, and its exponent is far within
    /// the range of binary64: the product in binary64 is exact.
    #[inline]
    fn product_differs(x: f32, y: f32, z: f32) -> Option<bool> {
        Some(f64::from(x) * f64::from(y) != f64::from(z))
    }

    /// The product is exact in binary64 (see above), and the sum of it and `z` is rounded to odd
    /// there: truncated, with the last bit set if anything was lost. A number rounded to odd with
    /// at least two more bits than the target (53 against 24) then rounds to what the exact number
    /// rounds to (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved
    /// algorithms using rounding to odd", 2008).
    ///
    /// The host's sum is to nearest; its error is exact ([`error_of_sum`]: nothing near 2^257
    /// overflows binary64) and tells on which side of the sum the exact value lies. If the sum's
    /// last bit is set it is already the odd one of the two numbers around the exact value;
    /// otherwise the odd one is its neighbour on that side. (Sums that are infinite or NaN give
    /// results that are, and no one looks further.)
    #[inline]
    fn fused(x: f32, y: f32, z: f32) -> Option<(f32, Option<bool>)> {
        let product = f64::from(x) * f64::from(y);
        let addend = f64::from(z);
        let sum = product + addend;
        let error = error_of_sum::<Double>(product, addend, sum);
        let bits = sum.to_bits();
        let odd = if error == 0.0 || bits & 1 != 0 {
            sum
        } else if (error > 0.0) == (sum > 0.0) {
            f64::from_bits(bits + 1)
        } else {
            f64::from_bits(bits - 1)
        };
        let result = odd as f32;
        Some((result, Some(error != 0.0 || f64::from(result) != sum)))
    }
}

impl HostFormat for Double {
    type Float = f64;

    const ZERO: f64 = 0.0;

    #[inline]
    fn load(bits: u64) -> f64 {
        f64::from_bits(bits)
    }

    #[inline]
    fn store(number: f64) -> u64 {
        number.to_bits()
    }

    #[inline]
    fn root(number: f64) -> f64 {
        number.sqrt()
    }

    /// No wider type holds the product, but the significands' product is exact in integers: it
    /// lies in [2^104, 2^106), and equals `z` if and only if it is the significand of `z` followed
    /// by 52 or 53 zero bits. (The exponents then agree, for a wrong one would make the product at
    /// least twice or at most half of `z`.)
    #[inline]
    fn product_differs(x: f64, y: f64, z: f64) -> Option<bool> {
        let product = u128::from(significand(x)?) * u128::from(significand(y)?);
        let target = u128::from(significand(z)?) << Self::FRACTION_BITS;
        Some(product != target && product != target << 1)
    }

    /// Only where it is one instruction: elsewhere `mul_add` may call a C library of any quality.
    #[inline]
    fn fused(x: f64, y: f64, z: f64) -> Option<(f64, Option<bool>)> {
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            Some((x.mul_add(y, z), None))
        } else {
            None
        }
    }
}

/// The significand of a normal number, with its leading bit.
#[inline]
fn significand(number: f64) -> Option<u64> {
    let bits = number.to_bits();
    let leading = 1 << Double::FRACTION_BITS;
    (exponent_field::<Double>(bits) != 0).then_some((bits & Double::FRACTION) | leading)
}

/// `a + b`.
///
/// NX: the sum is exact if and only if [`error_of_sum`] is zero. If an operation within it
/// overflows (`sum` itself is finite), the error is infinite or NaN, since nothing turns either
/// back into a finite number, and the sum was inexact: of an exact one it calculates `y`, `x`, 0.
#[inline]
pub(super) fn add<F: HostFormat>(a: u64, b: u64, flags: &mut Flags) -> Option<u64> {
    let (x, y) = (F::load(a), F::load(b));
    let sum = x + y;
    let bits = comfortable::<F>(sum)?;
    if !flags.contains(Flags::NX) {
        raise_if(error_of_sum::<F>(x, y, sum) != F::ZERO, flags);
    }
    Some(bits)
}

/// `a - b`, which is `a + (-b)`.
#[inline]
pub(super) fn sub<F: HostFormat>(a: u64, b: u64, flags: &mut Flags) -> Option<u64> {
    add::<F>(a, b ^ F::SIGN, flags)
}

/// `a * b`.
///
/// NX: the rounded product differs from the exact one.
#[inline]
pub(super) fn mul<F: HostFormat>(a: u64, b: u64, flags: &mut Flags) -> Option<u64> {
    let (x, y) = (F::load(a), F::load(b));
    let product = x * y;
    let bits = comfortable::<F>(product)?;
    if !flags.contains(Flags::NX) {
        raise_if(F::product_differs(x, y, product)?, flags);
    }
    Some(bits)
}

/// `a / b`.
///
/// NX: the quotient is exact if and only if multiplying it by the divisor gives the dividend back
/// exactly. (A divisor that is infinite or zero gives no comfortable quotient.)
#[inline]
pub(super) fn div<F: HostFormat>(a: u64, b: u64, flags: &mut Flags) -> Option<u64> {
    let (x, y) = (F::load(a), F::load(b));
    let quotient = x / y;
    let bits = comfortable::<F>(quotient)?;
    if !flags.contains(Flags::NX) {
        raise_if(F::product_differs(quotient, y, x)?, flags);
    }
    Some(bits)
}

/// The square root of `a`.
///
/// NX: the root is exact if and only if its exact square is `a`.
#[inline]
pub(super) fn sqrt<F: HostFormat>(a: u64, flags: &mut Flags) -> Option<u64> {
    let x = F::load(a);
    let root = F::root(x);
    let bits = comfortable::<F>(root)?;
    if !flags.contains(Flags::NX) {
        raise_if(F::product_differs(root, root, x)?, flags);
    }
    Some(bits)
}

/// `a * b + c`, rounded once; see the formats for NX.
#[inline]
pub(super) fn fma<F: HostFormat>(a: u64, b: u64, c: u64, flags: &mut Flags) -> Option<u64> {
    let (result, inexact) = F::fused(F::load(a), F::load(b), F::load(c))?;
    let bits = comfortable::<F>(result)?;
    if !flags.contains(Flags::NX) {
        raise_if(inexact?, flags);
    }
    Some(bits)
}

/// The encoding of a result, if this file's argument holds for it.
#[inline]
fn comfortable<F: HostFormat>(result: F::Float) -> Option<u64> {
    let bits = F::store(result);
    (IEEE_HOST && is_comfortable::<F>(bits)).then_some(bits)
}

/// Whether a result is finite and at least twice the smallest normal number.
#[inline]
fn is_comfortable<F: Format>(bits: u64) -> bool {
    // One comparison: the fields 0 and 1 wrap around to the top.
    exponent_field::<F>(bits).wrapping_sub(2) < F::SPECIAL_FIELD - 2
}

/// What rounding took from `sum`, the rounded `x + y`: `x + y = sum + error` exactly, unless
/// something overflows (Knuth's TwoSum; Boldo, Graillat and Muller, "On the robustness of the 2Sum
/// and Fast2Sum algorithms", 2017). Sums cannot underflow inexactly.
#[inline]
fn error_of_sum<F: HostFormat>(x: F::Float, y: F::Float, sum: F::Float) -> F::Float {
    let of_y = sum - x;
    let of_x = sum - of_y;
    (x - of_x) + (y - of_y)
}

#[inline]
fn raise_if(inexact: bool, flags: &mut Flags) {
    if inexact {
        flags.raise(Flags::NX);
    }
}
