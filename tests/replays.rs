//! Recorded machines compute the same again: from every keyframe, to every instant, in any order,
//! on every branch.

use std::path::Path;
use std::sync::Arc;

use stackvm_machine::devices::disk::MemorySource;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, DiskConfig, Firmware, Input, Instant, MachineConfig, Stop};
use stackvm_tests::Rng;
use stackvm_tests::guest::{self, Level};
use stackvm_tests::recording::{Recording, Witness};
use stackvm_timeline::ask::{self, Case, Pattern};
use stackvm_timeline::journal::Journal;
use stackvm_timeline::replay::{Boot, FirstKeyframe, Reached, Replay, ReplayError, Sought};
use stackvm_timeline::{BranchId, Entry, Event, Position, Timeline};

const MS: u64 = 1_000_000;

fn config(name: &str, harts: u32, definitions: &[&str]) -> MachineConfig {
    let mut all = vec![format!("HARTS={harts}")];
    all.extend(definitions.iter().map(|&definition| definition.to_owned()));
    let bytes = (0..64).flat_map(|sector| [sector; 512]).collect();
    let source = Arc::new(MemorySource::new(bytes));
    MachineConfig {
        memory_bytes: 32 << 20,
        harts,
        kernel: Some(Arc::new(guest::compile(name, Level::Machine, &all))),
        firmware: Some(Firmware::None),
        disks: vec![DiskConfig { source, read_only: false, serial: "numbered".into() }],
        ..MachineConfig::default()
    }
}

/// Types at random instants, and takes keyframes and looks at random ones, until `end`.
fn wander(recording: &mut Recording, rng: &mut Rng, end: Instant) {
    loop {
        let pause = match rng.below(4) {
            0 => rng.below(20),
            1 => rng.below(50_000),
            _ => rng.below(8 * MS * 16),
        };
        let until = (recording.machine().now() + Ticks::new(pause)).min(end);
        if recording.run(until) != Stop::Until || until == end {
            return;
        }
        match rng.below(10) {
            0 => _ = recording.keyframe(),
            1..=3 => recording.witness(),
            4 => {
                let (columns, rows) = (20 + rng.below(100) as u16, 5 + rng.below(40) as u16);
                let console = ConsoleId::Hvc(0);
                recording.put(Event::Input(Input::Resize { console, columns, rows }));
            }
            5 => {
                let ticks = 1 << rng.below(7);
                recording.put(Event::Input(Input::Rate { ticks }));
            }
            6 => {
                // Several at one instant; their order is what counts.
                recording.serial("a");
                recording.witness();
                recording.serial("b");
                recording.keyframe();
                recording.serial("c");
            }
            _ => {
                let length = 1 + rng.below(3);
                let letter = |rng: &mut Rng| char::from(b'A' + rng.below(26) as u8);
                let text: String = (0..length).map(|_| letter(rng)).collect();
                recording.serial(&text);
            }
        }
    }
}

/// Seeks to every witness in random order, some of them twice, and compares.
fn check_witnesses(timeline: &Arc<Timeline>, witnesses: &[Witness], rng: &mut Rng) {
    let mut replay = Replay::new(timeline.clone()).expect("a replay");
    for _ in 0..witnesses.len() * 2 {
        let witness = &witnesses[rng.below(witnesses.len() as u64) as usize];
        replay.seek(witness.position).expect("a recorded place");
        assert_eq!(replay.position().at, witness.position.at);
        assert_eq!(replay.digest(), witness.digest, "at {:?}", witness.position);
        assert_eq!(replay.screens().derived(), witness.derived, "at {:?}", witness.position);
        if rng.below(4) == 0 {
            // Some way on, so that the next one starts from elsewhere.
            let until = replay.position().at + Ticks::new(rng.below(4 * MS * 16));
            replay.run(until, &mut |_, _| {}).expect("a recorded stretch");
        }
    }
}

