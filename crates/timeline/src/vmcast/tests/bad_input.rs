//! Every way in which a file can be bad is refused with what is wrong; nothing panics.

use std::sync::Arc;

use super::super::zip::{Written, directory, local_header};
use super::*;
use crate::testing::Random;
use crate::timeline::OpenError;

/// The parts of a file, by name.
type Parts = Vec<(&'static str, Vec<u8>)>;

const NAMES: [&str; 4] = ["log", "first.pack", "later.pack", "manifest.json"];

fn sound(folder: &Folder) -> (Vec<u8>, Parts) {
    let bytes = fs::read(written(folder, "a", Keyframes::All)).unwrap();
    let source = Arc::new(bytes.clone());
    let found = super::super::zip::Directory::read("a", source, &NAMES).unwrap();
    let part = |name: &'static str| {
        let entry = found.entry(name).expect("a part");
        (name, found.read_entry(entry, u64::MAX).unwrap())
    };
    (bytes, NAMES.map(part).to_vec())
}

/// A ZIP file of these parts, with right checksums.
fn zipped(parts: &[(&'static str, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut entries = Vec::new();
    for (name, part) in parts {
        let (local, crc) = (bytes.len() as u64, crc32fast::hash(part));
        let entry = Written { name, local, crc, bytes: part.len() as u64 };
        bytes.extend(local_header(&entry));
        bytes.extend_from_slice(part);
        entries.push(entry);
    }
    let start = bytes.len() as u64;
    bytes.extend(directory(&entries, start));
    bytes
}

fn open(bytes: &[u8]) -> Result<Timeline, OpenError> {
    Timeline::open_vmcast("the file", Arc::new(bytes.to_vec()))
}

fn refused(bytes: &[u8], expected: &str) {
    let error = open(bytes).expect_err(expected).to_string();
    assert!(error.contains(expected), "{error:?} does not say {expected:?}");
}

fn with(parts: &Parts, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut parts = parts.clone();
    change(&mut parts.iter_mut().find(|part| part.0 == name).expect("a part").1);
    zipped(&parts)
}

fn with_manifest(parts: &Parts, change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
    with(parts, "manifest.json", |bytes| {
        let mut manifest = serde_json::from_slice(bytes).unwrap();
        change(&mut manifest);
        *bytes = serde_json::to_vec(&manifest).unwrap();
    })
}

#[test]
fn a_truncated_file_is_refused() {
    let (bytes, _) = sound(&Folder::new());
    for length in (0..bytes.len()).step_by(97).chain(bytes.len() - 200..bytes.len()) {
        open(&bytes[..length]).expect_err("cut");
    }
    refused(&bytes[..bytes.len() / 2], "cut off");
    refused(b"", "too short");
    refused(&[7; 5000], "no ZIP file");
}

#[test]
fn flipped_bits_are_noticed_when_it_is_opened_or_verified() {
    let (bytes, _) = sound(&Folder::new());
    let found = super::super::zip::Directory::read("a", Arc::new(bytes.clone()), &NAMES).unwrap();
    let parts = NAMES.map(|name| found.entry(name).expect("a part"));
    let mut random = Random::new(1);
    let mut noticed = 0;
    for bit in (0..1500).map(|_| random.below(bytes.len() as u64 * 8)) {
        let mut bytes = bytes.clone();
        bytes[bit as usize / 8] ^= 1 << (bit % 8);
        if open(&bytes).and_then(|timeline| timeline.verify_chunks()).is_err() {
            noticed += 1;
            continue;
        }
        // ZIP has dates, versions and attributes that nothing depends on; the parts have not.
        let at = bit / 8;
        let inside = parts.iter().find(|part| (part.data..part.data + part.bytes).contains(&at));
        assert!(inside.is_none(), "byte {at} in {inside:?}");
    }
    assert!(noticed > 1000, "only {noticed} of 1500");
}

#[test]
fn a_file_packed_again_is_refused_unless_its_parts_are_as_they_were() {
    let folder = Folder::new();
    let (_, parts) = sound(&folder);
    let again = |method: &str| {
        let path = folder.join("again.zip");
        let script = format!(
            "import sys, zipfile\nwith zipfile.ZipFile(sys.argv[2], 'w', zipfile.{method}) as new:\n \
             old = zipfile.ZipFile(sys.argv[1])\n [new.writestr(name, old.read(name)) for name in \
             sorted(old.namelist())]"
        );
        let status = std::process::Command::new("python3")
            .args(["-c", &script])
            .args([folder.join("a.vmcast"), path.clone()])
            .status()
            .expect("python3, which the tests need");
        assert!(status.success());
        fs::read(path).unwrap()
    };
    refused(&again("ZIP_DEFLATED"), "is compressed: it was packed again by another program");
    open(&again("ZIP_STORED")).expect("the same parts");
    open(&zipped(&parts)).expect("the same parts");
}

#[test]
fn zip_bombs_and_path_tricks_are_refused() {
    let (bytes, parts) = sound(&Folder::new());
    for name in ["../evil", "/etc/passwd", "log/", "LOG", "a\\b", "log2", "log\0"] {
        let mut parts = parts.clone();
        parts.push((name, b"x".to_vec()));
        refused(&zipped(&parts), "does not belong into a recording");
    }
    let mut twice = parts.clone();
    twice.push(parts[0].clone());
    refused(&zipped(&twice), "twice");
    let many: Parts = (0..65).map(|_| ("log", Vec::new())).collect();
    refused(&zipped(&many), "has 65 entries");
    for name in NAMES.iter().filter(|name| **name != "later.pack") {
        let parts: Parts = parts.iter().filter(|part| part.0 != *name).cloned().collect();
        refused(&zipped(&parts), &format!("it has no {name:?}"));
    }
    // The directory says that two parts share their bytes, or that one has all there are.
    let entries = |second: u64, bytes: u64| {
        let mut file = zipped(&parts[..1]);
        let start = file.len() as u64;
        let crc = 0;
        let entry = |name, local, bytes| Written { name, local, crc, bytes };
        let parts = [entry("log", 0, 4), entry("log", second, bytes)];
        file.extend(directory(&parts[..1], start));
        file.truncate(start as usize);
        file.extend(directory(&[entry("log", second, bytes)], start));
        file
    };
    refused(&entries(0, u64::MAX), "lies outside");
    refused(&entries(u64::MAX - 3, 4), "lies outside");
    refused(&entries(5, 4), "is not what the ZIP directory says");
    let overlapping = {
        let (log, first) = (&parts[0], &parts[1]);
        let mut inner = local_header(&Written { name: first.0, local: 0, crc: 0, bytes: 8 });
        inner.extend_from_slice(&log.1);
        let outer = Written { name: "log", local: 0, crc: 0, bytes: inner.len() as u64 };
        let mut file = local_header(&outer);
        let local = file.len() as u64;
        file.extend(inner);
        let start = file.len() as u64;
        let inner = Written { name: first.0, local, crc: 0, bytes: 8 };
        file.extend(directory(&[outer, inner], start));
        file
    };
    refused(&overlapping, "overlap");
    let mut behind = bytes;
    behind.extend_from_slice(b"something");
    refused(&behind, "has something behind it");
}

#[test]
fn other_versions_are_named() {
    let (_, parts) = sound(&Folder::new());
    let check = |change: fn(&mut serde_json::Value), expected: &str| {
        let error = open(&with_manifest(&parts, change)).expect_err(expected);
        assert!(matches!(error, OpenError::Version { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    check(|m| m["version"] = 2.into(), "version 2 of the format");
    check(|m| m["header"]["profile"] = "virt-9".into(), "profile virt-9");
    check(|m| m["header"]["determinism_version"] = 77.into(), "determinism 77");
    let future = with_manifest(&parts, |m| {
        m["version"] = 3.into();
        m["header"].as_object_mut().unwrap().remove("harts");
        m["branches"] = "something else".into();
    });
    refused(&future, "version 3 of the format");
}

#[test]
fn absurd_manifests_are_refused() {
    let (_, parts) = sound(&Folder::new());
    let check = |expected: &str, change: &dyn Fn(&mut serde_json::Value)| {
        refused(&with_manifest(&parts, change), expected);
    };
    check("format is \"tar\"", &|m| m["format"] = "tar".into());
    check("memory is not possible", &|m| m["header"]["memory_bytes"] = u64::MAX.into());
    check("memory is not possible", &|m| m["header"]["memory_bytes"] = 5.into());
    check("harts", &|m| m["header"]["harts"] = 4096.into());
    check("rate", &|m| m["header"]["rate_ticks"] = 0.into());
    check("number of devices", &|m| m["header"]["consoles"] = 255.into());
    check("label", &|m| m["header"]["label"] = "\u{1b}[2J".into());
    check("kernel has", &|m| {
        let blob = &mut m["header"]["kernel"]["Stored"];
        blob["bytes"] = (1u64 << 50).into();
        blob["tree"]["pages"] = (1u64 << 38).into();
    });
    check("another size", &|m| m["header"]["kernel"]["Stored"]["bytes"] = 50_000.into());
    check("kernel is not in the file", &|m| {
        m["header"]["kernel"] = serde_json::json!({"File": {
            "path": "/etc/passwd", "bytes": 5, "hash": null, "modified_unix_ns": 1}});
    });
    check("disk 0", &|m| m["header"]["disks"][0]["size_bytes"] = (1u64 << 60).into());
    check("but 3 up to", &|m| m["branches"][0]["entries"] = 3.into());
    check("two branches are named", &|m| m["branches"][1]["name"] = "main".into());
    check("leaves a later one", &|m| m["branches"][1]["origin"]["Fork"]["branch"] = 9.into());
    check("where that never was", &|m| m["branches"][1]["origin"]["Fork"]["entries"] = 99.into());
    check("where that never was", &|m| m["branches"][1]["origin"]["Fork"]["entries"] = 2.into());
    check("where it should be", &|m| m["branches"][0]["log_bytes"] = u64::MAX.into());
    check("where it should be", &|m| m["branches"][1]["log_start"] = 1.into());
    check("no branch's", &|m| m["branches"] = serde_json::json!([]));
    check("no first keyframe", &|m| m["keyframes"] = serde_json::json!([]));
    check("is of no branch", &|m| m["keyframes"][1]["branch"] = 17.into());
    check("never was at its keyframe", &|m| m["keyframes"][1]["at"] = u64::MAX.into());
    check("another machine", &|m| m["keyframes"][0]["ram"]["pages"] = 7.into());
    check("names nobody", &|m| m["actors"] = serde_json::json!([]));
    check("manifest.json", &|m| m["keyframes"][0]["ram"]["root"] = "00".into());
    refused(&with(&parts, "manifest.json", |bytes| bytes.fill(b'[')), "manifest.json");
    refused(&with(&parts, "log", Vec::clear), "where it should be");
    refused(&with(&parts, "log", |log| log.extend([0; 50])), "no branch's");
}

#[test]
fn a_missing_or_damaged_chunk_is_named() {
    let (_, parts) = sound(&Folder::new());
    // The packs of a file whose keyframes are other ones.
    let root = "ab".repeat(32);
    let change = |part: &'static str| {
        let root = root.clone();
        with_manifest(&parts, move |m| m["keyframes"][0][part]["tree"]["root"] = root.into())
    };
    refused(&change("state"), &format!("chunk {root} is missing"));
    let without = with_manifest(&parts, |m| m["keyframes"][0]["ram"]["root"] = root.clone().into());
    refused(&without, &format!("chunk {root} is missing"));
    let damaged = with(&parts, "first.pack", |pack| pack[40] ^= 1);
    let error = open(&damaged).and_then(|timeline| timeline.verify_chunks());
    let error = error.expect_err("a damaged chunk").to_string();
    assert!(error.contains("first.pack in the file is damaged"), "{error}");
}

#[test]
fn anything_at_all_is_refused_or_read() {
    // As the fuzz target: parts of a sound file are changed and the checksums made right again.
    let (_, parts) = sound(&Folder::new());
    let mut random = Random::new(9);
    for _ in 0..400 {
        let name = NAMES[random.below(4) as usize];
        let bytes = with(&parts, name, |part| {
            for _ in 0..1 + random.below(4) {
                let at = random.below(part.len() as u64) as usize;
                part[at] = random.below(256) as u8;
            }
        });
        if let Ok(timeline) = open(&bytes) {
            let _ = timeline.verify_chunks();
            let _ = timeline.header().machine_config(&timeline.chunks());
            timeline.track(BranchId::TRUNK).for_each(drop);
        }
    }
}
