//! Journals whose beginning was folded into a keyframe.

use stackvm_machine::Output;

use super::super::files::faults;
use super::crashes::copy_of;
use super::*;
use crate::vmcast;

const SHELL: ConsoleId = ConsoleId::Hvc(0);

/// An entry, an output and a mark in each of so many stretches, which begin with a keyframe each.
fn grow(journal: &mut Journal, stretches: std::ops::Range<u64>) {
    for n in stretches {
        let at = 2000 + n * 100;
        journal.reach(units(at)).unwrap();
        let pack = journal.new_pack_path();
        let mut keyframe = testing::keyframe(&pack, BranchId::TRUNK, units(at), n as u8);
        keyframe.entries = journal.tip().entries;
        keyframe.track_bytes = journal.cut_track().unwrap();
        journal.add_keyframe(&keyframe, &pack).unwrap();
        journal.append(&key(at + 10, b'a' + n as u8)).unwrap();
        let bytes = format!("{n}\r\n").into_bytes();
        journal.output(units(at + 20), &Output::Console { console: SHELL, bytes }).unwrap();
        let words = Words::Mark(format!("mark {n}"));
        let (branch, author) = (BranchId::TRUNK, "anna".to_owned());
        journal.note(&Note { branch, at: units(at + 30), author, unix_ms: 9, words }).unwrap();
    }
    journal.cut_track().unwrap();
    journal.sync().unwrap();
}

/// What is there of stretches `first..=last` and nothing else.
fn check(timeline: &Timeline, first: u64, last: u64) {
    let begin = units(2000 + first * 100);
    assert_eq!(timeline.begin(BranchId::TRUNK), begin);
    let keys: Vec<Entry> = (first..=last).map(|n| key(2010 + n * 100, b'a' + n as u8)).collect();
    assert_eq!(entries(timeline, BranchId::TRUNK), keys);
    assert_eq!(timeline.keyframes().len() as u64, last - first + 1);
    assert_eq!(timeline.notes().len() as u64, last - first + 1);
    timeline.verify_chunks().unwrap();
    let printed: Vec<TrackItem> =
        timeline.track(BranchId::TRUNK).collect::<Result<_, _>>().unwrap();
    assert_eq!(printed.len() as u64, last - first + 1);
    let activity = timeline.activity(BranchId::TRUNK, Instant::ZERO).unwrap();
    assert_eq!(activity.begin, begin);
    let at = units(2020 + last * 100);
    let screen = timeline.picture(BranchId::TRUNK, SHELL, at).unwrap();
    assert_eq!(screen.text()[0], last.to_string());
}

#[test]
fn a_folded_journal_begins_with_a_keyframe() {
    let folder = Folder::new();
    let path = folder.join("a");
    let mut journal = testing::journal(&path);
    grow(&mut journal, 0..5);
    let tip = journal.tip();
    assert!(journal.fold(units(2300)).unwrap());
    assert!(!journal.fold(units(2300)).unwrap(), "it begins there");
    assert!(!journal.fold(units(2100)).unwrap(), "that is gone");
    // Entries keep their numbers.
    assert_eq!(journal.tip(), tip);
    check(&journal.timeline().unwrap(), 3, 4);
    check(&Timeline::open(&path).unwrap(), 3, 4);

    drop(journal);
    let mut journal = Journal::open(&path, "another test").unwrap();
    assert_eq!(journal.tip(), tip);
    // What was printed after the last keyframe is made again by a replay.
    let output = Output::Console { console: SHELL, bytes: b"4\r\n".to_vec() };
    journal.output(units(2420), &output).unwrap();
    grow(&mut journal, 5..8);
    check(&Timeline::open(&path).unwrap(), 3, 7);
    assert!(journal.fold(units(2600)).unwrap());
    journal.thin(&|_| false).unwrap();
    check(&Timeline::open(&path).unwrap(), 6, 7);
}