/// Runs from the beginning to the end of each branch in random pieces: every witness is passed.
fn check_straight(timeline: &Arc<Timeline>, witnesses: &[Witness], rng: &mut Rng) {
    for branch in (0..timeline.branches().len() as u32).map(BranchId) {
        let mut replay = Replay::new(timeline.clone()).expect("a replay");
        let begin = timeline.begin(branch);
        replay.seek(Position { branch, at: begin, entries: Some(0) }).expect("the beginning");
        let mut own: Vec<_> = witnesses.iter().filter(|w| w.position.branch == branch).collect();
        own.sort_by_key(|witness| (witness.position.at, witness.position.entries));
        for witness in own {
            while replay.position().at < witness.position.at {
                let left = witness.position.at.since(replay.position().at).get();
                let until = replay.position().at + Ticks::new(1 + rng.below(left));
                // Up to right before it: entries of its instant come one by one.
                let until = until.min(witness.position.at - Ticks::new(1));
                if until <= replay.position().at {
                    break;
                }
                replay.run(until, &mut |_, _| {}).expect("a recorded stretch");
            }
            while replay.position() < witness.position {
                let reached = if replay.position().at < witness.position.at {
                    replay.step_instruction(&mut |_, _| {})
                } else {
                    replay.step_entry(&mut |_, _| {})
                };
                assert_eq!(reached.expect("a recorded stretch"), Reached::Until);
            }
            if replay.position() == witness.position {
                assert_eq!(replay.digest(), witness.digest, "at {:?}", witness.position);
            }
        }
        while replay.run(Instant::MAX, &mut |_, _| {}).expect("the rest") != Reached::End {}
        assert_eq!(replay.position().at, timeline.branches()[branch.0 as usize].end);
        replay.verify(branch, &mut |_| true).expect("what was recorded");
    }
}

fn check(folder: &Path, name: &str, config: &MachineConfig, seed: u64) {
    let mut rng = Rng::new(seed);
    let mut recording = Recording::start(folder, &format!("{name}-{seed}"), config);
    wander(&mut recording, &mut rng, Instant::from_ns(40 * MS));
    recording.witness();
    for branch in 0..3 {
        let from = rng.below(recording.witnesses.len() as u64) as usize;
        let from = recording.witnesses[from].position;
        recording.branch(&format!("branch-{branch}"), from);
        recording.witness();
        let end = recording.machine().now() + Ticks::from_ns(20 * MS);
        wander(&mut recording, &mut rng, end);
        recording.witness();
    }
    let (folder, witnesses) = recording.end();
    let timeline = Arc::new(Timeline::open(&folder).expect("a timeline"));
    check_witnesses(&timeline, &witnesses, &mut rng);
    check_straight(&timeline, &witnesses, &mut rng);
}

#[test]
fn random_recordings_compute_the_same_again() {
    let folder = tempfile::tempdir().expect("a folder");
    for harts in [1, 4] {
        let config = config("worker", harts, &[]);
        for seed in 0..2 {
            check(folder.path(), &format!("worker-{harts}"), &config, seed);
        }
    }
    // Every register of every device, with a disk that is written.
    let config = MachineConfig {
        nics: 1,
        consoles: 2,
        ports: vec!["one".into(), "two".into()],
        ..config("monkey", 1, &["SEED=1", "ROUNDS=1000000"])
    };
    check(folder.path(), "monkey", &config, 1);
}

/// A machine that is off is switched on anew; one that went off for good ends its branch.
#[test]
fn resets_and_the_end() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = Recording::start(folder.path(), "resets", &config("worker", 4, &[]));
    let step = |recording: &mut Recording, text: &str| {
        recording.serial(text);
        let until = recording.machine().now() + Ticks::from_ns(10 * MS);
        let stop = recording.run(until);
        recording.witness();
        stop
    };
    assert_eq!(step(&mut recording, "one"), Stop::Until);
    recording.keyframe();
    assert_eq!(step(&mut recording, "r"), Stop::Reset);
    recording.put(Event::Reset { seed: 7, rtc_ns: 8 });
    recording.witness();
    assert_eq!(step(&mut recording, "two"), Stop::Until);
    recording.keyframe();
    // The button, while it is busy; and a network frame to nowhere.
    recording.serial("busy");
    recording.put(Event::Reset { seed: 9, rtc_ns: 10 });
    recording
        .put(Event::Input(Input::Frame { nic: stackvm_machine::NicId(0), bytes: vec![1; 60] }));
    assert_eq!(step(&mut recording, "xq"), Stop::PowerOff { code: 0 });
    let (journal, witnesses) = recording.end();
    let timeline = Arc::new(Timeline::open(&journal).expect("a timeline"));
    let mut rng = Rng::new(1);
    check_witnesses(&timeline, &witnesses, &mut rng);
    check_straight(&timeline, &witnesses, &mut rng);
    // The configuration that a reset on a branch begins from is that of the last one.
    let mut replay = Replay::new(timeline).expect("a replay");
    let config = |replay: &mut Replay| replay.depart(Boot::Read).expect("a machine").config;
    assert_eq!((config(&mut replay).seed, config(&mut replay).kernel.is_some()), (0, true));
    replay.seek(witnesses[4].position).expect("a recorded place");
    assert_eq!((config(&mut replay).seed, config(&mut replay).rtc_ns), (7, 8));
}

