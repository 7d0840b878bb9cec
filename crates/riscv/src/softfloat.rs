//! Exact floating point: IEEE 754-2019 binary32 and binary64 as RISC-V's F and D extensions have
//! it.
//!
//! Owns arithmetic on encodings (`u32`, `u64`), the five rounding modes and the exception flags:
//! the same bits on every host. Results that are NaN are the canonical NaN, and tininess is
//! detected after rounding. Deliberately knows nothing of registers, NaN boxing, `fcsr` or
//! instructions; sign injection and moves are plain bit operations of the interpreter.
//!
//! Everything is calculated with integers, except that [`fast`] takes results from the host where
//! it proves them identical.

mod arithmetic;
mod compare;
mod convert;
mod fast;
mod format;
#[cfg(test)]
mod tests;

/// A rounding mode, numbered as in the `rm` field of instructions and in `frm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rounding {
    /// RNE: to nearest, ties to even.
    NearestEven = 0,
    /// RTZ: towards zero.
    TowardZero = 1,
    /// RDN: towards negative infinity.
    Down = 2,
    /// RUP: towards positive infinity.
    Up = 3,
    /// RMM: to nearest, ties away from zero.
    NearestMaxMagnitude = 4,
}

impl Rounding {
    /// The mode of a three-bit number, or `None` for the reserved 5 and 6 and for 7, which in an
    /// instruction means "dynamic" and is reserved in `frm`.
    #[inline]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        match bits {
            0 => Some(Self::NearestEven),
            1 => Some(Self::TowardZero),
            2 => Some(Self::Down),
            3 => Some(Self::Up),
            4 => Some(Self::NearestMaxMagnitude),
            _ => None,
        }
    }
}

/// Accrued exception flags, laid out as in `fflags`. Operations only ever add to them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// Inexact.
    pub const NX: u8 = 1;
    /// Underflow.
    pub const UF: u8 = 2;
    /// Overflow.
    pub const OF: u8 = 4;
    /// Division by zero.
    pub const DZ: u8 = 8;
    /// Invalid operation.
    pub const NV: u8 = 16;

    /// Sets flags.
    #[inline]
    pub const fn raise(&mut self, flags: u8) {
        self.0 |= flags;
    }

    /// Whether all of the given flags are set.
    #[inline]
    pub const fn contains(self, flags: u8) -> bool {
        self.0 & flags == flags
    }
}

