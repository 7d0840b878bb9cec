//! Machines that start from their image's prompt: others than each other, as the seed says, and
//! whatever the cache is like.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::common::Home;

/// What tells machines apart, in two lines.
const IDENTITY: &str = "cat /proc/sys/kernel/random/uuid; hostname";

fn identity(home: &Home, options: &[&str]) -> (String, String) {
    let args = [&["run", "tiny"], options, &["--", "sh", "-c", IDENTITY]].concat();
    let ran = home.run(&args);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{args:?}");
    let mut lines = ran.out.lines().map(str::to_owned);
    (lines.next().expect("a uuid"), lines.next().expect("a host name"))
}

#[test]
fn machines_from_one_prompt_are_their_own() {
    let home = Home::with_tiny();
    let (one, two) = (identity(&home, &[]), identity(&home, &[]));
    assert_ne!(one.0, two.0, "randomness");
    assert_ne!(one.1, two.1, "host name");
    let named = identity(&home, &["--name", "my_machine"]);
    assert_eq!(named.1, "my-machine");
}

#[test]
fn a_seed_decides_all_randomness() {
    let home = Home::with_tiny();
    let uuid = |seed| identity(&home, &["--seed", seed]).0;
    let first = uuid("7");
    assert_eq!(uuid("7"), first);
    assert_ne!(uuid("8"), first);
}

#[test]
fn the_clock_is_right() {
    let home = Home::with_tiny();
    let seconds = || SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let before = seconds();
    let ran = home.run(&["run", "tiny", "--", "date", "+%s"]);
    let shown: u64 = ran.out.trim().parse().unwrap_or_else(|_| panic!("{ran:?}"));
    assert!((before - 1..=seconds() + 1).contains(&shown), "{shown}, began at {before}");
}

fn prompts(home: &Home) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(home.path().join("cache/prompts")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.expect("entry").path());
    paths.filter(|path| path.is_dir()).collect()
}

#[test]
fn a_damaged_prompt_is_made_again() {
    let home = Home::with_tiny_alone();
    // What is said before the command runs.
    let run = || {
        let ran = home.run(&["run", "tiny", "--", "echo", "hi"]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(0), "hi\n"), "{ran:?}");
        ran.err
    };
    assert!(run().contains("prompt of tiny, once"));
    assert_eq!(run(), "");
    let folder = prompts(&home).pop().expect("a prompt");
    let open = |name: &str| -> File {
        OpenOptions::new().write(true).open(folder.join(name)).expect("a file of the prompt")
    };
    let check = |what: &str, damage: &dyn Fn()| {
        damage();
        let err = run();
        assert!(err.contains("damaged") && err.contains("prompt of tiny, once"), "{what}: {err}");
        assert_eq!(run(), "", "{what}: made again");
    };
    check("a byte", &|| open("meta").write_all_at(b"x", 1000).expect("write"));
    check("cut short", &|| open("pages").set_len(1 << 20).expect("cut"));
    check("other pages", &|| open("pages").write_all_at(b"x", 1 << 20).expect("write"));
    check("a file gone", &|| fs::remove_file(folder.join("pack")).expect("remove"));
    assert_eq!(prompts(&home).len(), 1);
}

#[test]
fn a_cold_start_needs_no_prompt() {
    let home = Home::with_tiny_alone();
    let ran = home.run(&["run", "tiny", "--cold", "--", "hostname"]);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "tiny\n", ""));
    assert_eq!(prompts(&home), Vec::<PathBuf>::new());
}
