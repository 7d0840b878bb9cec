//! Data losses of other stores, each as a test that it does not happen here.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::local::session::Session;

fn packs_of(folder: &TempDir) -> Vec<PathBuf> {
    let folder = folder.path().join("store/packs");
    let mut packs: Vec<PathBuf> =
        fs::read_dir(folder).expect("listed").map(|entry| entry.expect("entry").path()).collect();
    packs.sort();
    packs
}

/// Proxmox Backup Server, PSA-2025-00019-1: the collector lists what there is, a new snapshot reuses
/// old chunks, the old snapshot goes before the collector reads it, and the chunks are swept.
#[test]
fn chunks_reused_while_gc_runs_are_not_swept() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 500, (0..500).map(|n| (n, n + 1)));
    let old = check_in(&store, &file, "old", None);
    // A check-in that has found chunks of the old pack, and has not come to its end.
    let other = LocalStore::open(&folder.path().join("store")).expect("it is there");
    let (session, _) = Session::begin(&other, None).expect("it begins");
    assert!(session.contains(&old.root.tree.root));
    store.remove(&name("old")).expect("it is there");
    let report = store.gc(Duration::ZERO).expect("readable");
    assert_eq!((report.kept_packs, report.quarantined_packs), (1, 0));
    drop(session);
    let report = store.gc(Duration::ZERO).expect("readable");
    assert_eq!(report.quarantined_packs, 1);
}

/// The same, the other way round: what went to quarantine is not relied on by who saw it before.
#[test]
fn chunks_that_gc_took_are_written_again() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 500, (0..500).map(|n| (n, n + 1)));
    check_in(&store, &file, "old", None);
    let other = LocalStore::open(&folder.path().join("store")).expect("it is there");
    store.remove(&name("old")).expect("it is there");
    store.gc(Duration::ZERO).expect("readable");
    let again = check_in(&other, &file, "new", None);
    assert_eq!(again.new_pages, 500, "what it had open is not in use any more");
    store.gc(Duration::ZERO).expect("readable");
    assert_holds(&super::store(&folder), "new", &file);
}

/// A parent that is removed while something builds on it.
#[test]
fn a_removed_parent_stays_for_who_builds_on_it() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 500, (0..500).map(|n| (n, n + 1)));
    check_in(&store, &file, "old", None);
    let other = LocalStore::open(&folder.path().join("store")).expect("it is there");
    let (session, parent) = Session::begin(&other, Some(&name("old"))).expect("it begins");
    assert!(parent.is_some());
    store.remove(&name("old")).expect("it is there");
    assert_eq!(store.gc(Duration::ZERO).expect("readable").kept_packs, 1);
    drop(session);
}

/// A node that is a difference needs its base, though no root's tree has that any more.
#[test]
fn bases_of_differences_are_not_swept() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 5000, (0..5000).map(|n| (n, n + 1)));
    check_in(&store, &file, "v0", None);
    for version in 1..12_u64 {
        file.write_all_at(&page(70_000 + version), version * 4096).expect("room");
        let parent = format!("v{}", version - 1);
        let done = check_in(&store, &file, &format!("v{version}"), Some(&parent));
        assert!(done.stored_bytes < 60_000, "{} bytes", done.stored_bytes);
        store.remove(&name(&parent)).expect("it is there");
        store.gc(Duration::ZERO).expect("readable");
    }
    store.gc(Duration::ZERO).expect("readable");
    assert_holds(&super::store(&folder), "v11", &file);
}

/// Proxmox Backup Server, #5982: access times that the file system does not keep. None is looked at.
#[test]
fn access_times_do_not_matter() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 500, (0..500).map(|n| (n, n + 1)));
    check_in(&store, &file, "a", None);
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    for pack in packs_of(&folder) {
        let times = fs::FileTimes::new().set_accessed(long_ago).set_modified(long_ago);
        File::open(pack).expect("there").set_times(times).expect("ours");
    }
    assert_eq!(store.gc(Duration::ZERO).expect("readable").kept_packs, 1);
    assert_holds(&super::store(&folder), "a", &file);
}

/// restic, #4612: a list that fails is read as an empty one.
#[test]
fn what_cannot_be_listed_is_not_empty() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 500, (0..500).map(|n| (n, n + 1)));
    check_in(&store, &file, "a", None);
    for part in ["packs", "incoming"] {
        let path = folder.path().join("store").join(part);
        let aside = folder.path().join("aside");
        fs::rename(&path, &aside).expect("ours");
        // Not a folder: nobody, root included, can list it.
        fs::write(&path, b"").expect("room");
        let error = store.gc(Duration::ZERO).expect_err("it cannot be listed");
        assert!(matches!(error, StoreError::Io { .. }), "{part}: {error}");
        fs::remove_file(&path).expect("ours");
        fs::rename(&aside, &path).expect("ours");
    }
    assert_eq!(store.gc(Duration::ZERO).expect("readable").kept_packs, 1);
    assert_holds(&super::store(&folder), "a", &file);
}

