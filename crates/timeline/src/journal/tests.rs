//! Journals: what was acknowledged is there, whatever fails and whenever.

mod crashes;
mod extended;
mod folded;

use std::fs;

use super::*;
use crate::branch::{BranchKind, ForkPoint, Origin};
use crate::log::UNIT_TICKS;
use crate::testing::{self, Folder, key};

fn units(n: u64) -> Instant {
    Instant::from_ticks(n * UNIT_TICKS)
}

fn entries(timeline: &Timeline, branch: BranchId) -> Vec<Entry> {
    timeline.entries(branch, 0).collect::<Result<_, _>>().expect("entries")
}

fn fork_at(tip: Tip) -> Origin {
    Origin::Fork(ForkPoint { branch: tip.branch, at: tip.reached, entries: tip.entries })
}

fn begin(journal: &mut Journal, origin: Origin, at: Instant, name: &str) -> BranchId {
    journal.begin_branch(origin, at, name, "somebody", BranchKind::Exact, 5).expect("a branch")
}

#[test]
fn what_was_written_is_there_again() {
    let folder = Folder::new();
    let path = folder.join("a");
    let mut journal = testing::journal(&path);
    let anna = journal.actor("anna").unwrap();
    assert_eq!(journal.actor("anna").unwrap(), anna);
    let typed = Entry { actor: anna, ..key(2000, b'l') };
    journal.append(&typed).unwrap();
    journal.append(&key(2000, b's')).unwrap();
    journal.reach(units(5000)).unwrap();
    let words = Words::Mark("here".to_owned());
    let note =
        Note { branch: BranchId::TRUNK, at: units(3000), author: "anna".into(), unix_ms: 9, words };
    journal.note(&note).unwrap();
    let origin = fork_at(journal.tip());
    let fork = begin(&mut journal, origin, units(5000), "other");
    journal.append(&key(6000, b'x')).unwrap();

    let check = |timeline: &Timeline| {
        assert_eq!(entries(timeline, BranchId::TRUNK), [typed.clone(), key(2000, b's')]);
        assert_eq!(entries(timeline, fork), [key(6000, b'x')]);
        assert_eq!(timeline.branch(BranchId::TRUNK).end, units(5000));
        assert_eq!(timeline.branch_named("other"), Some(fork));
        assert_eq!(timeline.actor(anna), "anna");
        assert_eq!(timeline.notes(), std::slice::from_ref(&note));
        assert_eq!(timeline.begin(fork), units(1000));
    };
    check(&journal.timeline().unwrap());
    check(&Timeline::open(&path).unwrap());
    drop(journal);
    let mut journal = Journal::open(&path, "another test").unwrap();
    assert_eq!(journal.tip(), Tip { branch: fork, entries: 1, reached: units(6000) });
    check(&journal.timeline().unwrap());
    journal.resume_branch(BranchId::TRUNK).unwrap();
    journal.append(&key(7000, b'y')).unwrap();
    let timeline = journal.timeline().unwrap();
    assert_eq!(entries(&timeline, BranchId::TRUNK)[2], key(7000, b'y'));
    journal.remove().unwrap();
    assert!(!path.exists());
}

#[test]
fn long_logs_are_read_while_they_are_written() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let mut random = testing::Random::new(1);
    let mut written: Vec<Entry> = Vec::new();
    journal.actor("a").unwrap();
    journal.actor("b").unwrap();
    for n in 0..1500 {
        let entry = random.entry(written.last().map_or(units(1000), |entry| entry.at));
        journal.append(&entry).unwrap();
        written.push(entry);
        if n % 300 == 0 {
            journal.sync_in_background();
            assert_eq!(entries(&journal.timeline().unwrap(), BranchId::TRUNK), written);
            let other = Timeline::open(journal.folder()).unwrap();
            assert_eq!(entries(&other, BranchId::TRUNK), written);
        }
    }
    journal.sync().unwrap();
    assert!(journal.is_synced());
    let timeline = journal.timeline().unwrap();
    let rest: Vec<_> = timeline.entries(BranchId::TRUNK, 1234).map(Result::unwrap).collect();
    assert_eq!(rest, written[1234..]);
    let path = journal.folder().to_owned();
    drop(journal);
    let journal = Journal::open(&path, "again").unwrap();
    assert_eq!(entries(&journal.timeline().unwrap(), BranchId::TRUNK), written);
}

