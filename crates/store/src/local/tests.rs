//! The local store: what goes in comes out, and what others have lost is not lost here.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::PAGE_BYTES;
use crate::backend::RootKind;

mod crashes;
mod losses;
mod races;

const PAGES: u64 = 2000;

fn quiet(_: Progress) -> Continue {
    Continue::Yes
}

fn name(text: &str) -> RootName {
    text.parse().expect("a name")
}

fn store(folder: &TempDir) -> LocalStore {
    LocalStore::open(&folder.path().join("store")).expect("a store")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A sparse file with pages of these kinds.
fn disk(path: &Path, pages: u64, kinds: impl IntoIterator<Item = (u64, u64)>) -> File {
    let options = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).clone();
    let file = options.open(path).expect("a file");
    file.set_len(pages * PAGE_BYTES as u64).expect("room");
    for (number, kind) in kinds {
        file.write_all_at(&page(kind), number * PAGE_BYTES as u64).expect("room");
    }
    file
}

/// A page that compresses a little.
fn page(kind: u64) -> Vec<u8> {
    let mut state = kind.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let words = (0..PAGE_BYTES / 8).map(|at| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if at % 2 == 0 { state } else { kind }
    });
    words.flat_map(u64::to_le_bytes).collect()
}

fn check_in(store: &LocalStore, file: &File, new: &str, parent: Option<&str>) -> CheckedIn {
    try_check_in(store, file, new, parent).expect("it fits")
}

fn try_check_in(
    store: &LocalStore,
    file: &File,
    new: &str,
    parent: Option<&str>,
) -> Result<CheckedIn, StoreError> {
    let what = CheckIn { name: name(new), kind: RootKind::Disk, parent: parent.map(name) };
    store.check_in(file, &what, &mut quiet)
}

fn check_out(store: &LocalStore, root: &str) -> Result<Vec<u8>, StoreError> {
    let folder = folder();
    let path = folder.path().join("out");
    let file = File::create(&path).expect("a file");
    store.check_out(&name(root), &file, &path, &mut quiet)?;
    Ok(fs::read(&path).expect("it is there"))
}

fn assert_holds(store: &LocalStore, root: &str, file: &File) {
    let mut expected = vec![0; file.metadata().expect("it is there").len() as usize];
    file.read_exact_at(&mut expected, 0).expect("it is there");
    assert!(check_out(store, root).expect("whole") == expected, "{root} is what it was");
}

#[test]
fn what_is_checked_in_comes_out() {
    let folder = folder();
    let store = store(&folder);
    for (number, bytes) in [0, 1, 4096, 4097, 3_000_000].into_iter().enumerate() {
        let path = folder.path().join("file");
        let content: Vec<u8> = (0..bytes).map(|at| (at / 100) as u8).collect();
        fs::write(&path, &content).expect("room");
        let root = format!("f{number}");
        let done = check_in(&store, &File::open(&path).expect("there"), &root, None);
        assert_eq!(done.root.size_bytes, bytes as u64);
        assert_eq!(check_out(&store, &root).expect("whole"), content);
        assert_eq!(
            check_out(&super::LocalStore::open(&folder.path().join("store")).expect("it"), &root)
                .expect("whole"),
            content
        );
    }
    let roots: Vec<String> =
        store.roots().expect("listed").iter().map(|root| root.name.to_string()).collect();
    assert_eq!(roots, ["f0", "f1", "f2", "f3", "f4"]);
}

#[test]
fn only_changes_take_room() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), PAGES, (0..PAGES).map(|n| (n, n + 1)));
    let first = check_in(&store, &file, "one", None);
    assert_eq!(first.new_pages, PAGES);
    file.write_all_at(&page(99_999), 700 * 4096).expect("room");
    file.write_all_at(&page(3), 1700 * 4096).expect("room");
    file.write_all_at(&[0; 4096], 5 * 4096).expect("room");
    let second = check_in(&store, &file, "two", Some("one"));
    assert_eq!(second.new_pages, 1);
    assert!(second.stored_bytes < 4000, "{} bytes", second.stored_bytes);
    assert_holds(&store, "two", &file);
    let changes = store.diff(&name("one"), &name("two")).expect("same size");
    let change = |page: u64| Change { offset: page * 4096, bytes: 4096 };
    assert_eq!(changes, [change(5), change(700), change(1700)]);
    let same = check_in(&store, &file, "three", None);
    assert_eq!((same.new_pages, same.stored_bytes), (0, 0));
    assert_holds(&store, "three", &file);
}

