//! Recordings of labs that run, crash, and find the disk full.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use stackvm_host::client::Connection;
use stackvm_host::machines::{Keep, Lifetime, MachineSpec, Source, Status, StopHow};
use stackvm_host::protocol::{Command, Event, Power, RecordingAction, Reply, State};
use stackvm_machine::{Input, Output};
use stackvm_timeline::journal::{Journal, JournalError};
use stackvm_timeline::note::Words;
use stackvm_timeline::replay::Replay;
use stackvm_timeline::vmcast::{self, Keyframes};
use stackvm_timeline::{BranchId, Position, Timeline};

use super::{Labs, attach, kernel, kill, letters, press, read, start, start_spec, wait};

/// What is typed: no letter the guest knows, and never the same one twice in a row.
const LETTERS: &[u8] = b"abcdeghijklmnop";

/// A small generator of numbers for tests.
struct Random(u64);

impl Random {
    fn below(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % max
    }
}

pub(super) fn killed_named_machines_lose_nothing(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let mut random = Random(0x5eed_5eed_5eed);
    // What is on the terminal for sure: it was seen, or acknowledged.
    let (mut typed, mut sure) = (String::new(), 0);
    for round in 0..10 {
        if round > 0 {
            machines.start("echo").unwrap();
        }
        let (mut lab, shown) = attach(&machines, "echo");
        let mut seen = letters(&shown);
        let end = Instant::now() + Duration::from_secs(30);
        while seen.len() < "ok".len() + sure {
            assert!(Instant::now() < end, "round {round}: {seen} of {typed}");
            seen.push_str(&output(&mut lab, Duration::from_millis(100)));
        }
        assert!(format!("ok{typed}").starts_with(&seen), "round {round}: {seen}, typed {typed}");
        // What the killed lab had neither shown nor acknowledged may be lost.
        std::thread::sleep(Duration::from_millis(20));
        seen.push_str(&output(&mut lab, Duration::from_millis(20)));
        typed.truncate(seen.len() - "ok".len());
        let keys = random.below(30);
        for _ in 0..keys {
            let letter = LETTERS[typed.len() % LETTERS.len()];
            typed.push(char::from(letter));
            press(&mut lab, &[letter]);
            if random.below(4) == 0 {
                lab.call(Command::Info).unwrap();
                sure = typed.len();
            }
            seen.push_str(&output(&mut lab, Duration::from_micros(random.below(3000))));
        }
        sure = sure.max(seen.len() - "ok".len());
        kill(&machines, "echo");
        assert_eq!(machines.get("echo").unwrap().status, Status::Crashed);
    }
    assert!(typed.len() > 30, "{typed}");
}

pub(super) fn what_is_not_to_be_kept_is_folded(data: &Path) {
    let spec = |keep| MachineSpec {
        lifetime: Lifetime::Named,
        keep,
        ..MachineSpec::new("echo", kernel(data))
    };
    let machines = start_spec(data, spec(Keep::NOTHING));
    let journal = data.join("machines/echo/journal");
    let timeline = || Timeline::open(&journal).unwrap();
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    let mut begins = Vec::new();
    for letter in ["a", "b", "c"] {
        press(&mut lab, letter.as_bytes());
        read(&mut lab, Vec::new(), letter);
        let action = RecordingAction::Keyframe;
        lab.call(Command::Recording { journal: journal.clone(), action }).unwrap();
        begins.push(timeline().begin(BranchId::TRUNK));
    }
    assert!(begins.is_sorted_by(|a, b| a < b), "{begins:?}");
    // Killed or saved, it goes on where it was.
    press(&mut lab, b"d");
    read(&mut lab, Vec::new(), "d");
    kill(&machines, "echo");
    machines.start("echo").unwrap();
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "okabcd");
    press(&mut lab, b"e");
    read(&mut lab, Vec::new(), "e");
    machines.stop("echo", StopHow::Save).unwrap();
    let saved = timeline();
    assert_eq!(saved.begin(BranchId::TRUNK), saved.branch(BranchId::TRUNK).end);
    assert_eq!(saved.entries(BranchId::TRUNK, 0).count(), 0);
    saved.verify_chunks().unwrap();
    machines.start("echo").unwrap();
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "okabcde");
    press(&mut lab, b"g");
    read(&mut lab, Vec::new(), "g");
}

