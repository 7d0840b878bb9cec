use std::path::{Path, PathBuf};
use std::sync::Arc;

use stackvm_machine::Firmware;
use stackvm_machine::instant::Ticks;
use stackvm_machine::persist::{DETERMINISM_VERSION, PROFILE};
use stackvm_timeline::header::{Content, HeaderFirmware};
use stackvm_timeline::journal::Journal;
use stackvm_timeline::replay::{Boot, Replay};
use stackvm_timeline::{BranchId, Header, Position, Timeline};

use super::*;

/// Echoes what the UART receives, incremented by one.
const ECHO: [u32; 7] = [
    0x1000_02b7, //    lui  t0, 0x10000
    0x0052_ce03, // 1: lbu  t3, 5(t0)
    0x001e_7e13, //    andi t3, t3, 1
    0xfe0e_0ce3, //    beqz t3, 1b
    0x0002_ce03, //    lbu  t3, 0(t0)
    0x01c2_8023, //    sb   t3, 0(t0)
    0xfedf_f06f, //    j    1b
];

fn config() -> MachineConfig {
    let program = ECHO.map(u32::to_le_bytes).concat();
    MachineConfig {
        memory_bytes: 4 << 20,
        firmware: Some(Firmware::File(Arc::new(program))),
        ..MachineConfig::default()
    }
}

fn header(folder: &Path, config: &MachineConfig) -> Header {
    let path = folder.join("echo.bin");
    std::fs::write(&path, ECHO.map(u32::to_le_bytes).concat()).unwrap();
    let file = std::fs::metadata(&path).unwrap();
    let age = file.modified().unwrap().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let firmware = Content::File {
        path,
        bytes: file.len(),
        hash: None,
        modified_unix_ns: age.as_nanos() as u64,
    };
    Header {
        profile: PROFILE.to_owned(),
        determinism_version: DETERMINISM_VERSION,
        label: "echo".into(),
        image: None,
        created_unix_ms: 0,
        memory_bytes: config.memory_bytes,
        harts: 1,
        sv48: false,
        nics: 0,
        consoles: 0,
        ports: Vec::new(),
        rate_ticks: config.rate_ticks,
        seed: config.seed,
        rtc_ns: config.rtc_ns,
        append: String::new(),
        kernel: None,
        initrd: None,
        firmware: HeaderFirmware::File(firmware),
        disks: Vec::new(),
    }
}

/// A lab that is recorded from its first instant on.
fn recorded(folder: &Path) -> (Lab, PathBuf) {
    let mut lab = Lab::new(config()).unwrap();
    let journal = folder.join("x.journal");
    lab.record(Recorder::begin(&journal, "this test", header(folder, &config()), None));
    lab.tend(0);
    (lab, journal)
}

struct Random(u64);

impl Random {
    fn below(&mut self, max: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % max
    }
}

/// Types at random instants; `cuts` more stops on the way change nothing.
fn play(lab: &mut Lab, seed: u64, cuts: u64) {
    let mut random = Random(seed);
    for _ in 0..20 {
        let until = lab.now() + Ticks::from_ns(1 + random.below(3_000_000));
        for cut in 1..=cuts {
            let span = until.since(lab.now()).get();
            lab.run_until(lab.now() + Ticks::new(span * cut / (cuts + 1))).unwrap();
        }
        lab.run_until(until).unwrap();
        let bytes = vec![random.below(256) as u8; 1 + random.below(20) as usize];
        lab.put(&Actor::Named("ada".into()), Input::Console { console: ConsoleId::Serial, bytes });
        if random.below(8) == 0 {
            lab.reset(&Actor::Host);
        }
    }
    lab.run_until(lab.now() + Ticks::from_ns(1_000_000)).unwrap();
}

#[test]
fn recorded_labs_replay_to_the_same_state() {
    let check = |seed: u64, cuts: u64| {
        let folder = tempfile::tempdir().unwrap();
        let (mut lab, journal) = recorded(folder.path());
        play(&mut lab, seed, cuts);
        let (digest, end) = (lab.machine.digest(), lab.now());
        lab.end_recordings(Which::All, Last::Entry).unwrap();
        let timeline = Arc::new(Timeline::open(&journal).unwrap());
        let mut replay = Replay::new(timeline).unwrap();
        replay.seek(Position { branch: BranchId::TRUNK, at: end, entries: None }).unwrap();
        assert_eq!(replay.digest(), digest, "seed {seed}");
        std::fs::read(journal.join("branch-0.log")).unwrap()
    };
    for seed in 1..6 {
        let log = check(seed, 0);
        assert!(!log.is_empty());
        // The same seed, the same bytes, however the host cuts the run.
        assert_eq!(check(seed, 0), log);
        assert_eq!(check(seed, 3), log);
    }
    assert_ne!(check(1, 0), check(2, 0));
}

#[test]
fn a_recording_goes_on_where_it_was_left() {
    let folder = tempfile::tempdir().unwrap();
    let (mut lab, journal) = recorded(folder.path());
    let mut plain = Lab::new(config()).unwrap();
    play(&mut plain, 7, 0);
    play(&mut plain, 8, 0);
    play(&mut lab, 7, 0);
    lab.end_recordings(Which::All, Last::Keyframe).unwrap();

    let journal = Journal::open(&journal, "this test").unwrap();
    let tip = journal.tip();
    let mut replay = Replay::new(Arc::new(journal.timeline().unwrap())).unwrap();
    let at = Position { branch: tip.branch, at: tip.reached, entries: Some(tip.entries) };
    replay.seek(at).unwrap();
    let departure = replay.depart(Boot::Read).unwrap();
    let mut lab = Lab::with_machine(departure.machine, departure.config);
    lab.restore(&departure.derived);
    lab.record(Recorder::go_on(journal, None).unwrap());
    play(&mut lab, 8, 0);
    assert_eq!(lab.machine.digest(), plain.machine.digest());
}

#[test]
fn inputs_of_paced_machines_are_on_the_grain() {
    let mut lab = Lab::new(config()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("x.journal");
    lab.record(Recorder::begin(&journal, "t", header(folder.path(), &config()), None));
    lab.tend(0);
    let begun = std::time::Instant::now();
    for _ in 0..49 {
        lab.step(&|| begun.elapsed().as_nanos() as u64);
        lab.put(&Actor::Host, Input::Console { console: ConsoleId::Serial, bytes: vec![b'x'] });
    }
    lab.end_recordings(Which::All, Last::Entry).unwrap();
    let timeline = Timeline::open(&journal).unwrap();
    let entries: Vec<_> = timeline.entries(BranchId::TRUNK, 0).map(Result::unwrap).collect();
    assert!(entries.len() >= 49);
    assert!(entries.iter().all(|entry| entry.at.ticks() % (1 << 14) == 0));
}