#[test]
fn an_idle_journal_does_not_grow_and_a_typed_key_takes_few_bytes() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let size = |journal: &Journal| -> u64 {
        let files = fs::read_dir(journal.folder()).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum()
    };
    let before = size(&journal);
    for n in 0..2000 {
        journal.reach(units(1000 + n)).unwrap();
    }
    journal.sync().unwrap();
    assert_eq!(size(&journal), before, "an idle journal");
    // Ten keys a second, for a minute.
    for n in 0..600 {
        journal.append(&key(10_000 + n * 97_656, b'k')).unwrap();
    }
    let beside_payload = size(&journal) - before - 600;
    assert!(beside_payload <= 60 * 50, "{beside_payload} bytes in a minute");
}

#[test]
fn the_second_writer_is_told_who_has_it() {
    let folder = Folder::new();
    let path = folder.join("a");
    let journal = testing::journal(&path);
    let error = Journal::open(&path, "the second").expect_err("locked");
    assert!(error.to_string().ends_with("is being written by a test"), "{error}");
    let header = testing::header(&path);
    let first = journal.timeline().unwrap().keyframes()[0].clone();
    let error = Journal::create(&path, &header, &[], &first, "the third").expect_err("locked");
    assert!(matches!(error, JournalError::Locked { .. }), "{error}");
    drop(journal);
    Journal::open(&path, "the second").expect("free again");
    let error = Journal::create(&path, &header, &[], &first, "the third").expect_err("there");
    assert!(matches!(error, JournalError::Write { .. }), "{error}");
}

#[test]
fn the_track_goes_on_from_the_last_keyframe() {
    let folder = Folder::new();
    let path = folder.join("a");
    let mut journal = testing::journal(&path);
    let output = |text: &str| Output::Console { console: ConsoleId::Hvc(0), bytes: text.into() };
    journal.output(units(1100), &output("kept")).unwrap();
    let resize = Input::Resize { console: ConsoleId::Hvc(0), columns: 90, rows: 30 };
    journal.append(&Entry { event: Event::Input(resize), ..key(1200, 0) }).unwrap();
    let pack = journal.new_pack_path();
    let mut keyframe = testing::keyframe(&pack, BranchId::TRUNK, units(1200), 9);
    keyframe.track_bytes = journal.cut_track().unwrap();
    keyframe.entries = 1;
    journal.add_keyframe(&keyframe, &pack).unwrap();
    journal.output(units(1300), &output("made again")).unwrap();
    journal.cut_track().unwrap();
    let count = |timeline: Timeline| timeline.track(BranchId::TRUNK).map(Result::unwrap).count();
    assert_eq!(count(journal.timeline().unwrap()), 3);
    drop(journal);
    let mut journal = Journal::open(&path, "again").unwrap();
    assert_eq!(count(journal.timeline().unwrap()), 2);
    let origin = fork_at(journal.tip());
    begin(&mut journal, origin, units(1200), "b");
    journal.output(units(1300), &output("of the branch")).unwrap();
    journal.resume_branch(BranchId::TRUNK).unwrap();
    let timeline = journal.timeline().unwrap();
    assert_eq!(timeline.track(BranchId(1)).count(), 1);
    assert_eq!(count(timeline), 2);
}

#[test]
fn branches_are_named_and_deleted() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    let tip = journal.tip();
    let one = begin(&mut journal, fork_at(tip), tip.reached, "one");
    let origin = fork_at(journal.tip());
    let two = begin(&mut journal, origin, tip.reached, "two");
    let refused = |result: Result<(), JournalError>, expected: &str| {
        let error = result.expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(journal.rename_branch(two, "one"), "another branch");
    refused(journal.rename_branch(two, "a\nb"), "control characters");
    refused(journal.rename_branch(two, ""), "empty");
    refused(journal.delete_branch(one), "needed");
    refused(journal.delete_branch(BranchId::TRUNK), "needed");
    journal.rename_branch(two, "three").unwrap();
    journal.resume_branch(BranchId::TRUNK).unwrap();
    journal.delete_branch(one).unwrap();
    let timeline = Timeline::open(journal.folder()).unwrap();
    assert!(timeline.branch(two).deleted && timeline.branch_named("three").is_none());
    begin(&mut journal, fork_at(tip), tip.reached, "one");
}