#[test]
fn a_clone_of_a_large_disk_costs_kilobytes() {
    let folder = folder();
    let store = store(&folder);
    let size = 10 << 30;
    let file = disk(&folder.path().join("d"), size / 4096, (0..500).map(|n| (n * 5000, n)));
    let done = check_in(&store, &file, "big", None);
    // Some file systems are not sparse at single pages.
    assert!(done.read_bytes < 1 << 30, "{} bytes read", done.read_bytes);
    let bytes = |store: &LocalStore| {
        let stats = store.stats().expect("stats");
        let index = ["index.sqlite", "index.sqlite-wal"]
            .map(|name| folder.path().join("store").join(name))
            .map(|path| fs::metadata(path).map_or(0, |file| file.len()));
        stats.pack_bytes + index.iter().sum::<u64>()
    };
    let before = bytes(&store);
    store.clone_root(&name("big"), &name("twin")).expect("it is there");
    file.write_all_at(&page(12_345), 77 * 4096).expect("room");
    check_in(&store, &file, "changed", Some("twin"));
    assert!(bytes(&store) < before + 64_000, "{} after {before}", bytes(&store));

    let path = folder.path().join("out");
    let out = File::create(&path).expect("a file");
    store.check_out(&name("changed"), &out, &path, &mut quiet).expect("whole");
    let out = out.metadata().expect("it is there");
    assert_eq!(out.len(), size);
    assert!(out.blocks() * 512 < 1 << 30, "zeroes are holes");
}

#[test]
fn names_are_checked() {
    let check = |text: &str, fine: bool| {
        assert_eq!(text.parse::<RootName>().is_ok(), fine, "{text}");
    };
    check("a", true);
    check("debian@2026-11-21:3_x.y-z", true);
    check("", false);
    check("-a", false);
    check("../a", false);
    check("a/b", false);
    check("ä", false);
    check(&"a".repeat(64), true);
    check(&"a".repeat(65), false);

    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 3, [(1, 1)]);
    check_in(&store, &file, "a", None);
    let error = try_check_in(&store, &file, "a", None).expect_err("it is taken");
    assert!(matches!(error, StoreError::Taken(_)), "{error}");
    let error = try_check_in(&store, &file, "b", Some("x")).expect_err("no such parent");
    assert!(matches!(error, StoreError::NoRoot(_)), "{error}");
    let error = store.clone_root(&name("a"), &name("a")).expect_err("it is taken");
    assert!(matches!(error, StoreError::Taken(_)), "{error}");
    let error = store.remove(&name("x")).expect_err("no such root");
    assert!(matches!(error, StoreError::NoRoot(_)), "{error}");
}

#[test]
fn what_is_called_off_leaves_nothing() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), PAGES, (0..PAGES).map(|n| (n, n + 1)));
    let what = CheckIn { name: name("a"), kind: RootKind::Ram, parent: None };
    let error = store.check_in(&file, &what, &mut |_| Continue::No).expect_err("called off");
    assert!(matches!(error, StoreError::Cancelled), "{error}");
    assert_eq!(store.stats().expect("stats"), Stats::default());
    for part in ["incoming", "packs", "quarantine"] {
        let left = fs::read_dir(folder.path().join("store").join(part)).expect("listed").count();
        assert_eq!(left, 0, "{part}");
    }
}

#[test]
fn gc_removes_what_nothing_needs_and_nothing_else() {
    let folder = folder();
    let store = store(&folder);
    let mut files = BTreeMap::new();
    for number in 0..6_u64 {
        let kinds = (0..600).map(|n| (n, if n < 300 { n + 1 } else { number * 1000 + n }));
        let file = disk(&folder.path().join(number.to_string()), 600, kinds);
        check_in(&store, &file, &format!("r{number}"), None);
        files.insert(number, file);
    }
    let report = store.gc(Duration::ZERO).expect("all can be read");
    assert_eq!(report, GcReport { kept_packs: 6, ..GcReport::default() });
    // What the others share with the first stays with it.
    for number in [0, 2, 4] {
        store.remove(&name(&format!("r{number}"))).expect("it is there");
    }
    let report = store.gc(GRACE).expect("all can be read");
    assert_eq!((report.kept_packs, report.quarantined_packs), (4, 2));
    let stats = store.stats().expect("stats");
    assert_eq!((stats.packs, stats.quarantined_packs), (4, 2));
    let report = store.gc(Duration::ZERO).expect("all can be read");
    assert_eq!((report.kept_packs, report.purged_packs), (4, 2));
    for number in [1, 3, 5] {
        assert_holds(&store, &format!("r{number}"), &files[&number]);
        store.verify(&name(&format!("r{number}")), &mut quiet).expect("whole");
    }
    let report = store.scrub(&mut quiet).expect("it is read");
    assert_eq!((report.packs, report.damages.len()), (4, 0));
}

#[test]
fn a_pin_keeps_a_tree_until_it_ends() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 100, (0..100).map(|n| (n, n + 1)));
    let tree = check_in(&store, &file, "a", None).root.tree;
    let later = SystemTime::now() + Duration::from_secs(1000);
    store.pin("somebody", tree, later).expect("written");
    store.remove(&name("a")).expect("it is there");
    assert_eq!(store.gc(Duration::ZERO).expect("readable").kept_packs, 1);
    store.unpin("somebody").expect("written");
    store.pin("somebody", tree, SystemTime::now() - Duration::from_secs(1)).expect("written");
    assert_eq!(store.gc(Duration::ZERO).expect("readable").quarantined_packs, 1);
}
