//! The store as its users see it, and bundles as an enemy makes them.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use super::manifest::{FileEntry, Manifest};
use super::*;
use crate::progress::{Cancel, Job, Phase, Progress};

fn with_job<T>(work: impl FnOnce(&mut Job<'_>) -> T) -> T {
    let cancel = Cancel::default();
    work(&mut Job::new(&mut |_| {}, &cancel))
}

fn draft(name: &str) -> Draft {
    Draft {
        name: name.to_owned(),
        append: "console=ttyS0".to_owned(),
        memory_bytes: 256 << 20,
        recipe: String::new(),
        packages: Vec::new(),
    }
}

fn add(store: &ImageStore, name: &str, kernel: &[u8], disk: Option<&[u8]>) -> Image {
    with_job(|job| {
        let staging = store.stage(job).expect("nobody else builds");
        fs::write(staging.path().join("kernel"), kernel).expect("writable");
        if let Some(disk) = disk {
            let mut file = fs::File::create(staging.path().join("disk")).expect("writable");
            file.write_all(disk).expect("writable");
            // A hole behind the data, as disks have.
            file.set_len(3 << 20).expect("writable");
        }
        staging.commit(&draft(name), job).expect("a whole image")
    })
}

fn store() -> (TempDir, ImageStore) {
    let root = tempfile::tempdir().expect("a temporary directory");
    let store = ImageStore::open(root.path()).expect("writable");
    (root, store)
}

/// What is in the store's directory beside the lock, and in `objects`.
fn leftovers(root: &TempDir) -> Vec<String> {
    let directories = [root.path().join("images"), root.path().join("images/objects")];
    let names = directories.iter().flat_map(|path| fs::read_dir(path).expect("readable"));
    let names = names.map(|entry| entry.expect("readable").file_name().into_string());
    let mut names: Vec<String> = names.map(|name| name.expect("plain names")).collect();
    names.retain(|name| name != "lock" && name != "objects");
    names.sort();
    names
}

#[test]
fn same_content_has_the_same_hash() {
    let (_root, store) = store();
    let first = add(&store, "tiny", b"kernel", Some(b"disk"));
    let second = add(&store, "tiny", b"kernel", Some(b"disk"));
    assert_eq!(first, second);
    assert_eq!(store.get("tiny").expect("built"), first);
    let other = add(&store, "tiny", b"another", Some(b"disk"));
    assert_ne!(other.hash, first.hash);
    assert_eq!(store.get("tiny").expect("built").hash, other.hash);
    assert_eq!(store.by_hash(&first.hash).expect("machines may stand on it").kernel, first.kernel);
    store.prune(std::slice::from_ref(&first.hash)).expect("writable");
    assert!(store.by_hash(&first.hash).is_ok());
    store.prune(&[]).expect("writable");
    assert!(store.by_hash(&first.hash).is_err());
    assert!(store.by_hash(&other.hash).is_ok());
}

#[test]
fn removal_leaves_nothing() {
    let (root, store) = store();
    add(&store, "mine", b"one", None);
    add(&store, "mine", b"two", None);
    store.remove("mine").expect("built");
    assert_eq!(leftovers(&root), Vec::<String>::new());
    assert!(store.list().expect("readable").is_empty());
    assert!(matches!(store.remove("mine"), Err(StoreError::Unknown { .. })));
}

#[test]
fn unknown_names_are_explained() {
    let (_root, store) = store();
    add(&store, "mine", b"kernel", None);
    let check = |name: &str, expected: &[&str]| {
        let error = store.get(name).expect_err("no such image").to_string();
        for part in expected {
            assert!(error.contains(part), "{name}: {error}");
        }
    };
    check("tyni", &["did you mean \"tiny\"", "mine"]);
    check("mien", &["did you mean \"mine\""]);
    check("tiny", &["not built yet", "stackvm image build tiny"]);
    check("../../etc/passwd", &["no image is named"]);
    check("objects", &["no image is named"]);
    check("zzzzzzzzzzz", &["images here: mine"]);
}

#[test]
fn a_dropped_or_killed_build_leaves_no_image() {
    let (root, store) = store();
    with_job(|job| {
        let staging = store.stage(job).expect("nobody else builds");
        fs::write(staging.path().join("kernel"), b"half").expect("writable");
    });
    assert_eq!(leftovers(&root), Vec::<String>::new());
    // What kill -9 leaves: the directory without its owner.
    let orphan = root.path().join("images/.building-x");
    fs::create_dir(&orphan).expect("writable");
    fs::write(orphan.join("kernel"), b"half").expect("writable");
    assert!(store.list().expect("readable").is_empty());
    add(&store, "tiny", b"kernel", None);
    assert!(!orphan.exists());
}

#[test]
fn a_second_builder_waits_and_says_for_whom() {
    let (_root, store) = store();
    with_job(|job| {
        let _first = store.stage(job).expect("nobody else builds");
        let cancel = Cancel::default();
        let stopper = cancel.clone();
        let mut said = Vec::new();
        let mut sink = |progress: Progress| {
            said.push(progress);
            stopper.cancel();
        };
        let second = store.stage(&mut Job::new(&mut sink, &cancel));
        assert!(matches!(second, Err(StoreError::Cancelled(_))));
        assert_eq!(said[0].phase, Phase::Waiting);
        assert!(said[0].message.contains(&std::process::id().to_string()), "{said:?}");
    });
    std::thread::sleep(Duration::from_millis(1));
    with_job(|job| store.stage(job).map(drop)).expect("the first is gone");
}

#[test]
fn damage_is_noticed() {
    let (_root, store) = store();
    let image = add(&store, "tiny", b"kernel", None);
    fs::write(&image.kernel, b"short").expect("writable");
    let error = store.get("tiny").expect_err("damaged").to_string();
    assert!(error.contains("kernel has 5 bytes, not 6"), "{error}");
    assert_eq!(add(&store, "tiny", b"kernel", None), image, "building again cures it");
}

#[test]
fn bundles_carry_images_to_other_stores() {
    let (_root, store) = store();
    let image = add(&store, "mine", &vec![7; 100_000], Some(b"disk"));
    for name in ["mine.tar", "mine.tar.gz"] {
        let (other_root, other) = self::store();
        let path = other_root.path().join(name);
        with_job(|job| store.export("mine", &path, job)).expect("writable");
        let again = with_job(|job| store.export("mine", &path, job)).expect_err("it exists");
        assert!(matches!(again, StoreError::Io { .. }), "{again}");
        let copy = with_job(|job| other.import(&path, job)).expect("a bundle");
        assert_eq!(copy.hash, image.hash);
        let read = |image: &Image| fs::read(image.disk.as_ref().expect("it has one"));
        assert_eq!(read(&copy).expect("readable"), read(&image).expect("readable"));
    }
}

/// A bundle under construction.
struct Hostile(tar::Builder<Vec<u8>>);

impl Hostile {
    fn manifest(files: &[(&str, u64, &[u8])]) -> Vec<u8> {
        let entry = |bytes: u64, content: &[u8]| FileEntry {
            bytes,
            blake3: blake3::hash(content).to_hex().to_string(),
        };
        let files =
            files.iter().map(|(role, bytes, data)| ((*role).to_owned(), entry(*bytes, data)));
        Manifest::new(&draft("mine"), files.collect()).to_bytes()
    }

    fn new(manifest: &[u8]) -> Hostile {
        Hostile(tar::Builder::new(Vec::new())).part("manifest.json", manifest)
    }

    fn part(self, name: &str, data: &[u8]) -> Hostile {
        self.entry(name, data, |_| {})
    }

    fn entry(mut self, name: &str, data: &[u8], change: impl FnOnce(&mut tar::Header)) -> Hostile {
        let mut header = tar::Header::new_ustar();
        // Past the library's own checks of names.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(data.len() as u64);
        change(&mut header);
        header.set_cksum();
        self.0.append(&header, data).expect("a Vec takes everything");
        self
    }
}

#[test]
fn hostile_bundles_are_refused() {
    let check = |bundle: Hostile, expected: &str| {
        let (root, store) = store();
        let path = root.path().join("bundle.tar");
        fs::write(&path, bundle.0.into_inner().expect("a Vec")).expect("writable");
        let error = with_job(|job| store.import(&path, job)).expect_err("hostile").to_string();
        assert!(error.contains(expected), "{expected}: {error}");
        assert_eq!(leftovers(&root), Vec::<String>::new(), "{expected}");
        assert!(!root.path().join("escaped").exists());
    };
    let good = Hostile::manifest(&[("kernel", 6, b"kernel")]);
    let start = || Hostile::new(&good);
    let at = |offset: u64| format!("kernel/{offset:016x}");
    check(start().part("../../escaped", b"x"), "a part is named");
    check(start().part("/tmp/escaped", b"x"), "a part is named");
    check(start().part("kernel/../escaped/x", b"x"), "a part is named");
    check(start().part("disk/0000000000000000", b"x"), "a part is named");
    check(start().part("kernel/0", b"kernel"), "a part is named");
    check(start().part("kernel/+000000000000000", b"kernel"), "a part is named");
    check(start().part(&at(0), b"kernel+"), "do not belong");
    check(start().part(&at(u64::MAX), b"kernel"), "do not belong");
    check(start().part(&at(0), b"kernel").part(&at(0), b"kernel"), "do not belong");
    check(start().part(&at(0), b"Kernel"), "hash of the manifest");
    check(start(), "hash of the manifest");
    let link = |header: &mut tar::Header| header.set_entry_type(tar::EntryType::Symlink);
    check(start().entry(&at(0), b"", link), "not a plain file");
    let long = |header: &mut tar::Header| header.set_entry_type(tar::EntryType::GNULongName);
    check(start().entry("././@LongLink", b"escaped", long), "not a plain file");
    check(Hostile(tar::Builder::new(Vec::new())).part("kernel", b""), "does not begin");
    let lying = |files| Hostile::new(&Hostile::manifest(files));
    check(lying(&[("kernel", u64::MAX, b"")]), "impossible");
    check(lying(&[("kernel", 6, b""), ("../disk", 6, b"")]), "not known");
    check(lying(&[("disk", 6, b"")]), "no kernel");
    check(lying(&[("kernel", 0, b"")]), "impossible");
    let text = String::from_utf8(good.clone()).expect("JSON");
    for (from, to, expected) in [
        ("\"mine\"", "\"../mine\"", "image name"),
        ("\"console=ttyS0\"", "\"a\\nb\"", "command line"),
        ("268435456", "17", "memory"),
        ("\"format\": 1", "\"format\": 9", "format 9"),
        ("{", "{\"more\": 1,", "unknown field"),
    ] {
        let changed = text.replacen(from, to, 1);
        assert_ne!(changed, text);
        check(Hostile::new(changed.as_bytes()), expected);
    }
}

#[test]
fn files_that_are_no_bundles_are_refused() {
    let check = |content: &[u8]| {
        let (root, store) = store();
        let path: PathBuf = root.path().join("bundle");
        fs::write(&path, content).expect("writable");
        let error = with_job(|job| store.import(&path, job)).expect_err("no bundle");
        let text = error.to_string();
        assert!(matches!(error, StoreError::Bundle { .. }), "{text}");
        assert!(text.contains("bundle"), "{text}");
    };
    check(b"");
    check(b"hello");
    check(&[0x1f, 0x8b, 8, 0, 1]);
    check(&[0; 4096]);
    check(&[0xff; 4096]);
}