/// An index that is lost is not an empty store.
#[test]
fn a_lost_index_is_not_an_empty_store() {
    let folder = folder();
    {
        let store = store(&folder);
        let file = disk(&folder.path().join("d"), 50, (0..50).map(|n| (n, n + 1)));
        check_in(&store, &file, "a", None);
    }
    for name in ["index.sqlite", "index.sqlite-wal", "index.sqlite-shm"] {
        let _ = fs::remove_file(folder.path().join("store").join(name));
    }
    let error = LocalStore::open(&folder.path().join("store")).expect_err("its index is gone");
    assert!(error.to_string().contains("backup"), "{error}");
    assert_eq!(packs_of(&folder).len(), 1);
}

/// restic, #4523 and #4677: what was compressed wrongly is noticed when it is needed. Here what was
/// written is read back before it is named.
#[test]
fn a_pack_written_wrongly_is_never_named() {
    let folder = folder();
    let store = store(&folder);
    let mut pack = crate::PackWriter::new(Vec::new());
    let wrong = page(1);
    pack.put(&Digest::of(b"something else"), &wrong).expect("memory takes it");
    let path = folder.path().join("store/incoming/x.pack");
    fs::write(&path, pack.finish().expect("memory takes it")).expect("room");
    let error = keeper::verified(&store, &path).expect_err("its chunk is another one");
    assert!(error.to_string().contains("another hash"), "{error}");
}

/// borg, #4829, #3444, #5325: damage that spreads, and repairs that remove. Damage is named with
/// the roots that need it, stops `gc`, and other roots stay readable.
#[test]
fn damage_is_named_and_nothing_is_removed() {
    let folder = folder();
    let store = store(&folder);
    let files: Vec<File> = (0..3_u64)
        .map(|number| {
            let path = folder.path().join(number.to_string());
            let file = disk(&path, 900, (0..900).map(|n| (n, n + 1 + number * 10_000)));
            check_in(&store, &file, &format!("r{number}"), None);
            file
        })
        .collect();
    let pack = packs_of(&folder).remove(1);
    let mut bytes = fs::read(&pack).expect("there");
    bytes[20_000..20_100].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).expect("ours");
    fs::write(&pack, &bytes).expect("ours");
    let report = store.scrub(&mut quiet).expect("it is read");
    let mut needing: Vec<&RootName> =
        report.damages.iter().flat_map(|damage| &damage.roots).collect();
    needing.sort();
    needing.dedup();
    assert_eq!(needing.len(), 1, "{report:?}");
    let damaged: usize = needing[0].as_str()[1..].parse().expect("a number");
    let pack_name = pack.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(report.damages.iter().any(|damage| damage.problem.contains(&pack_name)));
    for (number, file) in files.iter().enumerate() {
        let root = format!("r{number}");
        if number == damaged {
            assert!(store.verify(&name(&root), &mut quiet).is_err());
            assert!(check_out(&super::store(&folder), &root).is_err());
        } else {
            assert_holds(&super::store(&folder), &root, file);
        }
    }
    // A pack that is cut off stops the collection of garbage.
    store.remove(&name("r0")).expect("it is there");
    bytes.truncate(30_000);
    fs::write(&pack, &bytes).expect("ours");
    let error = store.gc(Duration::ZERO).expect_err("it is not known what is needed");
    assert!(matches!(error, StoreError::Unreadable { .. }), "{error}");
    assert_eq!(packs_of(&folder).len(), 3);
}

/// What is needed after all comes back out of quarantine.
#[test]
fn quarantine_gives_back() {
    let folder = folder();
    let store = store(&folder);
    let file = disk(&folder.path().join("d"), 500, (0..500).map(|n| (n, n + 1)));
    let done = check_in(&store, &file, "a", None);
    store.remove(&name("a")).expect("it is there");
    store.gc(GRACE).expect("readable");
    assert_eq!(packs_of(&folder).len(), 0);
    // As if a bug, or somebody by hand, had brought the name back.
    let root = Root { name: name("b"), ..done.root };
    store.catalog().adopt("nobody", None, &root).expect("written");
    let report = store.gc(Duration::ZERO).expect("readable");
    assert_eq!((report.rescued_packs, report.purged_packs), (1, 0));
    assert_holds(&super::store(&folder), "b", &file);
}
