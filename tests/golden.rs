//! Recordings of the project's own guests, made by an earlier build, keep playing: to the digests
//! that they had then. With `STACKVM_MAKE_GOLDEN=1` they are made anew, which only a new profile
//! or determinism version may need.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use stackvm_machine::devices::disk::MemorySource;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{
    ConsoleId, DiskConfig, Firmware, Input, Instant, MachineConfig, NicId, Stop,
};
use stackvm_tests::guest::{self, Level};
use stackvm_tests::recording::Recording;
use stackvm_timeline::replay::{Reached, Replay};
use stackvm_timeline::vmcast::{self, Keyframes};
use stackvm_timeline::{BranchId, Event, Position, Timeline};

const MS: u64 = 1_000_000;
/// A golden recording is small enough for the repository.
const BYTES_MAX: u64 = 100_000;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// One recording: the guest, its harts, and what happens to it.
struct Golden {
    name: &'static str,
    guest: &'static str,
    harts: u32,
    script: fn(&mut Recording),
}

const ALL: [Golden; 4] = [
    Golden { name: "echo", guest: "echo", harts: 1, script: type_slowly },
    Golden { name: "worker", guest: "worker", harts: 4, script: work_and_branch },
    Golden { name: "blk", guest: "blk", harts: 1, script: run_out },
    Golden { name: "ipi", guest: "ipi", harts: 4, script: run_out },
];

fn run_out(recording: &mut Recording) {
    let stop = recording.run(Instant::from_ns(2000 * MS));
    assert_eq!(stop, Stop::PowerOff { code: 0 });
}

fn type_slowly(recording: &mut Recording) {
    for (at, text) in [(1, "gol"), (2, "den"), (30, " q")] {
        recording.run(Instant::from_ns(at * MS));
        recording.serial(text);
    }
    run_out(recording);
}

fn work_and_branch(recording: &mut Recording) {
    recording.run(Instant::from_ns(MS));
    recording.serial("a");
    recording.put(Event::Input(Input::Rate { ticks: 4 }));
    recording.put(Event::Input(Input::Frame { nic: NicId(0), bytes: vec![7; 60] }));
    recording.run(Instant::from_ns(9 * MS));
    recording.put(Event::Input(Input::Resize {
        console: ConsoleId::Hvc(0),
        columns: 90,
        rows: 30,
    }));
    recording.put(Event::Input(Input::Identity { seed: 3, rtc_ns: 5 }));
    recording.serial("b");
    recording.run(Instant::from_ns(20 * MS));
    recording.put(Event::Reset { seed: 11, rtc_ns: 12 });
    recording.run(Instant::from_ns(22 * MS));
    recording.serial("q");
    recording.run(Instant::from_ns(25 * MS));
    let at = Instant::from_ns(9 * MS);
    recording.branch("other", Position { branch: BranchId::TRUNK, at, entries: Some(4) });
    recording.serial("z");
    recording.run(at + Ticks::from_ns(10 * MS));
}

fn config(golden: &Golden) -> MachineConfig {
    let definitions = [format!("HARTS={}", golden.harts)];
    let bytes = (0..64).flat_map(|sector| [sector; 512]).collect();
    let source = Arc::new(MemorySource::new(bytes));
    MachineConfig {
        memory_bytes: 32 << 20,
        harts: golden.harts,
        kernel: Some(Arc::new(guest::compile(golden.guest, Level::Machine, &definitions))),
        firmware: Some(Firmware::None),
        disks: vec![DiskConfig { source, read_only: false, serial: "numbered".into() }],
        nics: 1,
        consoles: 1,
        ..MachineConfig::default()
    }
}

/// The digest at the end of each branch, as lines of a branch's name, an instant and a digest.
fn play(timeline: &Arc<Timeline>) -> String {
    let mut lines = String::new();
    for (number, branch) in (0..).zip(timeline.branches()) {
        let mut replay = Replay::new(timeline.clone()).expect("a replay");
        let begin = timeline.begin(BranchId(number));
        let begin = Position { branch: BranchId(number), at: begin, entries: None };
        replay.seek(begin).expect("its beginning");
        while replay.run(Instant::MAX, &mut |_, _| {}).expect("a recorded stretch") != Reached::End
        {
        }
        let (at, digest) = (replay.position().at, replay.digest());
        writeln!(lines, "{} {at} {digest}", branch.name).expect("memory takes everything");
        replay.verify(BranchId(number), &mut |_| true).expect("what was recorded");
    }
    lines
}

fn make(golden: &Golden) {
    let aside = tempfile::tempdir().expect("a folder");
    let mut recording = Recording::start(aside.path(), golden.name, &config(golden));
    (golden.script)(&mut recording);
    let timeline = recording.timeline();
    fs::create_dir_all(folder()).expect("a folder");
    let file = folder().join(format!("{}.vmcast", golden.name));
    let _ = fs::remove_file(&file);
    vmcast::write(&timeline, &file, Keyframes::All, &mut |_, _| true).expect("a file");
    fs::write(folder().join(format!("{}.digests", golden.name)), play(&timeline)).expect("a file");
}

#[test]
fn recordings_of_earlier_builds_play() {
    for golden in &ALL {
        if std::env::var_os("STACKVM_MAKE_GOLDEN").is_some() {
            make(golden);
        }
        let file = folder().join(format!("{}.vmcast", golden.name));
        assert!(fs::metadata(&file).expect("it is there").len() <= BYTES_MAX, "{}", golden.name);
        let timeline = Arc::new(Timeline::open(&file).expect("a recording"));
        let expected = fs::read_to_string(folder().join(format!("{}.digests", golden.name)));
        assert_eq!(play(&timeline), expected.expect("it is there"), "{}", golden.name);
    }
}
