//! The integer code against an oracle, and the host's results against the integer code.

mod operands;
mod oracle;
mod rules;

use operands::{Random, few_specials, specials};
use oracle::{Operation, Reference};

use super::fast::{self, HostFormat};
use super::format::{Double, Format, Single};
use super::{Flags, Rounding, arithmetic, convert, f32 as single, f64 as double};

const ROUNDINGS: [Rounding; 5] = [
    Rounding::NearestEven,
    Rounding::TowardZero,
    Rounding::Down,
    Rounding::Up,
    Rounding::NearestMaxMagnitude,
];
const BINARY: [Operation; 4] = [Operation::Add, Operation::Sub, Operation::Mul, Operation::Div];
const ALL: [Operation; 5] =
    [Operation::Add, Operation::Sub, Operation::Mul, Operation::Div, Operation::Fma];

/// Random cases against the oracle, per format.
const ORACLE_CASES: u64 = 250_000;
/// Random cases of the host's results against the integer code, per format.
const HOST_CASES: u64 = 3_000_000;

fn integer_code<F: Format>(
    operation: Operation,
    [a, b, c]: [u64; 3],
    rounding: Rounding,
    flags: &mut Flags,
) -> u64 {
    match operation {
        Operation::Add => arithmetic::add::<F>(a, b, rounding, flags),
        Operation::Sub => arithmetic::sub::<F>(a, b, rounding, flags),
        Operation::Mul => arithmetic::mul::<F>(a, b, rounding, flags),
        Operation::Div => arithmetic::div::<F>(a, b, rounding, flags),
        Operation::Fma => arithmetic::fma::<F>(a, b, c, rounding, flags),
    }
}

/// The public operation, which chooses between the two.
fn public<F: Format>(
    operation: Operation,
    [a, b, c]: [u64; 3],
    rounding: Rounding,
    flags: &mut Flags,
) -> u64 {
    if F::WIDTH == 64 {
        return match operation {
            Operation::Add => double::add(a, b, rounding, flags),
            Operation::Sub => double::sub(a, b, rounding, flags),
            Operation::Mul => double::mul(a, b, rounding, flags),
            Operation::Div => double::div(a, b, rounding, flags),
            Operation::Fma => double::fma(a, b, c, rounding, flags),
        };
    }
    let [a, b, c] = [a as u32, b as u32, c as u32];
    u64::from(match operation {
        Operation::Add => single::add(a, b, rounding, flags),
        Operation::Sub => single::sub(a, b, rounding, flags),
        Operation::Mul => single::mul(a, b, rounding, flags),
        Operation::Div => single::div(a, b, rounding, flags),
        Operation::Fma => single::fma(a, b, c, rounding, flags),
    })
}

fn host<F: HostFormat>(
    operation: Operation,
    [a, b, c]: [u64; 3],
    flags: &mut Flags,
) -> Option<u64> {
    match operation {
        Operation::Add => fast::add::<F>(a, b, flags),
        Operation::Sub => fast::sub::<F>(a, b, flags),
        Operation::Mul => fast::mul::<F>(a, b, flags),
        Operation::Div => fast::div::<F>(a, b, flags),
        Operation::Fma => fast::fma::<F>(a, b, c, flags),
    }
}

/// One operation in all rounding modes against the oracle.
fn check_arithmetic<F: Reference>(operation: Operation, operands: [u64; 3], seed: u64) {
    for rounding in ROUNDINGS {
        let expected = oracle::arithmetic::<F>(operation, operands, rounding);
        for code in [integer_code::<F>, public::<F>] {
            let mut flags = Flags::default();
            let bits = code(operation, operands, rounding, &mut flags);
            assert!(
                (bits, flags.0) == expected,
                "{operation:?} {operands:#x?} {rounding:?}, seed {seed:#x}: {bits:#x} {flags:?}, \
                 expected {expected:#x?}",
            );
        }
    }
}

fn specials_match<F: Reference>() {
    let all = specials::<F>();
    for &a in &all {
        for &b in &all {
            for operation in BINARY {
                check_arithmetic::<F>(operation, [a, b, 0], 0);
            }
        }
    }
    let few = few_specials::<F>();
    for &a in &few {
        for &b in &few {
            for &c in &few {
                check_arithmetic::<F>(Operation::Fma, [a, b, c], 0);
            }
        }
    }
}

#[test]
fn special_operands_match_oracle_in_binary32() {
    specials_match::<Single>();
}

#[test]
fn special_operands_match_oracle_in_binary64() {
    specials_match::<Double>();
}

fn random_match<F: Reference>(seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..ORACLE_CASES {
        let operands = random.operands::<F>();
        for operation in ALL {
            check_arithmetic::<F>(operation, operands, seed);
        }
    }
}