#[test]
fn a_file_of_a_folded_journal_has_nothing_of_what_was() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    grow(&mut journal, 0..5);
    journal.fold(units(2200)).unwrap();
    let file = folder.join("a.vmcast");
    let timeline = journal.timeline().unwrap();
    vmcast::write(&timeline, &file, vmcast::Keyframes::All, &mut |_, _| true).unwrap();
    let written = Timeline::open(&file).unwrap();
    check(&written, 2, 4);
    assert_eq!(written.branch(BranchId::TRUNK).entries, 3);
}

#[test]
fn its_space_is_given_back() {
    let folder = Folder::new();
    let path = folder.join("a");
    let mut journal = testing::journal(&path);
    // Several blocks of log and of track.
    let mut written = units(1000);
    let mut random = testing::Random::new(1);
    journal.actor("a").unwrap();
    journal.actor("b").unwrap();
    let mut fill = |journal: &mut Journal| {
        for _ in 0..1500 {
            let entry = random.entry(written);
            written = entry.at;
            journal.append(&entry).unwrap();
        }
        written
    };
    let at = fill(&mut journal);
    let pack = journal.new_pack_path();
    let mut keyframe = testing::keyframe(&pack, BranchId::TRUNK, at, 9);
    keyframe.entries = journal.tip().entries;
    keyframe.track_bytes = journal.cut_track().unwrap();
    journal.add_keyframe(&keyframe, &pack).unwrap();
    fill(&mut journal);
    journal.sync().unwrap();
    let all = entries(&journal.timeline().unwrap(), BranchId::TRUNK);
    let before = journal.packs_bytes();
    journal.fold(at).unwrap();
    assert!(journal.packs_bytes() < before, "{} of {before}", journal.packs_bytes());
    let timeline = Timeline::open(&path).unwrap();
    assert_eq!(entries(&timeline, BranchId::TRUNK), all[1500..]);
    assert!(timeline.find(BranchId::TRUNK, &crate::position::When::Entry(1500)).is_err());
    let found = timeline.find(BranchId::TRUNK, &crate::position::When::Entry(1501)).unwrap();
    assert_eq!(found.at, all[1500].at);
}

/// Whatever fails, and whenever: it begins where it did, or where it is to begin, and folding it again
/// ends what was begun.
#[test]
fn a_crash_while_folding_loses_nothing_that_is_kept() {
    let folder = Folder::new();
    let template = folder.join("template");
    let mut journal = testing::journal(&template);
    grow(&mut journal, 0..5);
    drop(journal);
    let mut crashes = 0;
    for operation in 0.. {
        let path = folder.join(&format!("fold-{operation}"));
        copy_of(&template, &path);
        let mut journal = Journal::open(&path, "a test").unwrap();
        grow(&mut journal, 5..7);
        faults::fail_after(operation, u64::MAX, operation as usize % 7);
        let result = journal.fold(units(2500));
        faults::heal();
        let begins = |timeline: &Timeline| {
            let begin = timeline.begin(BranchId::TRUNK);
            let case = format!("operation {operation}: {begin}");
            assert!([units(1000), units(2500)].contains(&begin), "{case}");
            let keys = entries(timeline, BranchId::TRUNK);
            let expected = if begin == units(2500) { 2 } else { 7 };
            assert_eq!(keys.len(), expected, "{case}");
            timeline.verify_chunks().unwrap();
        };
        begins(&journal.timeline().unwrap());
        begins(&Timeline::open(&path).unwrap());
        if operation % 2 == 0 {
            drop(journal);
            journal = Journal::open(&path, "after the crash").unwrap();
            begins(&journal.timeline().unwrap());
        }
        journal.fold(units(2500)).unwrap();
        grow(&mut journal, 7..8);
        begins_with_the_sixth(&Timeline::open(&path).unwrap());
        drop(journal);
        fs::remove_dir_all(&path).unwrap();
        if result.is_ok() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 10, "only {crashes} operations");
}

fn begins_with_the_sixth(timeline: &Timeline) {
    assert_eq!(timeline.begin(BranchId::TRUNK), units(2500));
    assert_eq!(entries(timeline, BranchId::TRUNK).len(), 3);
    timeline.verify_chunks().unwrap();
}