/// Whoever drags on gives a seek up, and may come back for it.
#[test]
fn a_seek_that_is_given_up_leaves_a_good_replay() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = Recording::start(folder.path(), "given-up", &config("worker", 1, &[]));
    for text in ["one", "two", "six", "ten"] {
        recording.serial(text);
        let until = recording.machine().now() + Ticks::from_ns(100 * MS);
        assert_eq!(recording.run(until), Stop::Until);
        recording.witness();
    }
    let (journal, witnesses) = recording.end();
    let timeline = Arc::new(Timeline::open(&journal).expect("a timeline"));
    let mut replay = Replay::new(timeline).expect("a replay");
    let last = witnesses.last().expect("there are some").position;
    let mut asked = 0;
    let mut is_wanted = || {
        asked += 1;
        asked < 3
    };
    let sought = replay.seek_while(last, &mut is_wanted).expect("a part of the way");
    assert_eq!((sought, asked), (Sought::GivenUp, 3));
    assert!(replay.position().at < last.at);
    for bytes_max in [1 << 30, 0] {
        replay.keep_at_most(bytes_max);
        for witness in witnesses.iter().rev() {
            let sought = replay.seek_while(witness.position, &mut || true);
            assert_eq!(sought.expect("a recorded place"), Sought::There);
            assert_eq!(replay.digest(), witness.digest, "at {:?}", witness.position);
        }
    }
}

#[test]
fn what_happened_in_a_gap_is_not_needed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = Recording::start(folder.path(), "gap", &config("worker", 1, &[]));
    let mut rng = Rng::new(5);
    wander(&mut recording, &mut rng, Instant::from_ns(10 * MS));
    recording.gap("later", |machine| {
        machine.input(Input::Console { console: ConsoleId::Serial, bytes: b"secret".to_vec() });
        machine.run(machine.now() + Ticks::from_ns(20 * MS));
    });
    recording.witness();
    let end = recording.machine().now() + Ticks::from_ns(20 * MS);
    wander(&mut recording, &mut rng, end);
    recording.witness();
    let (journal, witnesses) = recording.end();
    let timeline = Arc::new(Timeline::open(&journal).expect("a timeline"));
    check_witnesses(&timeline, &witnesses, &mut rng);
    check_straight(&timeline, &witnesses, &mut rng);
}

/// A machine that departs has the future that its recording had.
#[test]
fn who_departs_and_does_the_same_gets_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = Recording::start(folder.path(), "depart", &config("worker", 4, &[]));
    recording.serial("one");
    recording.run(Instant::from_ns(3 * MS));
    recording.witness();
    recording.serial("two");
    recording.run(Instant::from_ns(9 * MS));
    recording.witness();
    let timeline = recording.timeline();
    let mut replay = Replay::new(timeline).expect("a replay");
    replay.seek(recording.witnesses[1].position).expect("a recorded place");
    let mut departure = replay.depart(Boot::Read).expect("a machine");
    let input = Input::Console { console: ConsoleId::Serial, bytes: b"two".to_vec() };
    departure.machine.input(input);
    departure.machine.run(Instant::from_ns(9 * MS));
    assert_eq!(departure.machine.digest(), recording.witnesses[2].digest);
    assert_eq!(replay.digest(), recording.witnesses[1].digest, "the replay stays where it was");
}

