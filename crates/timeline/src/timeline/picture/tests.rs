//! What is shown and counted of made-up recordings.

use stackvm_machine::Output;

use super::*;
use crate::log::UNIT_TICKS;
use crate::testing::{self, Folder, key};

fn units(n: u64) -> Instant {
    Instant::from_ticks(n * UNIT_TICKS)
}

fn output(console: ConsoleId, text: &str) -> Output {
    Output::Console { console, bytes: text.into() }
}

const SHELL: ConsoleId = ConsoleId::Hvc(0);

#[test]
fn a_picture_is_what_was_written_until_then() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    journal.output(units(1100), &output(SHELL, "one\r\n")).unwrap();
    journal.output(units(1200), &output(ConsoleId::Serial, "log")).unwrap();
    journal.output(units(1300), &output(SHELL, "two")).unwrap();
    journal.cut_track().unwrap();
    journal.output(units(1400), &output(SHELL, "\x1b[2J\x1b[Hthree")).unwrap();
    journal.cut_track().unwrap();
    let timeline = journal.timeline().unwrap();
    let check = |console, at, expected: &[&str]| {
        let screen = timeline.picture(BranchId::TRUNK, console, units(at)).unwrap();
        let text = screen.text();
        let count = text.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
        assert_eq!(text[..count], *expected, "{console:?} at {at}");
    };
    check(SHELL, 0, &[]);
    check(SHELL, 1099, &[]);
    check(SHELL, 1100, &["one"]);
    check(SHELL, 1299, &["one"]);
    check(SHELL, 1300, &["one", "two"]);
    check(SHELL, 1400, &["three"]);
    check(SHELL, u64::MAX / UNIT_TICKS, &["three"]);
    check(ConsoleId::Serial, 1300, &["log"]);
    check(ConsoleId::Hvc(7), 1300, &[]);
}

/// From a keyframe on, its picture is what is drawn on; the track before it is not read.
#[test]
fn a_picture_begins_with_the_keyframe_before() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    journal.output(units(1100), &output(SHELL, "before")).unwrap();
    journal.reach(units(1200)).unwrap();
    let pack = journal.new_pack_path();
    let mut keyframe = testing::keyframe(&pack, BranchId::TRUNK, units(1200), 9);
    keyframe.track_bytes = journal.cut_track().unwrap();
    journal.add_keyframe(&keyframe, &pack).unwrap();
    journal.output(units(1300), &output(SHELL, "behind")).unwrap();
    journal.cut_track().unwrap();
    let timeline = journal.timeline().unwrap();
    let first_line =
        |at| timeline.picture(BranchId::TRUNK, SHELL, units(at)).unwrap().text()[0].clone();
    assert_eq!(first_line(1199), "before");
    // The made-up keyframe has seen nothing.
    assert_eq!(first_line(1200), "");
    assert_eq!(first_line(1300), "behind");
}

#[test]
fn bins_count_what_happened_in_them() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let ada = journal.actor("Ada").unwrap();
    let step = STEP_MIN.get().div_ceil(UNIT_TICKS);
    let typed = |at| Entry { actor: ada, ..key(at, b'k') };
    for at in [20 * step, 20 * step + 1, 30 * step] {
        journal.append(&typed(at)).unwrap();
    }
    journal.append(&Entry { actor: ada, ..key(30 * step, b'\r') }).unwrap();
    // What the host types is nobody's.
    journal.append(&key(30 * step + 1, b'h')).unwrap();
    journal.output(units(30 * step + 2), &output(SHELL, "12345")).unwrap();
    journal.cut_track().unwrap();
    journal.reach(units(90 * step)).unwrap();
    let timeline = journal.timeline().unwrap();
    let activity = |from| timeline.activity(BranchId::TRUNK, units(from)).unwrap();
    let bin = |at, typed_bytes, output_bytes| Bin {
        at: Instant::from_ticks(at * STEP_MIN.get()),
        output_bytes,
        typed_bytes,
        typist: Some(ada),
    };
    let all = activity(0);
    assert_eq!((all.begin, all.end, all.step), (units(1000), units(90 * step), STEP_MIN));
    assert_eq!(all.bins, [bin(20, 2, 0), bin(30, 2, 5)]);
    assert_eq!(all.entered, [units(30 * step)]);
    let late = activity(20 * step + 1);
    assert_eq!(late.begin, units(20 * step + 1));
    assert_eq!(late.bins, [bin(20, 1, 0), bin(30, 2, 5)]);
    assert_eq!((activity(90 * step).bins, activity(90 * step).entered), (vec![], vec![]));
    // Beyond the end there is nothing, and no time.
    let beyond = activity(91 * step);
    assert_eq!((beyond.begin, beyond.end), (units(91 * step), units(91 * step)));
}

#[test]
fn many_bins_become_wider_ones() {
    let mut bins = Bins { step: STEP_MIN, bins: BTreeMap::new() };
    let instants = 5 * BINS_MAX as u64;
    for n in 0..instants {
        bins.at(Instant::from_ticks(n * STEP_MIN.get())).output_bytes += n;
    }
    assert_eq!(bins.step.get(), 8 * STEP_MIN.get());
    let bins = bins.in_order();
    assert!(bins.len() <= BINS_MAX);
    assert_eq!(bins.iter().map(|bin| bin.output_bytes).sum::<u64>(), (0..instants).sum::<u64>());
    assert!(bins.is_sorted_by_key(|bin| bin.at));
}