#[test]
fn a_gap_without_its_first_keyframe_was_never_there() {
    let folder = Folder::new();
    let path = folder.join("a");
    let mut journal = testing::journal(&path);
    let gap = begin(&mut journal, Origin::Gap { after: BranchId::TRUNK }, units(9000), "later");
    drop(journal);
    let mut journal = Journal::open(&path, "again").unwrap();
    assert_eq!(journal.tip().branch, BranchId::TRUNK);
    assert_eq!(begin(&mut journal, Origin::Gap { after: BranchId::TRUNK }, units(9000), "x"), gap);
    let pack = journal.new_pack_path();
    let first = testing::keyframe(&pack, gap, units(9000), 4);
    journal.add_keyframe(&first, &pack).unwrap();
    journal.append(&key(9500, b'q')).unwrap();
    drop(journal);
    let timeline = Timeline::open(&path).unwrap();
    assert_eq!(timeline.begin(gap), units(9000));
    assert_eq!(timeline.first_keyframes().count(), 2);
}

#[test]
fn dropped_keyframes_take_their_chunks_with_them() {
    let folder = Folder::new();
    let path = folder.join("a");
    let mut journal = testing::journal(&path);
    for n in 2..10 {
        journal.reach(units(1000 * n)).unwrap();
        let pack = journal.new_pack_path();
        let keyframe = testing::keyframe(&pack, BranchId::TRUNK, units(1000 * n), n as u8);
        journal.add_keyframe(&keyframe, &pack).unwrap();
    }
    let before = journal.packs_bytes();
    let known = journal.chunks();
    let only_in_dropped = journal.timeline().unwrap().keyframes()[2].state.tree.root;
    assert!(known.contains(&only_in_dropped));
    journal.thin(&|keyframe| keyframe.at == units(5000)).unwrap();
    assert!(journal.packs_bytes() * 2 < before, "{} of {before}", journal.packs_bytes());
    let timeline = journal.timeline().unwrap();
    let kept: Vec<_> = timeline.keyframes().iter().map(|keyframe| keyframe.at).collect();
    assert_eq!(kept, [units(1000), units(5000), units(9000)]);
    assert!(!known.contains(&only_in_dropped), "chunks that are gone are not known");
    timeline.verify_chunks().unwrap();
    for tree in timeline.keyframes().iter().flat_map(trees) {
        stackvm_store::tree::visit_pages(&*timeline.chunks(), &tree, &mut |_, id| {
            timeline.chunks().get(id).map(|page| assert!(page.is_some()))
        })
        .unwrap();
    }
    let packs = fs::read_dir(&path)
        .unwrap()
        .filter(|file| file.as_ref().unwrap().file_name().to_str().unwrap().ends_with(".pack"));
    assert!(packs.count() <= 4);
    drop(journal);
    let mut journal = Journal::open(&path, "again").unwrap();
    journal.timeline().unwrap().verify_chunks().unwrap();
    journal.thin(&|_| false).unwrap();
    assert_eq!(journal.timeline().unwrap().keyframes().len(), 2);
    // A pack that leaves out what was there when it was begun and is gone now.
    let pack = journal.new_pack_path();
    let keyframe = testing::keyframe(&pack, BranchId::TRUNK, units(9000), 77);
    let bare = Keyframe { ram: timeline.keyframes()[1].ram, ..keyframe };
    journal.add_keyframe(&bare, &pack).expect_err("RAM that was dropped");
    assert_eq!(journal.timeline().unwrap().keyframes().len(), 2);
}

fn trees(keyframe: &Keyframe) -> Vec<stackvm_store::Tree> {
    crate::timeline::trees_of(keyframe)
}

#[test]
fn a_pack_that_is_not_what_it_should_be_is_not_taken() {
    let folder = Folder::new();
    let mut journal = testing::journal(&folder.join("a"));
    journal.reach(units(5000)).unwrap();
    let pack = journal.new_pack_path();
    let keyframe = testing::keyframe(&pack, BranchId::TRUNK, units(5000), 5);
    let sound = fs::read(&pack).unwrap();
    for at in [20, sound.len() / 3, sound.len() - 100] {
        let mut bytes = sound.clone();
        bytes[at] ^= 4;
        fs::write(&pack, &bytes).unwrap();
        journal.add_keyframe(&keyframe, &pack).expect_err("a flipped bit");
        assert_eq!(journal.timeline().unwrap().keyframes().len(), 1);
    }
    fs::write(&pack, &sound).unwrap();
    journal.add_keyframe(&keyframe, &pack).expect("sound again");
}
