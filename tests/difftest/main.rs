//! Differential test against an independent oracle: random instruction sequences run here and on
//! QEMU, and everything they leave behind must be the same.
//!
//! `STACKVM_DIFF_SEED` repeats a run, `STACKVM_DIFF_COUNT` sets the number of sequences.

mod asm;
mod generate;
mod layout;
mod record;
mod runtime;
mod sequence;

use std::{env, fs};

use stackvm_machine::Instant;
use stackvm_tests::qemu::Qemu;
use stackvm_tests::{elf, ours};

use crate::runtime::Detail;
use crate::sequence::Sequence;

/// Sequences in one program: enough to make QEMU's start not matter.
const PROGRAM_SEQUENCES: u64 = 2000;
/// Sequences checked by default: well under a minute.
const SEQUENCES_DEFAULT: u64 = 20_000;
/// A fixed seed, so that what passes once passes always; vary it by hand.
const SEED_DEFAULT: u64 = 1;
/// Differences shown before giving up.
const DIFFERENCES_MAX: usize = 5;
/// Far more than any program needs.
const LIMIT: Instant = Instant::from_ns(600_000_000_000);

fn number(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => default,
    }
}

fn program(sequences: &[Sequence], detail: Detail) -> Vec<u8> {
    elf::executable(&sequence::image(&runtime::build(detail), sequences))
}

/// The two record streams of a program.
fn both(
    qemu: &Qemu,
    sequences: &[Sequence],
    detail: Detail,
) -> Result<(Vec<Vec<u64>>, Vec<Vec<u64>>), String> {
    let elf = program(sequences, detail);
    let oracle = record::parse(&qemu.run_bare(&elf)?)?;
    if oracle.len() != sequences.len() {
        return Err(format!("the oracle did {} of {} sequences", oracle.len(), sequences.len()));
    }
    let ours = record::parse(&ours::run_bare(&elf, LIMIT)?.serial)?;
    Ok((ours, oracle))
}

/// Replaces items by no-ops as long as the difference stays.
fn minimise(qemu: &Qemu, mut sequence: Sequence) -> Sequence {
    const C_NOP: u16 = 1;
    let mut step = sequence.items.len().next_power_of_two();
    while step > 0 {
        for start in (0..sequence.items.len()).step_by(step) {
            let mut candidate = sequence.clone();
            let end = (start + step).min(candidate.items.len());
            for item in &mut candidate.items[start..end] {
                item.fill(C_NOP);
            }
            if candidate.items == sequence.items {
                continue;
            }
            if differs(qemu, &candidate) {
                sequence = candidate;
            }
        }
        step /= 2;
    }
    sequence
}

fn differs(qemu: &Qemu, sequence: &Sequence) -> bool {
    match both(qemu, std::slice::from_ref(sequence), Detail::Full) {
        Ok((ours, oracle)) => ours != oracle,
        Err(_) => true,
    }
}

/// All there is to know about a difference.
fn explain(qemu: &Qemu, seed: u64, sequence: &Sequence) -> String {
    let index = sequence.index;
    let head = format!("sequence {index} of seed {seed}");
    if !differs(qemu, sequence) {
        return format!("{head}: differs only after the sequences before it");
    }
    let small = minimise(qemu, sequence.clone());
    let mut text = format!("{head}, mstatus {:#x}", small.mstatus);
    for (number, value) in &small.csrs {
        text += &format!(", csr {number:#x} = {value:#x}");
    }
    text += "\n code:";
    for item in small.items.iter().filter(|item| item.iter().any(|parcel| *parcel != 1)) {
        text += "\n  ";
        for parcel in item {
            text += &format!(" {parcel:04x}");
        }
    }
    text += "\n before:";
    for (reg, value) in small.regs.iter().enumerate().skip(1) {
        text += &format!(" x{reg}={value:#x}");
    }
    for (reg, value) in small.floats.iter().enumerate() {
        text += &format!(" f{reg}={value:#x}");
    }
    let kept = format!("{}/sequence-{seed}-{index}.elf", env!("CARGO_TARGET_TMPDIR"));
    match fs::write(&kept, program(std::slice::from_ref(&small), Detail::Full)) {
        Ok(()) => text += &format!("\n program: {kept}"),
        Err(error) => text += &format!("\n program not kept: {error}"),
    }
    match both(qemu, &[small], Detail::Full) {
        Ok((ours, oracle)) => {
            let (ours, oracle) = (ours.first().cloned().unwrap_or_default(), &oracle[0]);
            text += &format!("\n difference:\n{}", record::difference(&ours, oracle));
            text + &format!(" traps of the oracle:\n{}", record::traps(oracle))
        }
        Err(error) => text + &format!("\n {error}"),
    }
}

/// Sequences `from..to` of a seed; returns the indices that differ.
fn check(qemu: &Qemu, seed: u64, from: u64, to: u64) -> Result<Vec<Sequence>, String> {
    let sequences: Vec<_> = (from..to).map(|index| generate::sequence(seed, index)).collect();
    let (ours, oracle) = both(qemu, &sequences, Detail::Hashes)?;
    let differs = |at: usize| ours.get(at) != oracle.get(at);
    Ok(sequences.into_iter().enumerate().filter(|(at, _)| differs(*at)).map(|(_, s)| s).collect())
}

#[test]
fn random_sequences_do_what_they_do_on_the_oracle() {
    let qemu = Qemu::find().unwrap_or_else(|problem| panic!("{problem}"));
    let seed = number("STACKVM_DIFF_SEED", SEED_DEFAULT);
    let count = number("STACKVM_DIFF_COUNT", SEQUENCES_DEFAULT);
    println!("seed {seed}, {count} sequences, QEMU {}", qemu.version);
    let mut different = Vec::new();
    for from in (0..count).step_by(PROGRAM_SEQUENCES as usize) {
        let to = (from + PROGRAM_SEQUENCES).min(count);
        match check(&qemu, seed, from, to) {
            Ok(found) => different.extend(found),
            Err(problem) => panic!("seed {seed}, sequences {from} to {to}: {problem}"),
        }
    }
    for sequence in different.iter().take(DIFFERENCES_MAX) {
        println!("{}", explain(&qemu, seed, sequence));
    }
    assert!(different.is_empty(), "{} of {count} sequences differ", different.len());
}

/// The harness's own promise, without which a difference could not be traced to a sequence.
#[test]
fn a_sequence_does_not_depend_on_those_before_it() {
    let qemu = Qemu::find().unwrap_or_else(|problem| panic!("{problem}"));
    let run = |sequences: &[Sequence]| {
        let stream = qemu.run_bare(&program(sequences, Detail::Full)).expect("a run");
        record::parse(&stream).expect("records")
    };
    let mut sequences: Vec<_> = (0..2000).map(|index| generate::sequence(7, index)).collect();
    let forwards = run(&sequences);
    sequences.reverse();
    let mut backwards = run(&sequences);
    backwards.reverse();
    assert_eq!(forwards.len(), sequences.len());
    for (one, other) in forwards.iter().zip(&backwards) {
        assert!(one == other, "{}", record::difference(one, other));
    }
}
