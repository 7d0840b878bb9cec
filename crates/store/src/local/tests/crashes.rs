//! The host dies after every possible operation; what had a name before still has it, and is whole.

use std::process::{Command, Stdio};

use super::*;

/// One life: a check-in on top of another, a clone, a removal, two collections.
fn life(folder: &Path, host: &Host, files: &[File; 2]) -> Result<(), StoreError> {
    let store = LocalStore::open_on(folder, host.clone())?;
    try_check_in(&store, &files[1], "second", Some("first"))?;
    store.clone_root(&name("second"), &name("third"))?;
    store.remove(&name("second"))?;
    store.gc(GRACE)?;
    store.remove(&name("garbage"))?;
    store.gc(Duration::ZERO)?;
    store.gc(Duration::ZERO)?;
    Ok(())
}

#[test]
fn a_crash_at_any_operation_loses_nothing() {
    let files_folder = folder();
    // Two levels of nodes, and few pages: what takes time is done for every operation.
    let kinds = |changed: u64| (480..560).map(move |n| (n, n + 1 + (n / 540) * changed));
    let first = disk(&files_folder.path().join("1"), 700, kinds(0));
    let second = disk(&files_folder.path().join("2"), 700, kinds(1000));
    let other = disk(&files_folder.path().join("3"), 700, (0..20).map(|n| (n, n + 7000)));
    let files = [first, second];
    let before = files_folder.path().join("before");
    let store = LocalStore::open(&before).expect("a store");
    check_in(&store, &files[0], "first", None);
    check_in(&store, &other, "garbage", None);
    // It stays open, so that its index is not being written while it is copied.
    let _open = store;
    let mut operations = 1;
    loop {
        let place = folder_in_memory();
        let path = place.path().join("store");
        copy(&before, &path);
        let host = Host::dying_after(operations);
        let done = life(&path, &host, &files);
        assert_eq!(done.is_err(), host.is_dead(), "{operations}: {done:?}");

        let store = LocalStore::open(&path).expect("it is readable after a crash");
        let names: Vec<String> =
            store.roots().expect("listed").iter().map(|root| root.name.to_string()).collect();
        assert!(names.contains(&"first".to_owned()), "{operations}: {names:?}");
        for root in &names {
            match root.as_str() {
                "first" => assert_holds(&store, root, &files[0]),
                "garbage" => assert_holds(&store, root, &other),
                _ => assert_holds(&store, root, &files[1]),
            }
        }
        // At worst there is garbage, and it goes.
        store.gc(Duration::ZERO).expect("readable");
        store.gc(Duration::ZERO).expect("readable");
        assert!(store.scrub(&mut quiet).expect("it is read").damages.is_empty(), "{operations}");
        let left = |part: &str| fs::read_dir(path.join(part)).expect("listed").count() as u64;
        assert_eq!((left("incoming"), left("quarantine")), (0, 0), "{operations}");
        assert_eq!(left("packs"), store.stats().expect("stats").packs, "{operations}");
        if done.is_ok() {
            assert_eq!(names, ["first", "third"]);
            assert!(operations > 60, "only {operations} operations were seen");
            return;
        }
        operations += 1;
    }
}

/// A folder where a sync costs nothing, if there is one: the host that dies here keeps its memory.
fn folder_in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| folder())
}

/// A folder with all that is in it, but for what SQLite shares between processes.
fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("room");
    for entry in fs::read_dir(from).expect("listed") {
        let path = entry.expect("listed").path();
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else if path.extension().is_none_or(|end| end != "sqlite-shm") {
            fs::copy(&path, &to).expect("room");
        }
    }
}

const CHILD: &str = "STACKVM_STORE_TEST_CHILD";

/// What the child of the test below does: it writes until it is killed.
#[test]
fn child_that_writes() {
    let Some(folder) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let store = LocalStore::open(&folder.join("store")).expect("a store");
    let names = |store: &LocalStore| store.roots().expect("listed").len();
    for round in names(&store).. {
        let kinds = (0..400).map(|n| (n, n + 1 + round as u64 * (n % 5)));
        let file = disk(&folder.join("child"), 400, kinds);
        let root = format!("c{round}-{}", std::process::id());
        check_in(&store, &file, &root, None);
        store.gc(Duration::ZERO).expect("readable");
    }
}

#[test]
fn a_killed_process_loses_nothing_that_has_a_name() {
    let folder = folder_in_memory();
    let program = std::env::current_exe().expect("this test");
    let mut most = 0;
    for round in 0..100_u64 {
        // On a busy computer the first children come to nothing; later ones have more time.
        if round >= 12 && most > 0 {
            break;
        }
        let mut child = Command::new(&program)
            .args(["--exact", "local::tests::crashes::child_that_writes", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        std::thread::sleep(Duration::from_millis(40 + round * 23));
        child.kill().expect("it runs until it is killed");
        child.wait().expect("it is ours");
        let store = store(&folder);
        let roots = store.roots().expect("listed");
        assert!(roots.len() >= most, "{} of {most} roots", roots.len());
        most = roots.len();
        for root in &roots {
            store.verify(&root.name, &mut quiet).expect("whole");
        }
        if round % 4 == 3 {
            store.gc(Duration::ZERO).expect("readable");
        }
    }
    assert!(most > 0, "the children did something");
    let store = store(&folder);
    store.gc(Duration::ZERO).expect("readable");
    let incoming = fs::read_dir(folder.path().join("store/incoming")).expect("listed").count();
    assert_eq!(incoming, 0);
}