/// A machine that goes on from another's past has a journal that needs nothing of the other's, and
/// that is mostly the other's packs.
#[test]
fn a_journal_that_begins_in_another_is_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = Recording::start(folder.path(), "other", &config("worker", 4, &[]));
    let first = recording.timeline().keyframes()[0].clone();
    recording.serial("one");
    recording.run(Instant::from_ns(3 * MS));
    recording.keyframe();
    recording.run(Instant::from_ns(5 * MS));
    recording.witness();
    recording.serial("two");
    recording.run(Instant::from_ns(9 * MS));
    recording.keyframe();
    recording.witness();
    let (other, witnesses) = recording.end();

    let timeline = Arc::new(Timeline::open(&other).expect("a journal"));
    let begin = witnesses[1].position;
    let mut replay = Replay::near(timeline.clone(), begin).expect("a replay");
    assert!(replay.position().at > first.at, "it does not begin at the beginning");
    replay.seek(begin).expect("a recorded place");
    let pack = folder.path().join("new.pack");
    let FirstKeyframe { keyframe, mut packs, .. } =
        replay.first_keyframe(&pack).expect("a keyframe");
    assert_eq!((keyframe.digest, keyframe.at), (witnesses[1].digest, begin.at));
    assert!(packs.len() >= 3, "{packs:?}: those of two keyframes, and its own");
    let bytes = |path: &Path| path.metadata().expect("a pack").len();
    let linked: u64 = packs.iter().filter(|path| **path != pack).map(|path| bytes(path)).sum();
    assert!(bytes(&pack) < linked / 2, "{} bytes beside {linked}", bytes(&pack));
    // Its header's files are in no keyframe.
    packs.push(other.join("000000.pack"));
    let own = folder.path().join("own.journal");
    let mut journal =
        Journal::create(&own, timeline.header(), &packs, &keyframe, "a test").expect("a journal");
    let actor = journal.actor("somebody").expect("an actor");
    let input = Input::Console { console: ConsoleId::Serial, bytes: b"two".to_vec() };
    let entry = Entry { at: begin.at, actor, event: Event::Input(input) };
    journal.append(&entry).expect("a disk that takes it");
    journal.reach(Instant::from_ns(9 * MS)).expect("a disk that takes it");
    drop((replay, timeline, journal));
    std::fs::remove_dir_all(&other).expect("it was there");

    let timeline = Arc::new(Timeline::open(&own).expect("a journal"));
    let mut replay = Replay::new(timeline).expect("a replay");
    assert_eq!(replay.digest(), witnesses[1].digest);
    let at = Instant::from_ns(9 * MS);
    replay.seek(Position { branch: BranchId::TRUNK, at, entries: None }).expect("its end");
    assert_eq!(replay.digest(), witnesses[2].digest);
}

/// What is cut out of a recording is a recording, and has nothing of what was before.
#[test]
fn a_part_of_a_recording_is_one_of_its_own() {
    for seed in 0..4 {
        let folder = tempfile::tempdir().expect("a folder");
        let mut rng = Rng::new(900 + seed);
        let mut recording = Recording::start(folder.path(), "whole", &config("worker", 1, &[]));
        wander(&mut recording, &mut rng, Instant::from_ns(120 * MS));
        recording.witness();
        let (whole, mut witnesses) = recording.end();
        witnesses.sort_by_key(|witness| (witness.position.at, witness.position.entries));
        let timeline = Arc::new(Timeline::open(&whole).expect("a journal"));
        let begin = &witnesses[witnesses.len() / 4];
        let end = witnesses[witnesses.len() - 2].position.at;
        let mut past = Replay::near(timeline.clone(), begin.position).expect("a replay");
        past.seek(begin.position).expect("a recorded place");
        let own = folder.path().join("part.journal");
        Journal::cut(&own, timeline.header(), &mut past, end, "a test").expect("a part");
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").collect();
        drop(past);
        let part = Arc::new(Timeline::open(&own).expect("a journal"));
        assert_eq!(part.begin(BranchId::TRUNK), begin.position.at);
        assert_eq!(part.branch(BranchId::TRUNK).end, end);
        let first = begin.position.entries.expect("it was counted");
        let entries = |timeline: &Timeline, first| -> Vec<(Instant, String, Event)> {
            let entries = timeline.entries(BranchId::TRUNK, first).map(|entry| entry.unwrap());
            let entries = entries.take_while(|entry| entry.at <= end);
            entries.map(|it| (it.at, timeline.actor(it.actor).to_owned(), it.event)).collect()
        };
        assert_eq!(entries(&part, 0), entries(&timeline, first));
        let within: Vec<Witness> = witnesses
            .iter()
            .filter(|it| it.position.at > begin.position.at && it.position.at <= end)
            .map(|it| {
                let entries = it.position.entries.map(|entries| entries - first);
                Witness { position: Position { entries, ..it.position }, ..it.clone() }
            })
            .collect();
        assert!(within.len() >= 3, "{} states to compare", within.len());
        // As far as the track goes, its pictures are the same.
        for witness in &within {
            let picture = |timeline: &Timeline| {
                let at = witness.position.at;
                timeline.picture(BranchId::TRUNK, ConsoleId::Serial, at).expect("a picture").dump()
            };
            assert_eq!(picture(&part), picture(&timeline), "at {:?}", witness.position);
        }
        drop(timeline);
        std::fs::remove_dir_all(&whole).expect("it was there");
        check_witnesses(&part, &within, &mut rng);
        let mut keyframes = 0;
        let mut replay = Replay::new(part.clone()).expect("a replay");
        replay
            .verify(BranchId::TRUNK, &mut |_| {
                keyframes += 1;
                true
            })
            .expect("as it was recorded");
        assert!(keyframes >= 2, "{keyframes} keyframes");
        // It goes on as any journal does, and was made without leaving anything beside it.
        drop(Journal::open(&own, "a test").expect("a journal"));
        assert_eq!(left.len(), 2, "{left:?}");
    }
}

