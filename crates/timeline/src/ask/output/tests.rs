//! What is found in what made-up recordings showed; searches that replay are tested with machines.

use super::*;
use crate::ask::Case;
use crate::log::UNIT_TICKS;
use crate::testing::{self, Folder};

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