#[test]
fn random_operands_match_oracle_in_binary32() {
    random_match::<Single>(0x5eed_0001);
}

#[test]
fn random_operands_match_oracle_in_binary64() {
    random_match::<Double>(0x5eed_0002);
}

/// The host's result, if it gives one, with and without NX accrued; answers whether it did.
fn check_host<F: HostFormat>(operation: Operation, operands: [u64; 3], seed: u64) -> [bool; 2] {
    [0, Flags::NX].map(|accrued| {
        let (mut flags, mut expected_flags) = (Flags(accrued), Flags(accrued));
        let result = host::<F>(operation, operands, &mut flags);
        let Some(bits) = result else {
            assert_eq!(flags.0, accrued, "{operation:?} {operands:#x?} gave up but raised flags");
            return false;
        };
        let rounding = Rounding::NearestEven;
        let expected = integer_code::<F>(operation, operands, rounding, &mut expected_flags);
        assert!(
            (bits, flags) == (expected, expected_flags),
            "{operation:?} {operands:#x?} with {accrued:#x}, seed {seed:#x}: {bits:#x} {flags:?}, \
             expected {expected:#x} {expected_flags:?}",
        );
        true
    })
}

/// Compares the host with the integer code; `used` says which operations the host must have
/// answered without and with NX accrued, so that the test does not pass by never comparing.
fn host_matches<F: HostFormat>(seed: u64, used: fn(Operation) -> [bool; 2]) {
    let mut random = Random::new(seed);
    let all = specials::<F>();
    for operation in ALL {
        let mut answered = [0_u64; 2];
        let mut count = |operands| {
            for (total, one) in answered.iter_mut().zip(check_host::<F>(operation, operands, seed))
            {
                *total += u64::from(one);
            }
        };
        for &a in &all {
            for &b in &all {
                count([a, b, a ^ F::SIGN]);
            }
        }
        for _ in 0..HOST_CASES / ALL.len() as u64 {
            count(random.operands::<F>());
        }
        let enough = answered.map(|total| total > HOST_CASES / 20);
        assert_eq!(enough, used(operation), "{operation:?} answered {answered:?}");
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn host_matches_integer_code_in_binary32() {
    host_matches::<Single>(0x5eed_0003, |_| [true; 2]);
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn host_matches_integer_code_in_binary64() {
    host_matches::<Double>(0x5eed_0004, |operation| match operation {
        // Nothing to compare where the host has no fused instruction.
        Operation::Fma => [false, cfg!(any(target_arch = "aarch64", target_feature = "fma"))],
        _ => [true; 2],
    });
}

/// The inequality that defines a rounded root, in quarters of its last place, in exact integers.
fn check_sqrt<F: Format>(a: u64, rounding: Rounding, seed: u64) {
    let mut flags = Flags::default();
    let bits = arithmetic::sqrt::<F>(a, rounding, &mut flags);
    // `value = significand * 2^exponent`, the significand with its leading bit in place.
    let parts = |bits: u64| {
        let fraction = bits & F::FRACTION;
        let field = (bits >> F::FRACTION_BITS) as i32;
        let lowest = field.max(1) - F::BIAS - F::FRACTION_BITS as i32;
        if field > 0 { (fraction | (1 << F::FRACTION_BITS), lowest) } else { (fraction, lowest) }
    };
    let (significand, exponent) = parts(a);
    let (root, root_exponent) = parts(bits);
    assert!(root >> F::FRACTION_BITS == 1, "a root of {a:#x} is normal, not {bits:#x}");
    let square = u128::from(significand) << (exponent - 2 * root_exponent + 4);
    let root = u128::from(root) * 4;
    // The distance to the number below is half as large at a power of two.
    let below = if root == 4 << F::FRACTION_BITS { 2 } else { 4 };
    let holds = match rounding {
        Rounding::TowardZero | Rounding::Down => {
            root * root <= square && square < (root + 4) * (root + 4)
        }
        Rounding::Up => (root - below) * (root - below) < square && square <= root * root,
        // A root is never halfway between two numbers: its square would need more digits.
        Rounding::NearestEven | Rounding::NearestMaxMagnitude => {
            let (low, high) = (root - below / 2, root + 2);
            low * low < square && square < high * high
        }
    };
    let expected = if root * root == square { 0 } else { Flags::NX };
    assert!(
        holds && flags.0 == expected,
        "sqrt {a:#x} {rounding:?}, seed {seed:#x}: {bits:#x} {flags:?}",
    );
}

fn roots_match<F: HostFormat>(seed: u64) {
    let mut random = Random::new(seed);
    let mut answered = [0_u64; 2];
    let special = specials::<F>();
    for index in 0..ORACLE_CASES as usize {
        let a = special.get(index).copied().unwrap_or_else(|| random.operand::<F>());
        let a = a & !F::SIGN;
        if a == 0 || a >= F::INFINITY {
            continue;
        }
        for rounding in ROUNDINGS {
            check_sqrt::<F>(a, rounding, seed);
        }
        for (total, accrued) in answered.iter_mut().zip([0, Flags::NX]) {
            let (mut flags, mut expected) = (Flags(accrued), Flags(accrued));
            if let Some(bits) = fast::sqrt::<F>(a, &mut flags) {
                let root = arithmetic::sqrt::<F>(a, Rounding::NearestEven, &mut expected);
                assert_eq!((bits, flags), (root, expected), "sqrt {a:#x}, seed {seed:#x}");
                *total += 1;
            }
        }
    }
    assert!(answered.iter().all(|&total| total > ORACLE_CASES / 2), "answered {answered:?}");
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn roots_are_correctly_rounded() {
    roots_match::<Single>(0x5eed_0005);
    roots_match::<Double>(0x5eed_0006);
}

fn check_to_integers<F: Reference>(a: u64, seed: u64) {
    let ranges = [
        (convert::Range::I32, i128::from(i32::MIN), i128::from(i32::MAX)),
        (convert::Range::U32, 0, i128::from(u32::MAX)),
        (convert::Range::I64, i128::from(i64::MIN), i128::from(i64::MAX)),
        (convert::Range::U64, 0, i128::from(u64::MAX)),
    ];
    for rounding in ROUNDINGS {
        for (range, low, high) in ranges {
            let mut flags = Flags::default();
            let value = convert::to_integer::<F>(a, range, rounding, &mut flags);
            let (expected, expected_flags) = oracle::to_integer::<F>(a, low, high, rounding);
            assert!(
                (value, flags.0) == (expected as u64, expected_flags),
                "{a:#x} {rounding:?} to {low}..={high}, seed {seed:#x}: {value:#x} {flags:?}, \
                 expected {expected:#x} {expected_flags:#x}",
            );
        }
    }
}

fn check_from_integers(value: u64, seed: u64) {
    for rounding in ROUNDINGS {
        let mut flags = [Flags::default(); 4];
        let [first, second, third, fourth] = &mut flags;
        let results = [
            u64::from(single::from_i64(value as i64, rounding, first)),
            u64::from(single::from_u64(value, rounding, second)),
            double::from_i64(value as i64, rounding, third),
            double::from_u64(value, rounding, fourth),
        ];
        let (signed, unsigned) = (i128::from(value as i64), i128::from(value));
        let expected = [
            oracle::from_integer::<Single>(signed, rounding),
            oracle::from_integer::<Single>(unsigned, rounding),
            oracle::from_integer::<Double>(signed, rounding),
            oracle::from_integer::<Double>(unsigned, rounding),
        ];
        for index in 0..4 {
            assert_eq!(
                (results[index], flags[index].0),
                expected[index],
                "integer {value:#x}, conversion {index}, {rounding:?}, seed {seed:#x}",
            );
        }
    }
}

fn check_formats(a: u64, seed: u64) {
    for rounding in ROUNDINGS {
        let (mut narrowing, mut widening) = (Flags::default(), Flags::default());
        let narrow = (u64::from(double::to_f32(a, rounding, &mut narrowing)), narrowing.0);
        let expected = oracle::convert::<Double, Single>(a, rounding);
        assert_eq!(narrow, expected, "{a:#x} to binary32, {rounding:?}, seed {seed:#x}");
        let low = u64::from(a as u32);
        let wide = (single::to_f64(a as u32, &mut widening), widening.0);
        let expected = oracle::convert::<Single, Double>(low, rounding);
        assert_eq!(wide, expected, "{low:#x} to binary64, seed {seed:#x}");
    }
}

#[test]
fn conversions_match_oracle() {
    let seed = 0x5eed_0007;
    let mut random = Random::new(seed);
    let (singles, doubles) = (specials::<Single>(), specials::<Double>());
    for index in 0..ORACLE_CASES as usize {
        let a = singles.get(index).copied().unwrap_or_else(|| random.operand::<Single>());
        check_to_integers::<Single>(a, seed);
        let b = doubles.get(index).copied().unwrap_or_else(|| random.operand::<Double>());
        check_to_integers::<Double>(b, seed);
        check_from_integers(random.integer(), seed);
        check_formats(b, seed);
        check_formats(a, seed);
        // Encodings of binary64 that are near or halfway between those of binary32.
        let wide = single::to_f64(a as u32, &mut Flags::default());
        check_formats(wide ^ (random.next() & random.next() & 0x3fff_ffff), seed);
        check_formats(wide ^ (1 << random.below(32)), seed);
    }
    for value in [0, 1, u64::MAX, 1 << 63, i64::MAX as u64, u64::from(u32::MAX)] {
        check_from_integers(value, seed);
    }
}