/// A keyframe that cannot be read is as none, also where a replay begins.
#[test]
fn a_replay_begins_at_a_keyframe_that_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = Recording::start(folder.path(), "damaged", &config("worker", 1, &[]));
    for ms in [2, 4] {
        recording.run(Instant::from_ns(ms * MS));
        recording.keyframe();
    }
    recording.run(Instant::from_ns(5 * MS));
    recording.witness();
    let begins_at = |timeline: Arc<Timeline>, to: Position, digest| {
        let mut replay = Replay::near(timeline, to).expect("a replay");
        let begun = replay.position().at;
        replay.seek(to).expect("a recorded place");
        assert_eq!(replay.digest(), digest);
        begun
    };
    let (journal, witnesses) = recording.end();
    let (to, digest) = (witnesses[1].position, witnesses[1].digest);
    let open = || Arc::new(Timeline::open(&journal).expect("a journal"));
    let keyframes: Vec<Instant> = open().keyframes().iter().map(|keyframe| keyframe.at).collect();
    assert_eq!(begins_at(open(), to, digest), keyframes[2]);
    // The second half of the last pack: its chunks.
    let mut packs: Vec<_> = std::fs::read_dir(&journal)
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "pack"))
        .collect();
    packs.sort();
    let timeline = open();
    let last = packs.last().expect("there are three");
    let bytes = std::fs::read(last).expect("a pack");
    let spoilt: Vec<u8> = bytes.iter().map(|byte| byte ^ 0x55).collect();
    std::fs::write(last, [&bytes[..8], &spoilt[8..]].concat()).expect("a pack");
    assert_eq!(begins_at(timeline, to, digest), keyframes[1]);
}

/// Something happened to the machine that is not in the log: where it shows is named.
#[test]
fn a_divergence_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let check = |name: &str, change: &dyn Fn(&mut stackvm_machine::Machine), expected: &str| {
        let mut recording = Recording::start(folder.path(), name, &config("worker", 4, &[]));
        recording.serial("one");
        recording.run(Instant::from_ns(5 * MS));
        recording.keyframe();
        let fine = recording.position();
        recording.witness();
        recording.run(Instant::from_ns(6 * MS));
        recording.tamper(change);
        recording.keyframe();
        let wrong = recording.position();
        recording.run(Instant::from_ns(8 * MS));
        recording.keyframe();
        let timeline = recording.timeline();
        let mut replay = Replay::new(timeline).expect("a replay");
        let error = replay.verify(BranchId::TRUNK, &mut |_| true).expect_err("it differs");
        let ReplayError::Diverged { at, fine_until, component } = &error else {
            panic!("{error}");
        };
        assert_eq!((*at, *fine_until), (wrong.at, fine.at));
        assert_eq!(component, expected);
        // Up to there it plays.
        replay.seek(fine).expect("a place before");
        assert_eq!(replay.digest(), recording.witnesses[1].digest);
        let mut replay = Replay::new(recording.timeline()).expect("a replay");
        let found = replay.run(Instant::MAX, &mut |_, _| {}).expect_err("it differs");
        assert_eq!(found.to_string(), error.to_string());
    };
    let typed = |machine: &mut stackvm_machine::Machine| {
        machine.input(Input::Console { console: ConsoleId::Serial, bytes: b"x".to_vec() });
    };
    check("typed", &typed, "UART");
    let slower = |machine: &mut stackvm_machine::Machine| {
        machine.input(Input::Rate { ticks: 32 });
    };
    check("slower", &slower, "turns of the harts");
}

