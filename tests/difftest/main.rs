//! Differential test against an independent oracle: random instruction sequences run here and on
//! QEMU, and everything they leave behind must be the same. Here they run on every engine, and the
//! digests must be the same as well.
//!
//! `STACKVM_DIFF_SEED` repeats a run, `STACKVM_DIFF_COUNT` sets the number of sequences.

mod asm;
mod csrs;
mod generate;
mod layout;
mod record;
mod runtime;
mod sequence;

use std::{env, fs};

use stackvm_machine::Instant;
use stackvm_tests::ours::Cut;
use stackvm_tests::qemu::Qemu;
use stackvm_tests::{Rng, elf, ours};

use crate::runtime::{Detail, Traps};
use crate::sequence::Sequence;

/// Sequences in one program: enough to make QEMU's start not matter.
const PROGRAM_SEQUENCES: u64 = 2000;
/// Sequences checked by default: well under a minute.
const SEQUENCES_DEFAULT: u64 = 20_000;
/// A fixed seed, so that what passes once passes always; vary it by hand.
const SEED_DEFAULT: u64 = 1;
/// Differences shown before giving up.
const DIFFERENCES_MAX: usize = 5;
/// Ten times what a program needs, at a sixteenth of a nanosecond for an instruction.
const LIMIT: Instant = Instant::from_ns(200_000_000);

fn number(variable: &str, default: u64) -> u64 {
    match env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")),
        Err(_) => default,
    }
}

fn program(sequences: &[Sequence], detail: Detail) -> Vec<u8> {
    elf::executable(&sequence::image(&runtime::build(detail, Traps::Unified), sequences))
}

/// Records, one for each sequence.
type Records = Vec<Vec<u64>>;

/// Our records of a program, and the oracle's.
fn both(qemu: &Qemu, sequences: &[Sequence], detail: Detail) -> Result<(Records, Records), String> {
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
        // Without its counter's start, say, a loop has no end on either side.
        Err(_) => false,
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
    for (addr, value) in &small.pokes {
        text += &format!(" [{addr:#x}]={value:#x}");
    }
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

/// The sequences that differ. A program that never ends on our side is cut in halves until the
/// sequence that does it is found.
fn check(qemu: &Qemu, sequences: &[Sequence]) -> Result<Vec<Sequence>, String> {
    match both(qemu, sequences, Detail::Hashes) {
        Ok((ours, oracle)) => {
            let differs = |at: usize| ours.get(at) != oracle.get(at);
            let different = sequences.iter().enumerate().filter(|(at, _)| differs(*at));
            Ok(different.map(|(_, sequence)| sequence.clone()).collect())
        }
        Err(problem) if sequences.len() == 1 => {
            println!("sequence {}: {problem}", sequences[0].index);
            Ok(sequences.to_vec())
        }
        Err(_) => {
            let (first, second) = sequences.split_at(sequences.len() / 2);
            let mut different = check(qemu, first)?;
            different.extend(check(qemu, second)?);
            Ok(different)
        }
    }
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
        let sequences: Vec<_> = (from..to).map(|index| generate::sequence(seed, index)).collect();
        match check(&qemu, &sequences) {
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

/// What the comparison leaves out, because the oracle does not always do it.
#[test]
fn illegal_instructions_report_their_bits() {
    const ILLEGAL: u64 = 2;
    let sequences: Vec<_> = (0..1000).map(|index| generate::sequence(3, index)).collect();
    let image = sequence::image(&runtime::build(Detail::Full, Traps::Raw), &sequences);
    let stream = ours::run_bare(&elf::executable(&image), LIMIT).expect("an end").serial;
    let mut seen = 0;
    for record in record::parse(&stream).expect("records") {
        for (cause, value, pc) in record::trap_entries(&record) {
            if cause == ILLEGAL {
                let at = (pc - layout::BASE) as usize;
                let bits = u32::from_le_bytes(image[at..at + 4].try_into().expect("four bytes"));
                let bits = if bits & 3 == 3 { bits } else { bits & 0xffff };
                assert_eq!(value, u64::from(bits), "sequence {} at {pc:#x}", record[0]);
                seen += 1;
            }
        }
    }
    assert!(seen > 1000, "only {seen} illegal instructions");
}

/// In the middle of anything (a reservation, a page walk's traces, a loop), saving and going on
/// elsewhere changes nothing; nor does where a run is stopped.
#[test]
fn a_program_cut_anywhere_is_the_same() {
    let sequences: Vec<_> = (0..150).map(|index| generate::sequence(9, index)).collect();
    let elf = program(&sequences, Detail::Full);
    let whole = ours::run_bare(&elf, LIMIT).expect("an end");
    let mut rng = Rng::new(9);
    for engine in ours::ENGINES {
        for cut in [Cut::None, Cut::Restore, Cut::Thaw] {
            // What goes on elsewhere has the engine of every new machine.
            let at = |_| {
                let at = rng.below(whole.end.ticks());
                [(at, cut), (at, Cut::Engine(engine))]
            };
            let cuts: Vec<_> = (0..40).flat_map(at).collect();
            let pieces = ours::run_bare_cut(&elf, LIMIT, &cuts).expect("an end");
            assert!(pieces == whole, "{engine:?}, {cut:?} at {cuts:?}");
        }
    }
}