/// What a terminal shows within a time.
fn output(lab: &mut Connection, within: Duration) -> String {
    let end = Instant::now() + within;
    let mut bytes = Vec::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        match lab.recv_timeout(left).unwrap() {
            Some(Event::Console { bytes: more, .. }) => bytes.extend(more),
            Some(_) => {}
            None => return letters(&bytes),
        }
    }
}

pub(super) fn a_running_machine_is_recorded(data: &Path) {
    let machines = start(data, "echo", Lifetime::Ephemeral);
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    let annex = machines.info("echo").unwrap().annex.unwrap();
    let journal = data.join("annex").join(annex).join("demo.vmcast.journal");
    let outside = Command::Record { journal: data.join("demo.vmcast.journal") };
    let refused = lab.call(outside).unwrap_err().to_string();
    assert!(refused.contains("outside of the machine's sandbox"), "{refused}");
    let act = |lab: &mut Connection, action| {
        lab.call(Command::Recording { journal: journal.clone(), action }).unwrap();
    };
    lab.call(Command::Name { name: "ada".into() }).unwrap();
    press(&mut lab, b"p");
    read(&mut lab, Vec::new(), "p");
    lab.call(Command::Record { journal: journal.clone() }).unwrap();
    assert!(lab.call(Command::Record { journal: journal.clone() }).is_err(), "twice");
    match Journal::open(&journal, "this test") {
        Err(JournalError::Locked { owner, .. }) => assert!(owner.contains("echo"), "{owner}"),
        other => panic!("{other:?}"),
    }
    press(&mut lab, b"abc");
    read(&mut lab, Vec::new(), "abc");
    act(&mut lab, RecordingAction::Mark { name: "here".into() });
    act(&mut lab, RecordingAction::Keyframe);
    press(&mut lab, b"d");
    read(&mut lab, Vec::new(), "d");
    act(&mut lab, RecordingAction::Pause);
    press(&mut lab, b"x");
    read(&mut lab, Vec::new(), "x");
    act(&mut lab, RecordingAction::Resume);
    press(&mut lab, b"yz");
    read(&mut lab, Vec::new(), "yz");
    lab.call(Command::Power(Power::Pause)).unwrap();
    let Reply::Digest { digest, .. } = lab.call(Command::Digest).unwrap() else { panic!() };
    act(&mut lab, RecordingAction::End);

    let timeline = Timeline::open(&journal).unwrap();
    assert_eq!(timeline.branches().len(), 2);
    assert_eq!(timeline.notes()[0].words, Words::Mark("here".into()));
    assert_eq!(timeline.notes()[0].author, "ada");
    assert_eq!(
        typed(&timeline, BranchId::TRUNK),
        [("ada".to_owned(), b"abc".to_vec()), ("ada".to_owned(), b"d".to_vec())]
    );
    let file = data.join("demo.vmcast");
    vmcast::write(&timeline, &file, Keyframes::All, &mut |_, _| true).unwrap();
    let timeline = Arc::new(Timeline::open(&file).unwrap());
    let mut replay = Replay::new(Arc::clone(&timeline)).unwrap();
    let mut checked = 0;
    let mut count = |_: &_| {
        checked += 1;
        true
    };
    replay.verify(BranchId::TRUNK, &mut count).unwrap();
    replay.verify(BranchId(1), &mut count).unwrap();
    assert!(checked >= 3, "{checked} keyframes");
    let end = timeline.branches()[1].end;
    replay.seek(Position { branch: BranchId(1), at: end, entries: None }).unwrap();
    assert_eq!(replay.digest().to_string(), digest);
    assert_eq!(shown_by(&timeline, BranchId::TRUNK), "abcd");
    assert_eq!(shown_by(&timeline, BranchId(1)), "yz");
}

