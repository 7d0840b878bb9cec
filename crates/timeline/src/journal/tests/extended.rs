//! Journals that go on from a `.vmcast`.

use super::*;
use crate::vmcast::{self, Keyframes};

/// A `.vmcast` with a session of three keys and a keyframe.
fn vmcast(folder: &Folder) -> PathBuf {
    let mut journal = testing::journal(&folder.join("first"));
    let output = Output::Console { console: ConsoleId::Hvc(0), bytes: b"$ ".to_vec() };
    for n in 0..3 {
        journal.append(&key(2000 + n, b'a' + n as u8)).unwrap();
        journal.output(units(2000 + n), &output).unwrap();
    }
    let pack = journal.new_pack_path();
    let mut keyframe = testing::keyframe(&pack, BranchId::TRUNK, units(2002), 9);
    keyframe.track_bytes = journal.cut_track().unwrap();
    keyframe.entries = 3;
    journal.add_keyframe(&keyframe, &pack).unwrap();
    journal.output(units(2010), &output).unwrap();
    journal.cut_track().unwrap();
    journal.reach(units(3000)).unwrap();
    let path = folder.join("demo.vmcast");
    let timeline = journal.timeline().unwrap();
    vmcast::write(&timeline, &path, Keyframes::All, &mut |_, _| true).unwrap();
    path
}

#[test]
fn a_recording_goes_on_and_branches_leave_it() {
    let folder = Folder::new();
    let file = vmcast(&folder);
    let path = folder.join("demo.vmcast.journal");
    let mut journal = Journal::extend(&path, &file, "a test").unwrap();
    assert_eq!(journal.tip(), Tip { branch: BranchId::TRUNK, entries: 3, reached: units(3000) });
    let fork = ForkPoint { branch: BranchId::TRUNK, at: units(2001), entries: 2 };
    let branch = begin(&mut journal, Origin::Fork(fork), units(2001), "branch-1");
    journal.append(&key(2500, b'x')).unwrap();
    journal.resume_branch(BranchId::TRUNK).unwrap();
    journal.append(&key(4000, b'y')).unwrap();
    let typed = |timeline: &Timeline, branch| -> Vec<u8> {
        let entries = entries(timeline, branch).into_iter();
        let keys = entries.filter_map(|entry| match entry.event {
            Event::Input(Input::Console { bytes, .. }) => Some(bytes[0]),
            _ => None,
        });
        keys.collect()
    };
    let check = |timeline: &Timeline| {
        assert_eq!(typed(timeline, BranchId::TRUNK), b"abcy");
        assert_eq!(typed(timeline, branch), b"x");
        assert_eq!(timeline.inherited_entries(branch), 2);
        assert_eq!(timeline.keyframes().len(), 2);
        // What was written after the last keyframe is made again by a replay from there.
        assert_eq!(timeline.track(BranchId::TRUNK).count(), 3);
        timeline.verify_chunks().unwrap();
    };
    check(&journal.timeline().unwrap());
    drop(journal);
    let journal = Journal::open(&path, "again").unwrap();
    check(&journal.timeline().unwrap());
    // And all of it into the file that it goes on from.
    let timeline = journal.timeline().unwrap();
    vmcast::write(&timeline, &file, Keyframes::All, &mut |_, _| true).unwrap();
    check(&Timeline::open(&file).unwrap());
}

#[test]
fn a_journal_moves_together_with_its_base() {
    let folder = Folder::new();
    let file = vmcast(&folder);
    let path = folder.join("demo.vmcast.journal");
    drop(Journal::extend(&path, &file, "a test").unwrap());
    let elsewhere = folder.join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(&file, elsewhere.join("demo.vmcast")).unwrap();
    fs::rename(&path, elsewhere.join("demo.vmcast.journal")).unwrap();
    Journal::open(&elsewhere.join("demo.vmcast.journal"), "a test").unwrap();
}

#[test]
fn a_base_that_has_changed_is_noticed() {
    let folder = Folder::new();
    let file = vmcast(&folder);
    let path = folder.join("demo.vmcast.journal");
    drop(Journal::extend(&path, &file, "a test").unwrap());
    let timeline = Timeline::open(&folder.join("first")).unwrap();
    vmcast::write(&timeline, &file, Keyframes::First, &mut |_, _| true).unwrap();
    let error = Journal::open(&path, "again").expect_err("another file").to_string();
    assert!(error.contains("demo.vmcast, which has changed"), "{error}");
}
