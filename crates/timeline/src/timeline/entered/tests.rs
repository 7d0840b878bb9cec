//! What was entered in made-up recordings.

use stackvm_machine::Output;

use super::*;
use crate::journal::Journal;
use crate::log::UNIT_TICKS;
use crate::testing::{self, Folder};

const SHELL: ConsoleId = ConsoleId::Hvc(0);
const OTHER: ConsoleId = ConsoleId::Hvc(1);

fn units(n: u64) -> Instant {
    Instant::from_ticks(n * UNIT_TICKS)
}

/// Somebody types, or a terminal is written to.
enum Happens {
    Typed(ConsoleId, &'static str),
    Shown(ConsoleId, &'static str),
}
use Happens::{Shown, Typed};

fn happen(journal: &mut Journal, happens: &[Happens]) {
    let ada = journal.actor("Ada").unwrap();
    for (number, happens) in happens.iter().enumerate() {
        let at = units(1100 + number as u64);
        match happens {
            Typed(console, keys) => {
                let input = Input::Console { console: *console, bytes: (*keys).into() };
                journal.append(&Entry { at, actor: ada, event: Event::Input(input) }).unwrap();
            }
            Shown(console, text) => {
                let output = Output::Console { console: *console, bytes: (*text).into() };
                journal.output(at, &output).unwrap();
            }
        }
    }
    journal.cut_track().unwrap();
}

/// Terminals, lines and when they were entered, in order.
fn check(happens: &[Happens], expected: &[(u64, ConsoleId, &str)]) {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    happen(&mut journal, happens);
    let timeline = journal.timeline().unwrap();
    let all = timeline.entered(BranchId::TRUNK, Instant::default(), 10).unwrap();
    let all: Vec<_> = all.iter().map(|it| (it.at, it.console, it.line.as_str())).collect();
    let expected = expected.iter().map(|(at, console, line)| (units(1100 + at), *console, *line));
    assert_eq!(all, expected.collect::<Vec<_>>());
}

#[test]
fn a_line_is_what_the_terminal_showed() {
    check(&[], &[]);
    let echoed = [Shown(SHELL, "# "), Typed(SHELL, "l"), Shown(SHELL, "l"), Typed(SHELL, "\r")];
    check(&echoed, &[]);
    let ended = [
        Shown(SHELL, "# "),
        Typed(SHELL, "ls"),
        // A character was taken back.
        Shown(SHELL, "lx\x08 \x08s"),
        Typed(SHELL, "\r"),
        Shown(SHELL, "\r\nbin\r\n# "),
    ];
    check(&ended, &[(3, SHELL, "# ls")]);
    // A whole line at once, whose echo comes behind it.
    let pasted = [
        Shown(SHELL, "# "),
        Typed(SHELL, "one\ntwo\n"),
        Shown(SHELL, "one\r\n1\r\n# two\r\n2\r\n# "),
    ];
    check(&pasted, &[(1, SHELL, "# one")]);
}

#[test]
fn what_is_not_shown_is_in_no_line() {
    let password =
        [Shown(SHELL, "Password: "), Typed(SHELL, "secret\r"), Shown(SHELL, "\r\nok\r\n")];
    check(&password, &[(1, SHELL, "Password:")]);
}

#[test]
fn terminals_are_told_apart() {
    let happens = [
        Shown(SHELL, "a# "),
        Shown(OTHER, "b# "),
        Typed(SHELL, "\r"),
        Shown(OTHER, "noise\r\n"),
        Shown(SHELL, "\r\n"),
        Typed(OTHER, "\r"),
        Shown(OTHER, "\r\n"),
    ];
    check(&happens, &[(2, SHELL, "a#")]);
}

#[test]
fn an_editors_enters_are_not_lines() {
    let happens = [
        Typed(SHELL, "\r"),
        Shown(SHELL, "\x1b[2;1H"),
        Typed(SHELL, ":q\r"),
        Shown(SHELL, "\x1b[24;1H:q\r\n"),
    ];
    check(&happens, &[(2, SHELL, ":q")]);
}

#[test]
fn a_line_that_is_longer_than_the_terminal_is_one() {
    const LONG: &str = "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789";
    let happens = [Shown(SHELL, LONG), Typed(SHELL, "\r"), Shown(SHELL, "\r\n")];
    check(&happens, &[(1, SHELL, LONG)]);
}

#[test]
fn the_last_ones_are_those_that_count() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let happens: Vec<Happens> = ["1", "2", "3", "4"]
        .into_iter()
        .flat_map(|text| [Shown(SHELL, text), Typed(SHELL, "\r"), Shown(SHELL, "\r\n")])
        .collect();
    happen(&mut journal, &happens);
    let timeline = journal.timeline().unwrap();
    let lines = |from: u64, max| -> Vec<String> {
        let entered = timeline.entered(BranchId::TRUNK, units(from), max).unwrap();
        assert!(entered.iter().all(|it| timeline.actor(it.actor) == "Ada"));
        entered.into_iter().map(|it| it.line).collect()
    };
    assert_eq!(lines(0, 2), ["3", "4"]);
    assert_eq!(lines(1105, 9), ["3", "4"]);
    assert_eq!(lines(0, 9), ["1", "2", "3", "4"]);
    assert_eq!(lines(2000, 9), [""; 0]);
}
