//! Films of made-up recordings.

use stackvm_machine::Output;

use super::*;
use crate::journal::Journal;
use crate::log::UNIT_TICKS;
use crate::note::Note;
use crate::testing::{self, Folder, key};

const SHELL: ConsoleId = ConsoleId::Hvc(0);

fn units(n: u64) -> Instant {
    Instant::from_ticks(n * UNIT_TICKS)
}

fn print(journal: &mut Journal, at: u64, console: ConsoleId, text: &str) {
    journal.output(units(at), &Output::Console { console, bytes: text.into() }).unwrap();
}

fn input(at: u64, input: Input) -> Entry {
    Entry { event: Event::Input(input), ..key(at, 0) }
}

/// The lines of the trunk's film behind the header: seconds, code, data.
fn film(journal: &Journal) -> Vec<(f64, String, String)> {
    let timeline = journal.timeline().unwrap();
    let mut bytes = Vec::new();
    timeline.asciicast(BranchId::TRUNK, SHELL, "a \"title\"", &mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (header, events) = text.split_once('\n').unwrap();
    let header: serde_json::Value = serde_json::from_str(header).unwrap();
    assert_eq!((&header["version"], &header["title"]), (&3.into(), &"a \"title\"".into()));
    assert_eq!(header["term"], serde_json::json!({"cols": DEFAULT_SIZE.0, "rows": DEFAULT_SIZE.1}));
    assert_eq!(header["timestamp"], 1_767_225_600);
    events.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn what_was_done_stands_between_what_was_printed() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    // The first keyframe is at 1000 units; a unit is 1.024 µs.
    print(&mut journal, 1_001_000, SHELL, "$ ");
    print(&mut journal, 1_001_500, ConsoleId::Serial, "not here");
    // What a slice printed at its end was printed before what was put in there.
    print(&mut journal, 2_001_000, SHELL, "\x1b[1m");
    journal.append(&key(2_001_000, b's')).unwrap();
    journal
        .append(&input(2_001_000, Input::Resize { console: SHELL, columns: 9, rows: 3 }))
        .unwrap();
    let serial = Input::Resize { console: ConsoleId::Serial, columns: 8, rows: 2 };
    journal.append(&input(2_001_001, serial)).unwrap();
    journal.reach(units(2_002_000)).unwrap();
    let mark = |at, words| Note {
        branch: BranchId::TRUNK,
        at: units(at),
        author: "Ada".to_owned(),
        unix_ms: 0,
        words,
    };
    journal.note(&mark(2_001_000, Words::Mark("here".to_owned()))).unwrap();
    journal.note(&mark(2_001_000, Words::Comment("nowhere".to_owned()))).unwrap();
    print(&mut journal, 3_001_000, SHELL, "s\u{e9}");
    journal.cut_track().unwrap();
    journal.reach(units(4_001_000)).unwrap();
    let seen = film(&journal);
    let told = |code: &str, data: &str| (code.to_owned(), data.to_owned());
    let what: Vec<_> = seen.iter().map(|(_, code, data)| told(code, data)).collect();
    let expected = [
        told("o", "$ "),
        told("o", "\x1b[1m"),
        told("r", "9x3"),
        told("m", "here"),
        told("o", "s\u{e9}"),
    ];
    assert_eq!(what, expected, "nothing typed, nothing of other terminals");
    let intervals: Vec<f64> = seen.iter().map(|(interval, ..)| *interval).collect();
    assert_eq!(intervals, [1.024, 1.024, 0.0, 0.0, 1.024]);
}

/// Whoever may not replay has what is written, and no more.
#[test]
fn a_film_goes_as_far_as_the_track() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    journal.reach(units(4000)).unwrap();
    assert_eq!(film(&journal), []);
    print(&mut journal, 2000, SHELL, "one");
    journal.cut_track().unwrap();
    print(&mut journal, 3000, SHELL, "two");
    let texts =
        |journal: &Journal| film(journal).into_iter().map(|(.., text)| text).collect::<String>();
    assert_eq!(texts(&journal), "one");
    journal.cut_track().unwrap();
    assert_eq!(texts(&journal), "onetwo");
}

#[test]
fn a_sink_that_takes_no_more_is_said() {
    let folder = Folder::new();
    let journal = testing::journal(&folder.join("a"));
    let timeline = journal.timeline().unwrap();
    let mut full: &mut [u8] = &mut [0; 20];
    let film = timeline.asciicast(BranchId::TRUNK, SHELL, "t", &mut full);
    assert!(matches!(film, Err(FilmError::Write(_))), "{film:?}");
}
