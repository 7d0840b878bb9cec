//! Files that are what they should be, and all that are not.

mod bad_input;

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::branch::{BranchId, BranchKind, ForkPoint, Origin};
use crate::header::{Content, DiskBase, HeaderFirmware};
use crate::journal::Journal;
use crate::log::UNIT_TICKS;
use crate::testing::{self, Folder, key};
use crate::timeline::Timeline;
use stackvm_machine::Instant;

fn units(n: u64) -> Instant {
    Instant::from_ticks(n * UNIT_TICKS)
}

/// A session with keys, a keyframe, and a deleted branch between two that are not.
fn session(folder: &Folder, name: &str) -> Journal {
    let mut journal = testing::journal(&folder.join(name));
    for n in 0..5 {
        journal.append(&key(2000 + 100 * n, b'k')).unwrap();
    }
    let pack = journal.new_pack_path();
    let mut keyframe = testing::keyframe(&pack, BranchId::TRUNK, units(2400), 9);
    keyframe.entries = 5;
    journal.add_keyframe(&keyframe, &pack).unwrap();
    for name in ["deleted", "kept"] {
        let fork = ForkPoint { branch: BranchId::TRUNK, at: units(2300), entries: 4 };
        let kind = BranchKind::Exact;
        let origin = Origin::Fork(fork);
        let branch = journal.begin_branch(origin, fork.at, name, "", kind, 0).unwrap();
        journal.append(&key(2600, b'b')).unwrap();
        if name == "kept" {
            journal.delete_branch(BranchId(branch.0 - 1)).unwrap();
        }
    }
    journal
}

fn written(folder: &Folder, name: &str, keyframes: Keyframes) -> PathBuf {
    let path = folder.join(&format!("{name}.vmcast"));
    let journal = session(folder, name);
    write(&journal.timeline().unwrap(), &path, keyframes, &mut |_, _| true).unwrap();
    path
}

#[test]
fn a_file_has_everything_in_it() {
    let folder = Folder::new();
    let path = written(&folder, "a", Keyframes::All);
    for file in ["a.kernel", "a.disk"] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    fs::remove_dir_all(folder.join("a")).unwrap();
    let timeline = Timeline::open(&path).unwrap();
    timeline.verify_chunks().unwrap();
    let names: Vec<_> = timeline.branches().iter().map(|branch| branch.name.as_str()).collect();
    assert_eq!(names, ["main", "kept"]);
    assert_eq!(timeline.entries(BranchId(1), 0).count(), 1);
    assert_eq!(timeline.keyframes().len(), 2);
    let config = timeline.header().machine_config(&timeline.chunks()).unwrap();
    assert_eq!(config.kernel.unwrap()[4..], *b" a kernel");
    let mut sector = [0; 512];
    config.disks[0].source.read_at(4096, &mut sector).unwrap();
    assert_eq!(sector, [0x55; 512]);
    assert!(matches!(timeline.header().firmware, HeaderFirmware::Auto));
}

#[test]
fn the_same_recording_makes_the_same_bytes() {
    let folder = Folder::new();
    let bytes = ["a", "b"].map(|name| {
        let path = written(&folder, name, Keyframes::First);
        fs::read(path).unwrap()
    });
    assert!(bytes[0] == bytes[1]);
    let all = fs::read(written(&folder, "c", Keyframes::All)).unwrap();
    let log_and_first = bytes[0].windows(10).position(|name| name == b"later.pack");
    assert!(log_and_first.is_none() && all.len() > bytes[0].len());
}

#[test]
fn ordinary_tools_open_it() {
    let folder = Folder::new();
    let path = written(&folder, "a", Keyframes::All);
    let script = "import sys, zipfile, json
z = zipfile.ZipFile(sys.argv[1])
assert z.testzip() is None
assert z.namelist() == ['log', 'first.pack', 'later.pack', 'manifest.json'], z.namelist()
print(json.loads(z.read('manifest.json'))['header']['label'])";
    let output = std::process::Command::new("python3")
        .args(["-c", script])
        .arg(&path)
        .output()
        .expect("python3, which the tests need");
    assert_eq!(output.stdout, b"made-up\n", "{output:?}");
}

#[test]
fn a_changed_file_is_not_taken_in() {
    let folder = Folder::new();
    let check = |name: &str, file: &str, content: &[u8]| {
        let journal = session(&folder, name);
        let path = folder.join(&format!("{name}.vmcast"));
        let changed = folder.join(&format!("{name}.{file}"));
        fs::write(&changed, content).unwrap();
        let timeline = journal.timeline().unwrap();
        let error = write(&timeline, &path, Keyframes::All, &mut |_, _| true).expect_err(file);
        assert!(matches!(&error, WriteError::Changed(place) if place.ends_with(file)), "{error}");
        let left: Vec<_> = fs::read_dir(folder.join("")).unwrap().map(Result::unwrap).collect();
        assert!(left.iter().all(|file| !file.file_name().to_string_lossy().contains(".vmcast")));
    };
    check("a", "kernel", b"\x13\x00\x00\x00 another kernel");
    check("b", "disk", &[0x55; 8192]);
    check("c", "disk", &[0; 4096]);
}

#[test]
fn a_cancelled_write_leaves_what_was_there() {
    let folder = Folder::new();
    let path = written(&folder, "a", Keyframes::All);
    let before = fs::read(&path).unwrap();
    let timeline = Timeline::open(&path).unwrap();
    let error = write(&timeline, &path, Keyframes::First, &mut |_, _| false).expect_err("no");
    assert!(matches!(error, WriteError::Cancelled), "{error}");
    assert!(fs::read(&path).unwrap() == before);
    let mut told = Vec::new();
    write(&timeline, &path, Keyframes::First, &mut |done, total| {
        told.push((done, total));
        true
    })
    .unwrap();
    assert!(told.windows(2).all(|two| two[0].0 <= two[1].0));
    assert!(told.iter().all(|(done, total)| done <= total));
    assert_eq!(Timeline::open(&path).unwrap().keyframes().len(), 1);
}

#[test]
fn a_header_comes_from_a_configuration_and_makes_one() {
    let folder = Folder::new();
    let journal = testing::journal(&folder.join("a"));
    let timeline = journal.timeline().unwrap();
    let header = timeline.header();
    let config = header.machine_config(&timeline.chunks()).unwrap();
    assert_eq!((config.memory_bytes, config.consoles, config.disks.len()), (2 << 20, 1, 1));
    assert_eq!(config.disks[0].source.size_bytes(), 8192);
    assert_eq!(config.disks[0].serial, "disk0");
    let DiskBase::File(Content::File { hash, .. }) = &header.disks[0].base else {
        panic!("a disk in a file");
    };
    assert!(hash.is_some());
}
