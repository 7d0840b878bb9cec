//! What is found in what made-up recordings showed; searches that replay are tested with machines.

use std::cell::Cell;

use stackvm_machine::Output;

use super::*;
use crate::ask::Case;
use crate::journal::Journal;
use crate::log::UNIT_TICKS;
use crate::screen::Screens;
use crate::testing::{self, Folder, Random};

fn units(n: u64) -> Instant {
    Instant::from_ticks(n * UNIT_TICKS)
}

/// Whoever may see the past from an instant on finds what a screen showed then and what was
/// printed later, but nothing that was gone.
#[test]
fn what_was_shown_then_or_later_is_found() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let mut print = |at, console, text: &str| {
        journal.output(units(at), &Output::Console { console, bytes: text.into() }).unwrap();
    };
    let (shell, log) = (ConsoleId::Hvc(0), ConsoleId::Serial);
    print(1100, shell, "gone one\r\n\x1b[2J\x1b[Hleft one\r\n# ec");
    print(1150, log, "log one\r\n");
    print(1200, shell, "ho one\r\n\x1b[31mo\x1b[0mne\r\n# ");
    print(1300, log, "log two\r\n");
    journal.reach(units(1400)).unwrap();
    journal.cut_track().unwrap();
    let timeline = journal.timeline().unwrap();
    let check = |from, text: &str, expected: &[(u64, &str)]| {
        let pattern = Pattern::new(text, Case::Ignored).unwrap();
        let mut found = Vec::new();
        let mut visit = |hit: Hit| {
            found.push((hit.at, hit.line));
            true
        };
        shown(&timeline, BranchId::TRUNK, units(from), &pattern, &mut visit).unwrap();
        let expected = expected.iter().map(|(at, line)| (units(*at), (*line).to_owned()));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{text} from {from}");
    };
    let later = [(1200, "# echo one"), (1200, "one"), (1300, "log two")];
    check(
        0,
        "one",
        &[(1100, "gone one"), (1100, "left one"), (1150, "log one"), later[0], later[1]],
    );
    check(1100, "one", &[(1100, "left one"), (1150, "log one"), later[0], later[1]]);
    check(1100, "gone", &[]);
    // A line that was begun before is whole.
    check(1150, "# echo", &[later[0]]);
    check(1150, "log", &[(1150, "log one"), later[2]]);
    check(1300, "# echo", &[(1300, "# echo one")]);
    check(1300, "LOG", &[(1300, "log one"), later[2]]);
    check(9999, "two", &[(9999, "log two")]);
}

#[test]
fn a_search_can_be_stopped() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let bytes = "x\r\n".repeat(9).into();
    journal.output(units(1100), &Output::Console { console: ConsoleId::Serial, bytes }).unwrap();
    journal.reach(units(1400)).unwrap();
    journal.cut_track().unwrap();
    let timeline = journal.timeline().unwrap();
    for from in [0, 1100] {
        let mut found = 0;
        let pattern = Pattern::new("x", Case::Matters).unwrap();
        let mut visit = |_| {
            found += 1;
            found < 3
        };
        shown(&timeline, BranchId::TRUNK, units(from), &pattern, &mut visit).unwrap();
        assert_eq!(found, 3);
    }
}

/// A journal in which two terminals print parts of lines, with keyframes anywhere between them.
fn printed_at_random(folder: &Folder, random: &mut Random) -> Journal {
    const PARTS: [&[u8]; 12] = [
        b"err",
        b"or ",
        b"Error",
        b"x",
        b"\r\n",
        b"\n",
        b"\r",
        b"\x08",
        b"\x1b[31m",
        b"\xc3",
        b"\xbc",
        &[b'l'; 99],
    ];
    let mut journal = testing::journal(&folder.join("a"));
    let mut screens = Screens::new();
    for number in 0..400 {
        let at = units(1100 + number);
        if random.below(20) == 0 {
            journal.reach(at).unwrap();
            let (pack, derived) = (journal.new_pack_path(), screens.derived());
            let mut keyframe = testing::keyframe_showing(&pack, BranchId::TRUNK, at, 9, &derived);
            keyframe.track_bytes = journal.cut_track().unwrap();
            journal.add_keyframe(&keyframe, &pack).unwrap();
        } else {
            let console = if random.below(3) == 0 { ConsoleId::Serial } else { ConsoleId::Hvc(0) };
            let bytes = PARTS[random.below(PARTS.len() as u64) as usize].into();
            let output = Output::Console { console, bytes };
            screens.output(&output);
            journal.output(at, &output).unwrap();
        }
    }
    journal.cut_track().unwrap();
    journal
}

/// Keyframe by keyframe from the end back, the same lines are found as from the beginning on.
#[test]
fn what_is_found_last_is_the_end_of_all_that_is_found() {
    for seed in 0..40 {
        let (folder, mut random) = (Folder::new(), Random::new(seed));
        let timeline = printed_at_random(&folder, &mut random).timeline().unwrap();
        assert!(timeline.keyframes_of(BranchId::TRUNK).len() > 5);
        let pattern = Pattern::new(["err", "or", "x", "\u{fc}"][seed as usize % 4], Case::Ignored);
        let pattern = pattern.unwrap();
        for from in [0, 1101, 1250, 1499, 1600] {
            let mut all = Vec::new();
            let mut visit = |hit: Hit| {
                all.push((hit.console, hit.at, hit.line));
                true
            };
            shown(&timeline, BranchId::TRUNK, units(from), &pattern, &mut visit).unwrap();
            for hits_max in [1, 3, 1000] {
                let found = last_shown(
                    &timeline,
                    BranchId::TRUNK,
                    units(from),
                    &pattern,
                    hits_max,
                    &|| true,
                );
                let found = found.unwrap().unwrap().into_iter();
                let found: Vec<_> = found.map(|hit| (hit.console, hit.at, hit.line)).collect();
                assert_eq!(found.len(), all.len().min(hits_max));
                for console in [ConsoleId::Serial, ConsoleId::Hvc(0)] {
                    let of = |hits: &[(ConsoleId, Instant, String)]| -> Vec<_> {
                        hits.iter().filter(|hit| hit.0 == console).cloned().collect()
                    };
                    assert!(
                        of(&all).ends_with(&of(&found)),
                        "{hits_max} from {from} of seed {seed}: {found:?} is no end of {all:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_search_that_nobody_waits_for_is_given_up() {
    let folder = Folder::new();
    let timeline = printed_at_random(&folder, &mut Random::new(1)).timeline().unwrap();
    let pattern = Pattern::new("x", Case::Matters).unwrap();
    let asked = Cell::new(0);
    let goes_on = || {
        asked.set(asked.get() + 1);
        asked.get() < 10
    };
    let from = Instant::default();
    let found = last_shown(&timeline, BranchId::TRUNK, from, &pattern, 100, &goes_on).unwrap();
    assert_eq!(found, None);
    assert!(asked.get() < 20, "it went on after it was told not to");
}
