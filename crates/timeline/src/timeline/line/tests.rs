//! When lines of made-up recordings were printed.

use stackvm_machine::Output;

use super::*;
use crate::log::UNIT_TICKS;
use crate::screen::{Derived, Screens};
use crate::testing::{self, Folder};

const SHELL: ConsoleId = ConsoleId::Hvc(0);

fn units(n: u64) -> Instant {
    Instant::from_ticks(n * UNIT_TICKS)
}

/// Something is printed, or a keyframe is kept.
enum Happens {
    Shown(&'static str),
    Kept,
}
use Happens::{Kept, Shown};

/// One thing after the other; what the rows show at the end, and which of these wrote them.
fn check(happens: &[Happens], expected: &[(&str, Option<u64>)]) {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let mut screens = Screens::new();
    for (number, happens) in happens.iter().enumerate() {
        let at = units(1100 + number as u64);
        match happens {
            Shown(text) => {
                let output = Output::Console { console: SHELL, bytes: (*text).into() };
                screens.output(&output);
                journal.output(at, &output).unwrap();
            }
            Kept => {
                journal.reach(at).unwrap();
                let pack = journal.new_pack_path();
                let derived: Derived = screens.derived();
                let mut keyframe =
                    testing::keyframe_showing(&pack, BranchId::TRUNK, at, 9, &derived);
                keyframe.track_bytes = journal.cut_track().unwrap();
                journal.add_keyframe(&keyframe, &pack).unwrap();
            }
        }
    }
    journal.cut_track().unwrap();
    let timeline = journal.timeline().unwrap();
    for (row, (text, by)) in expected.iter().enumerate() {
        let end = units(1100 + happens.len() as u64);
        let line = timeline.line(BranchId::TRUNK, SHELL, end, row).unwrap().unwrap();
        let written = by.map(|number| units(1100 + number));
        assert_eq!((line.text.as_str(), line.written), (*text, written), "row {row}");
    }
}

#[test]
fn a_line_was_printed_when_it_was_last_written() {
    check(&[Shown("one\r\n"), Shown("tw"), Shown("o")], &[("one", Some(0)), ("two", Some(2))]);
    let above = [Shown("one\r\n"), Shown("two"), Shown("\x1b[H1")];
    check(&above, &[("1ne", Some(2)), ("two", Some(1))]);
}

#[test]
fn it_is_found_where_it_has_moved_to() {
    let scrolled = [Shown("one\r\ntwo\r\n"), Shown("three"), Shown("\x1b[24;1H\n")];
    check(&scrolled, &[("two", Some(0)), ("three", Some(1))]);
}

#[test]
fn keyframes_hide_nothing() {
    let kept = [Shown("a\r\n"), Kept, Kept, Shown("b\r\n"), Kept, Kept, Kept, Shown("c"), Kept];
    check(&kept, &[("a", Some(0)), ("b", Some(3)), ("c", Some(7))]);
}

#[test]
fn what_a_full_screen_program_draws_has_no_instant() {
    check(&[Shown("before"), Shown("\x1b[?1049h\x1b[Hvi")], &[("vi", None)]);
}

#[test]
fn there_is_nothing_beyond_the_screen() {
    let folder = Folder::new();
    let journal = testing::journal(&folder.join("a"));
    let timeline = journal.timeline().unwrap();
    assert_eq!(timeline.line(BranchId::TRUNK, SHELL, units(1000), 24).unwrap(), None);
}
