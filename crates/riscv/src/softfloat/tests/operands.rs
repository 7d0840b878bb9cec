//! Operands: the special ones, and seeded random ones directed at what is hard to get right.

use crate::softfloat::format::{Format, exponent_field};

/// Encodings of both signs at which something changes: zeros, subnormals, powers of two and their
/// neighbours, halfway cases, limits of integers, the largest numbers, infinities, NaNs.
pub(super) fn specials<F: Format>() -> Vec<u64> {
    let power = |exponent: i32| ((exponent + F::BIAS) as u64) << F::FRACTION_BITS;
    let smallest = power(F::MIN_EXPONENT);
    let precision = F::PRECISION as i32;
    let mut magnitudes = vec![0, 1, 2, 3, F::FRACTION >> 1, (F::FRACTION >> 1) + 1];
    for exponent in [F::MIN_EXPONENT, F::MIN_EXPONENT + 1, -1, 0, 1, precision, F::BIAS] {
        magnitudes.extend([power(exponent) - 1, power(exponent), power(exponent) + 1]);
    }
    for exponent in [31, 32, 63, 64, -precision, 1 - precision, precision - 1] {
        magnitudes.extend([power(exponent) - 1, power(exponent)]);
    }
    magnitudes.extend([
        smallest | (F::FRACTION >> 1),
        power(0) | (F::QUIET),
        power(1) | (F::QUIET),
        power(0) | (F::QUIET + 1),
        power(1) | 0x15_5555,
        // One and a half last places of the largest number: overflows within TwoSum.
        power(F::BIAS - F::FRACTION_BITS as i32) | F::QUIET,
        F::INFINITY - 1,
        F::INFINITY - 2,
        F::INFINITY,
        F::INFINITY + 1,
        F::NAN - 1,
        F::NAN,
        F::NAN | 1,
        F::NAN | F::FRACTION,
    ]);
    magnitudes.iter().flat_map(|&bits| [bits, bits | F::SIGN]).collect()
}

/// A smaller set for products of three.
pub(super) fn few_specials<F: Format>() -> Vec<u64> {
    let one = (F::BIAS as u64) << F::FRACTION_BITS;
    let smallest = 1 << F::FRACTION_BITS;
    let magnitudes = [
        0,
        1,
        F::FRACTION,
        smallest,
        smallest + 1,
        one - (u64::from(F::PRECISION) << F::FRACTION_BITS),
        one - 1,
        one,
        one + 1,
        one | F::QUIET,
        F::INFINITY - 1,
        F::INFINITY,
        F::INFINITY + 1,
        F::NAN,
    ];
    magnitudes.iter().flat_map(|&bits| [bits, bits | F::SIGN]).collect()
}

/// A xorshift64* generator.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        assert_ne!(seed, 0, "xorshift needs a seed other than zero");
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 32) % limit
    }

    /// A fraction: any bits, few ones, few zeros, or a run of equal bits at either end.
    fn fraction<F: Format>(&mut self) -> u64 {
        let any = self.next();
        let bits = match self.below(5) {
            0 => any,
            1 => any & self.next() & self.next() & self.next(),
            2 => any | self.next() | self.next() | self.next(),
            3 => u64::MAX << self.below(u64::from(F::FRACTION_BITS)),
            _ => u64::MAX >> (63 - self.below(u64::from(F::FRACTION_BITS))),
        };
        bits & F::FRACTION
    }

    /// An encoding of any kind, NaNs and infinities included.
    fn encoding<F: Format>(&mut self) -> u64 {
        let field = match self.below(8) {
            0 => self.below(4),
            1 => F::SPECIAL_FIELD - self.below(3),
            2 | 3 => F::BIAS as u64 + self.below(80) - 40,
            _ => self.below(F::SPECIAL_FIELD),
        };
        self.signed::<F>(field)
    }

    /// A random fraction and sign for an exponent field.
    fn signed<F: Format>(&mut self, field: u64) -> u64 {
        let sign = if self.below(2) == 0 { 0 } else { F::SIGN };
        sign | (field << F::FRACTION_BITS) | self.fraction::<F>()
    }

    /// Three operands; usually related, so that sums cancel, quotients are near one, products
    /// fall at the limits of the exponent, and a fused addend is near the product.
    pub(super) fn operands<F: Format>(&mut self) -> [u64; 3] {
        let a = self.encoding::<F>();
        let clamp = |field: i64| field.clamp(0, F::SPECIAL_FIELD as i64 - 1) as u64;
        let field_of = |bits| exponent_field::<F>(bits) as i64;
        let near = self.below(2 * u64::from(F::PRECISION) + 8) as i64 - i64::from(F::PRECISION) - 4;
        let bias = i64::from(F::BIAS);
        let b = match self.below(6) {
            0 => self.encoding::<F>(),
            1 => a ^ (self.next() & (F::SIGN | 7)),
            2 => {
                let step = self.below(3) as i64 - 1;
                self.signed::<F>(clamp(field_of(a) + step))
            }
            // The product is near the smallest or the largest number.
            3 => self.signed::<F>(clamp(bias - field_of(a) + near / 8)),
            4 => self.signed::<F>(clamp(3 * bias - field_of(a) + near / 8)),
            _ => self.signed::<F>(clamp(field_of(a) + near)),
        };
        let product = field_of(a) + field_of(b) - bias;
        let c = match self.below(4) {
            0 => self.encoding::<F>(),
            1 => {
                let step = self.below(4) as i64 - 2;
                self.signed::<F>(clamp(product + step))
            }
            _ => self.signed::<F>(clamp(product + near)),
        };
        [a, b, c]
    }

    /// One operand of any kind.
    pub(super) fn operand<F: Format>(&mut self) -> u64 {
        self.encoding::<F>()
    }

    /// An integer of any size.
    pub(super) fn integer(&mut self) -> u64 {
        let shift = self.below(64);
        let any = self.next() >> shift;
        match self.below(4) {
            // Near a power of two, or halfway between two numbers of fewer bits.
            0 => (1 << shift) ^ self.below(4),
            1 => (any | 1) << self.below(64),
            _ => any,
        }
    }
}