/// Text in what was printed is found with the exact instant, whether or not there is a track.
#[test]
fn text_is_found_with_its_instant() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut recording = Recording::start(folder.path(), "text", &config("echo", 1, &[]));
    for (at, text) in [(2, "he"), (4, "llo "), (6, "world\n"), (8, "hello again\n")] {
        recording.run(Instant::from_ns(at * MS));
        recording.serial(text);
    }
    recording.run(Instant::from_ns(10 * MS));
    recording.branch(
        "other",
        Position { branch: BranchId::TRUNK, at: Instant::from_ns(5 * MS), entries: None },
    );
    recording.serial("there\n");
    recording.run(Instant::from_ns(10 * MS));
    let timeline = recording.timeline();
    let mut replay = Replay::new(timeline).expect("a replay");
    let mut check = |branch: u32, text: &str, expected: &[(&str, u64)]| {
        let pattern = Pattern::new(text, Case::Ignored).expect("a pattern");
        let mut hits = Vec::new();
        let mut visit = |hit| {
            hits.push(hit);
            true
        };
        let branch = BranchId(branch);
        ask::console(&mut replay, branch, None, &pattern, &mut visit).expect("an answer");
        let mut found = Vec::new();
        for hit in &hits {
            let exact = ask::exact_instant(&mut replay, hit).expect("an answer");
            assert!(exact <= hit.at && replay.position().at == exact, "{exact}, {hit:?}");
            found.push((hit.line.as_str(), exact.ns() / MS));
        }
        assert_eq!(found, expected, "{text}");
    };
    check(0, "hello", &[("HELLO WORLD", 4), ("HELLO AGAIN", 8)]);
    check(0, "lo wor", &[("HELLO WORLD", 6)]);
    check(0, "ready", &[("ready", 0)]);
    check(0, "there", &[]);
    check(1, "lo there", &[("HELLO THERE", 5)]);
    check(1, "world", &[]);
}

/// Every store to an address is named, with who did it.
#[test]
fn stores_to_an_address_are_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = config("worker", 4, &[]);
    let mut recording = Recording::start(folder.path(), "stores", &config);
    for at in 1..5 {
        recording.run(Instant::from_ns(at * 5 * MS));
        recording.serial("a");
    }
    recording.run(Instant::from_ns(40 * MS));
    let timeline = recording.timeline();
    // Somewhere in what hart 2 stirs: pages that change, found without knowing their address.
    let mut replay = Replay::new(timeline.clone()).expect("a replay");
    let page = |replay: &mut Replay, at: u64| {
        let at = Instant::from_ns(at * MS);
        replay.seek(Position { branch: BranchId::TRUNK, at, entries: None }).expect("a place");
        replay.depart(Boot::Read).expect("a machine").machine.freeze()
    };
    let (early, late) = (page(&mut replay, 4), page(&mut replay, 39));
    let changed = (1..early.ram().pages())
        .rev()
        .find(|&page| early.ram().page(page) != late.ram().page(page))
        .expect("it worked");
    let start = 0x8000_0000 + u64::from(changed) * 4096;
    let mut stores = Vec::new();
    let mut visit = |store: ask::Store| {
        stores.push(store);
        true
    };
    let range = start..start + 8;
    ask::stores(&mut replay, BranchId::TRUNK, range.clone(), &mut visit, &mut |_| true)
        .expect("an answer");
    assert!(stores.len() >= 4, "{stores:?}");
    for pair in stores.windows(2) {
        assert!(pair[0].at < pair[1].at);
        assert_eq!(pair[0].store.new, pair[1].store.old);
    }
    let (first, last) = (&stores[0].store, &stores[stores.len() - 1].store);
    let mut bytes = [0; 8];
    let at = stores[stores.len() - 1].at;
    replay.seek(at).expect("a recorded place");
    replay.machine().ram().read(start, &mut bytes).expect("RAM");
    assert_eq!(bytes.as_slice(), last.new.as_slice());
    assert_ne!(first.old, last.new);
}
