//! What is kept is what was written, or is refused; and no more is kept than there should be.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use stackvm_machine::StateTrees;
use stackvm_machine::devices::disk::MemorySource;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, DiskConfig, Firmware, Machine, MachineConfig, Output};
use stackvm_timeline::screen::Screens;

use super::build::Booted;
use super::{PROMPTS_MAX, Prompt, PromptError, files, sweep};

/// RV64: counts in the second MiB of RAM, for ever.
const PROGRAM: [u32; 6] = [
    0x8010_0537, //    lui  a0, 0x80100
    0x0205_1513, //    slli a0, a0, 32
    0x0205_5513, //    srli a0, a0, 32
    0x00b5_3023, // 1: sd   a1, 0(a0)
    0x1085_8593, //    addi a1, a1, 264
    0xff9f_f06f, //    j    1b
];

fn config() -> MachineConfig {
    let program = PROGRAM.iter().flat_map(|word| word.to_le_bytes()).collect();
    let source = Arc::new(MemorySource::new(vec![1; 64 << 10]));
    MachineConfig {
        memory_bytes: 4 << 20,
        firmware: Some(Firmware::File(Arc::new(program))),
        disks: vec![DiskConfig { source, read_only: false, serial: String::new() }],
        ..MachineConfig::default()
    }
}

fn booted() -> Booted {
    let mut machine = Machine::new(&config()).expect("a machine");
    machine.run(machine.now() + Ticks::from_ns(100_000));
    let (console, bytes) = (ConsoleId::Hvc(0), b"root@tiny:~# ".to_vec());
    let mut screens = Screens::new();
    screens.output(&Output::Console { console, bytes });
    let derived = screens.derived();
    let frozen = machine.freeze();
    Booted { frozen, derived, standby: None }
}

fn open(folder: &Path) -> Result<Option<Prompt>, PromptError> {
    let Some(meta) = files::read(folder)? else { return Ok(None) };
    let frozen = files::frozen(folder, &meta, &config())?;
    Ok(Some(Prompt { folder: folder.to_owned(), frozen, meta }))
}

#[test]
fn what_is_read_is_what_was_written() {
    let all = tempfile::tempdir().unwrap();
    let folder = all.path().join("key");
    assert!(open(&folder).unwrap().is_none());
    let mut trees = StateTrees::new(&config());
    for _ in 0..2 {
        let booted = booted();
        let digest = booted.frozen.digest(&mut trees);
        files::write(&folder, booted).unwrap();
        let prompt = open(&folder).unwrap().expect("just written");
        assert_eq!(prompt.frozen().digest(&mut StateTrees::new(&config())), digest);
        assert_eq!(prompt.keyframe().digest, digest);
        assert!(prompt.derived().screens[0].dump.starts_with("root@tiny:~#"));
        // The trees come from the pack, which therefore has all there is of RAM.
        let mut trees = prompt.trees().unwrap();
        assert_eq!(prompt.frozen().digest(&mut trees), digest);
        let mut one = Machine::thaw(prompt.frozen());
        let mut two = Machine::thaw(prompt.frozen());
        for machine in [&mut one, &mut two] {
            machine.run(machine.now() + Ticks::from_ns(100_000));
        }
        assert_eq!(one.digest(), two.digest());
        assert_ne!(one.digest(), digest);
        assert_eq!(prompt.frozen().digest(&mut trees), digest, "files are never written to");
    }
    let names: Vec<_> = fs::read_dir(all.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["key"]);
}

#[test]
fn damage_is_found() {
    let check = |what: &str, damage: fn(&Path)| {
        let all = tempfile::tempdir().unwrap();
        let folder = all.path().join("key");
        files::write(&folder, booted()).unwrap();
        damage(&folder);
        match open(&folder) {
            Err(PromptError::Damaged { problem, .. }) => assert!(!problem.is_empty(), "{what}"),
            Err(other) => panic!("{what}: {other}"),
            Ok(_) => panic!("{what}: taken"),
        }
    };
    fn file(folder: &Path, name: &str) -> File {
        OpenOptions::new().write(true).open(folder.join(name)).unwrap()
    }
    check("no meta", |folder| fs::remove_file(folder.join("meta")).unwrap());
    check("no pages", |folder| fs::remove_file(folder.join("pages")).unwrap());
    check("no pack", |folder| fs::remove_file(folder.join("pack")).unwrap());
    check("an empty meta", |folder| file(folder, "meta").set_len(0).unwrap());
    check("a short meta", |folder| file(folder, "meta").set_len(100).unwrap());
    check("another byte of meta", |folder| file(folder, "meta").write_all_at(b"x", 50).unwrap());
    check("short pages", |folder| file(folder, "pages").set_len(4096).unwrap());
    check("another byte of a page", |folder| {
        file(folder, "pages").write_all_at(&[0x55], 4095).unwrap();
    });
    check("a byte more of the pack", |folder| {
        let file = file(folder, "pack");
        let end = file.metadata().unwrap().len();
        file.write_all_at(b"x", end).unwrap();
    });
}

#[test]
fn files_that_only_look_other_are_taken() {
    let all = tempfile::tempdir().unwrap();
    let folder = all.path().join("key");
    files::write(&folder, booted()).unwrap();
    // As after a copy of the whole data directory.
    for name in ["pages", "pack"] {
        let (path, copy) = (folder.join(name), folder.join("copy"));
        fs::copy(&path, &copy).unwrap();
        fs::rename(&copy, &path).unwrap();
    }
    assert!(open(&folder).unwrap().is_some());
}

#[test]
fn the_least_recently_used_go() {
    let all = tempfile::tempdir().unwrap();
    let folder = |n: usize| all.path().join(format!("key{n}"));
    for n in 0..PROMPTS_MAX + 3 {
        fs::create_dir(folder(n)).unwrap();
        let used = File::create(folder(n).join("used")).unwrap();
        // The lower ones were used later, but for the one that is kept anyway.
        let age = Duration::from_secs(100 * n as u64 + 1);
        used.set_modified(SystemTime::now() - age).unwrap();
    }
    let left_behind = all.path().join("key.new");
    fs::create_dir(&left_behind).unwrap();
    let last = PROMPTS_MAX + 2;
    sweep(all.path(), &folder(last));
    let kept: Vec<bool> = (0..=last).map(|n| folder(n).exists()).collect();
    let expected: Vec<bool> = (0..=last).map(|n| n < PROMPTS_MAX - 1 || n == last).collect();
    assert_eq!(kept, expected);
    assert!(!left_behind.exists());
}