/// The operations of a format `$Format` on encodings of type `$bits`.
macro_rules! operations {
    ($Format:ident, $bits:ident) => {
        use super::convert::{Range, from_integer, to_format, to_integer};
        use super::format::{Double, Single};
        use super::{Flags, Rounding, arithmetic, compare, fast};

        /// `a + b`.
        #[inline]
        pub fn add(a: $bits, b: $bits, rounding: Rounding, flags: &mut Flags) -> $bits {
            let (a, b) = (u64::from(a), u64::from(b));
            if rounding == Rounding::NearestEven
                && let Some(result) = fast::add::<$Format>(a, b, flags)
            {
                return result as $bits;
            }
            arithmetic::add::<$Format>(a, b, rounding, flags) as $bits
        }

        /// `a - b`.
        #[inline]
        pub fn sub(a: $bits, b: $bits, rounding: Rounding, flags: &mut Flags) -> $bits {
            let (a, b) = (u64::from(a), u64::from(b));
            if rounding == Rounding::NearestEven
                && let Some(result) = fast::sub::<$Format>(a, b, flags)
            {
                return result as $bits;
            }
            arithmetic::sub::<$Format>(a, b, rounding, flags) as $bits
        }

        /// `a * b`.
        #[inline]
        pub fn mul(a: $bits, b: $bits, rounding: Rounding, flags: &mut Flags) -> $bits {
            let (a, b) = (u64::from(a), u64::from(b));
            if rounding == Rounding::NearestEven
                && let Some(result) = fast::mul::<$Format>(a, b, flags)
            {
                return result as $bits;
            }
            arithmetic::mul::<$Format>(a, b, rounding, flags) as $bits
        }

        /// `a / b`.
        #[inline]
        pub fn div(a: $bits, b: $bits, rounding: Rounding, flags: &mut Flags) -> $bits {
            let (a, b) = (u64::from(a), u64::from(b));
            if rounding == Rounding::NearestEven
                && let Some(result) = fast::div::<$Format>(a, b, flags)
            {
                return result as $bits;
            }
            arithmetic::div::<$Format>(a, b, rounding, flags) as $bits
        }

        /// The square root of `a`.
        #[inline]
        pub fn sqrt(a: $bits, rounding: Rounding, flags: &mut Flags) -> $bits {
            let a = u64::from(a);
            if rounding == Rounding::NearestEven
                && let Some(result) = fast::sqrt::<$Format>(a, flags)
            {
                return result as $bits;
            }
            arithmetic::sqrt::<$Format>(a, rounding, flags) as $bits
        }

        /// `a * b + c`, rounded once. Infinity times zero raises NV even if `c` is a quiet NaN.
        /// The other three fused instructions flip the signs of `a` and `c`.
        #[inline]
        pub fn fma(a: $bits, b: $bits, c: $bits, rounding: Rounding, flags: &mut Flags) -> $bits {
            let (a, b, c) = (u64::from(a), u64::from(b), u64::from(c));
            if rounding == Rounding::NearestEven
                && let Some(result) = fast::fma::<$Format>(a, b, c, flags)
            {
                return result as $bits;
            }
            arithmetic::fma::<$Format>(a, b, c, rounding, flags) as $bits
        }

        /// The lesser number (FMIN): -0 is less than +0, a NaN gives way to a number, two NaNs
        /// give the canonical one, and only a signalling NaN raises NV.
        #[inline]
        pub fn min(a: $bits, b: $bits, flags: &mut Flags) -> $bits {
            compare::min::<$Format>(u64::from(a), u64::from(b), flags) as $bits
        }

        /// The greater number (FMAX), with the rules of [`min`].
        #[inline]
        pub fn max(a: $bits, b: $bits, flags: &mut Flags) -> $bits {
            compare::max::<$Format>(u64::from(a), u64::from(b), flags) as $bits
        }

        /// Whether `a == b` (FEQ); only a signalling NaN raises NV.
        #[inline]
        pub fn eq(a: $bits, b: $bits, flags: &mut Flags) -> bool {
            compare::eq::<$Format>(u64::from(a), u64::from(b), flags)
        }

        /// Whether `a < b` (FLT); any NaN raises NV.
        #[inline]
        pub fn lt(a: $bits, b: $bits, flags: &mut Flags) -> bool {
            compare::lt::<$Format>(u64::from(a), u64::from(b), flags)
        }

        /// Whether `a <= b` (FLE); any NaN raises NV.
        #[inline]
        pub fn le(a: $bits, b: $bits, flags: &mut Flags) -> bool {
            compare::le::<$Format>(u64::from(a), u64::from(b), flags)
        }

        /// The class of `a` as FCLASS gives it: one bit of ten.
        #[inline]
        pub fn classify(a: $bits) -> u64 {
            compare::classify::<$Format>(u64::from(a))
        }

        /// FCVT.W: `a` as a signed 32-bit integer, sign-extended to a register. Out of range and
        /// NaN saturate and raise NV alone; so they do in the other conversions to integers.
        #[inline]
        pub fn to_i32(a: $bits, rounding: Rounding, flags: &mut Flags) -> u64 {
            to_integer::<$Format>(u64::from(a), Range::I32, rounding, flags)
        }

        /// FCVT.WU: `a` as an unsigned 32-bit integer, *sign*-extended to a register.
        #[inline]
        pub fn to_u32(a: $bits, rounding: Rounding, flags: &mut Flags) -> u64 {
            let word = to_integer::<$Format>(u64::from(a), Range::U32, rounding, flags);
            i64::from(word as i32) as u64
        }

        /// FCVT.L: `a` as a signed 64-bit integer.
        #[inline]
        pub fn to_i64(a: $bits, rounding: Rounding, flags: &mut Flags) -> u64 {
            to_integer::<$Format>(u64::from(a), Range::I64, rounding, flags)
        }

        /// FCVT.LU: `a` as an unsigned 64-bit integer.
        #[inline]
        pub fn to_u64(a: $bits, rounding: Rounding, flags: &mut Flags) -> u64 {
            to_integer::<$Format>(u64::from(a), Range::U64, rounding, flags)
        }

        /// The nearest number to a signed 32-bit integer, as `rounding` has it.
        #[inline]
        pub fn from_i32(value: i32, rounding: Rounding, flags: &mut Flags) -> $bits {
            from_i64(i64::from(value), rounding, flags)
        }

        /// The nearest number to an unsigned 32-bit integer, as `rounding` has it.
        #[inline]
        pub fn from_u32(value: u32, rounding: Rounding, flags: &mut Flags) -> $bits {
            from_u64(u64::from(value), rounding, flags)
        }

        /// The nearest number to a signed 64-bit integer, as `rounding` has it.
        #[inline]
        pub fn from_i64(value: i64, rounding: Rounding, flags: &mut Flags) -> $bits {
            let (negative, magnitude) = (value < 0, value.unsigned_abs());
            from_integer::<$Format>(negative, magnitude, rounding, flags) as $bits
        }

        /// The nearest number to an unsigned 64-bit integer, as `rounding` has it.
        #[inline]
        pub fn from_u64(value: u64, rounding: Rounding, flags: &mut Flags) -> $bits {
            from_integer::<$Format>(false, value, rounding, flags) as $bits
        }
    };
}

/// binary32, the F extension.
pub mod f32 {
    operations!(Single, u32);

    /// FCVT.D.S: the same number in binary64. Nothing is ever rounded; a signalling NaN raises NV.
    #[inline]
    pub fn to_f64(a: u32, flags: &mut Flags) -> u64 {
        to_format::<Single, Double>(u64::from(a), Rounding::NearestEven, flags)
    }
}

/// binary64, the D extension.
pub mod f64 {
    operations!(Double, u64);

    /// FCVT.S.D: the number rounded to binary32; a signalling NaN raises NV.
    #[inline]
    pub fn to_f32(a: u64, rounding: Rounding, flags: &mut Flags) -> u32 {
        to_format::<Double, Single>(a, rounding, flags) as u32
    }
}