/// What was typed on a branch, by whom; each echo is one key or several at once.
fn typed(timeline: &Timeline, branch: BranchId) -> Vec<(String, Vec<u8>)> {
    let entries = timeline.entries(branch, 0).map(Result::unwrap);
    let typed = entries.filter_map(|entry| match entry.event {
        stackvm_timeline::Event::Input(Input::Console { bytes, .. }) => {
            Some((timeline.actor(entry.actor).to_owned(), bytes))
        }
        _ => None,
    });
    typed.collect()
}

/// What the serial line shows in a replay of a branch.
fn shown_by(timeline: &Arc<Timeline>, branch: BranchId) -> String {
    let mut replay = Replay::new(Arc::clone(timeline)).unwrap();
    let begin = timeline.begin(branch);
    replay.seek(Position { branch, at: begin, entries: Some(0) }).unwrap();
    let mut bytes = Vec::new();
    let end = timeline.branches()[branch.0 as usize].end;
    replay
        .run(end, &mut |_, output| {
            if let Output::Console { bytes: more, .. } = output {
                bytes.extend_from_slice(more);
            }
        })
        .unwrap();
    letters(&bytes)
}

pub(super) fn a_recording_goes_on_after_a_crash(data: &Path) {
    let journal = data.join("demo.vmcast.journal");
    let machines = Labs(stackvm_host::machines::Machines::open(data).unwrap());
    let spec = MachineSpec {
        memory_bytes: Some(4 << 20),
        record: Some(journal.clone()),
        ..MachineSpec::new("first", kernel(data))
    };
    machines.create(&spec).unwrap();
    let (mut lab, shown) = attach(&machines, "first");
    read(&mut lab, shown, "ok\n");
    press(&mut lab, b"abc");
    read(&mut lab, Vec::new(), "abc");
    // Until its first keyframe is written there is no recording.
    super::wait_until("no recording", || journal.join("manifest.json").exists());
    // It vanishes, and its recording stays.
    let pid = Pid::from_raw(machines.info("first").unwrap().pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    super::wait_until("still listed", || machines.list().unwrap().is_empty());

    let source = Source::Recording { journal: journal.clone() };
    machines.create(&MachineSpec::new("second", source)).unwrap();
    let (mut lab, shown) = attach(&machines, "second");
    assert_eq!(letters(&shown), "okabc");
    press(&mut lab, b"de");
    read(&mut lab, Vec::new(), "de");
    lab.call(Command::Recording { journal: journal.clone(), action: RecordingAction::End })
        .unwrap();
    let timeline = Arc::new(Timeline::open(&journal).unwrap());
    assert_eq!(timeline.branches().len(), 1);
    assert_eq!(shown_by(&timeline, BranchId::TRUNK), "okabcde");
    Replay::new(timeline).unwrap().verify(BranchId::TRUNK, &mut |_| true).unwrap();
}

pub(super) fn a_full_disk_holds_the_machine(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    press(&mut lab, b"a");
    read(&mut lab, Vec::new(), "a");
    super::wait_until("no recording", || data.join("machines/echo/journal/manifest.json").exists());
    let pid = Pid::from_raw(machines.info("echo").unwrap().pid as i32);
    let space = |bytes| Rlimit { current: Some(bytes), maximum: Some(1 << 30) };
    prlimit(pid, Resource::Fsize, space(0)).unwrap();
    press(&mut lab, b"b");
    let reason = wait(&mut lab, |event| match event {
        Event::Console { bytes, .. } => panic!("it has seen {bytes:?}"),
        Event::State(State::Stalled { reason }) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("the disk is full"), "{reason}");
    press(&mut lab, b"c");
    std::thread::sleep(Duration::from_millis(1200));
    prlimit(pid, Resource::Fsize, space(1 << 30)).unwrap();
    read(&mut lab, Vec::new(), "bc");
    kill(&machines, "echo");
    machines.start("echo").unwrap();
    let (_lab, shown) = attach(&machines, "echo");
    assert_eq!(letters(&shown), "okabc");
}
