//! Recordings from outside: made in a terminal, played, broken into, listed; and made without one.

use std::fs;

use stackvm_timeline::{BranchId, Entry, Timeline};

use crate::common::{Home, Ran};
use crate::terminal::{MENU, PROMPT, Terminal};

/// A session in a terminal: a variable is set, then the instant marked, then another thing is said.
fn record(home: &Home, file: &str) {
    let mut terminal = Terminal::start(home, &["record", "tiny", "-o", file]);
    terminal.expect(PROMPT);
    terminal.keys("kept=yes; echo first$((1+1))\r");
    terminal.expect("\nfirst2");
    terminal.keys(MENU);
    terminal.expect("m mark");
    terminal.keys("m");
    terminal.expect("name of the mark");
    terminal.keys("half\r");
    terminal.expect("noted");
    terminal.keys("kept=no; echo second$((2+2))\r");
    terminal.expect("\nsecond4");
    terminal.keys(MENU);
    terminal.expect("e end");
    terminal.keys("e");
    terminal.expect("recorded: ");
    terminal.ends_with(0);
}

fn path(home: &Home, name: &str) -> String {
    home.path().join(name).to_string_lossy().into_owned()
}

fn succeeds(ran: &Ran) -> &str {
    assert_eq!(ran.code, Some(0), "{ran:?}");
    &ran.out
}

#[test]
fn a_recording_is_played_broken_into_and_left_as_it_was() {
    let home = Home::with_tiny();
    let file = path(&home, "demo.vmcast");
    record(&home, &file);
    assert!(!home.path().join("demo.vmcast.journal").exists(), "the journal is left behind");

    // Slowly, so that however busy this computer is the end is not reached before the pause.
    let play = ["play", &file, "--at", "#half", "--speed", "0.1"];
    let mut terminal = Terminal::start(&home, &play);
    terminal.expect("first2");
    terminal.keys("?");
    terminal.expect("break in");
    // Any key closes the help; then pause, and back to the mark.
    terminal.keys(" ");
    terminal.keys(" ");
    terminal.keys("[");
    // Half way the variable has its first value: what is done there becomes a branch.
    terminal.keys("b");
    terminal.expect("Ctrl-] opens a menu");
    terminal.keys("echo kept=$kept.\r");
    terminal.expect("kept=yes.");
    terminal.keys(MENU);
    terminal.expect("r return");
    terminal.keys("nwhat-if\r");
    terminal.keys(MENU);
    terminal.keys("r");
    terminal.expect("back in the recording");
    // The recording goes on as it was recorded.
    terminal.keys("\x1b[F");
    terminal.expect("second4");
    terminal.keys("q");
    terminal.expect("saved: ");
    terminal.ends_with(0);

    let ran = home.run(&["log", &file]);
    let log = succeeds(&ran);
    assert!(log.starts_with("* main  "), "{log}");
    assert!(log.contains("#half") && log.contains("`-* what-if  at "), "{log}");
    let ran = home.run(&["log", &file, "--json"]);
    let json: serde_json::Value = serde_json::from_str(succeeds(&ran)).expect("JSON");
    assert_eq!(json["branches"][1]["parent"], "main");
    assert_eq!(json["branches"][1]["kind"], "exact");

    succeeds(&home.run(&["log", &file, "--rename", "what-if", "other"]));
    let ran = home.run(&["play", &file, "--branch", "what-if"]);
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("main, other"), "{ran:?}");
    succeeds(&home.run(&["log", &file, "--delete", "other"]));
    let ran = home.run(&["log", &file]);
    assert!(!succeeds(&ran).contains("other"), "{ran:?}");
}

#[test]
fn the_past_answers_commands() {
    let home = Home::with_tiny();
    let file = path(&home, "past.vmcast");
    let script = "echo one > state; sleep 2; echo two > state; sleep 2; exit 3";
    let args = ["record", "tiny", "-o", &file, "--", "sh", "-c", script];
    assert_eq!(home.run(&args).code, Some(3));
    let ask = |at: &str, command: &[&str]| {
        let args = [&["play", &file, "--at", at, "--break-in", "--"], command].concat();
        home.run(&args)
    };
    assert_eq!(succeeds(&ask("25%", &["cat", "state"])), "one\n");
    assert_eq!(succeeds(&ask("90%", &["cat", "state"])), "two\n");
    assert_eq!(ask("50%", &["sh", "-c", "exit 9"]).code, Some(9));
    let ran = home.run(&["log", &file]);
    assert_eq!(succeeds(&ran).lines().count(), 1, "a branch was kept: {ran:?}");
}

#[test]
fn a_recording_is_kept_only_of_what_fails() {
    let home = Home::with_tiny();
    let file = path(&home, "red.vmcast");
    let record = |script: &str| {
        home.run(&["record", "tiny", "-o", &file, "--on-fail", "--", "sh", "-c", script])
    };
    let left = || {
        let folder = fs::read_dir(home.path()).expect("the folder");
        let names = folder.map(|entry| entry.expect("it").file_name().into_string().expect("text"));
        names.filter(|name| name.starts_with("red.")).collect::<Vec<_>>()
    };
    let fine = record("echo fine");
    assert_eq!((fine.code, fine.out.as_str()), (Some(0), "fine\n"), "{fine:?}");
    assert_eq!(left(), [""; 0]);
    let red = record("echo red; exit 7");
    assert_eq!((red.code, red.out.as_str()), (Some(7), "red\n"), "{red:?}");
    assert!(red.err.contains("recorded: "), "{red:?}");
    assert_eq!(left(), ["red.vmcast"]);
    let log = home.run(&["log", &file]);
    assert_eq!(log.code, Some(0), "{log:?}");
    // One that is there is not replaced unasked.
    assert!(record("exit 7").err.contains("is there already"));
    let none = home.run(&["record", "tiny", "--on-fail"]);
    assert_eq!(none.code, Some(2), "{none:?}");
}

#[test]
fn the_same_seed_makes_the_same_recording() {
    let home = Home::with_tiny();
    let record = |name: &str, seed: &str| {
        let file = path(&home, name);
        let command = ["sh", "-c", "date; cat /proc/sys/kernel/random/uuid"];
        let args = ["record", "tiny", "-o", &file, "--seed", seed, "--"];
        let ran = home.run(&[&args[..], &command[..]].concat());
        let said = succeeds(&ran).to_owned();
        let timeline = Timeline::open(file.as_ref()).expect("a recording");
        let entries: Vec<Entry> =
            timeline.entries(BranchId::TRUNK, 0).collect::<Result<_, _>>().expect("its inputs");
        let (header, first) = (timeline.header().clone(), timeline.keyframes()[0].clone());
        // Later keyframes are placed by what they cost the host.
        let without = path(&home, &format!("{name}-without-keyframes"));
        succeeds(&home.run(&["cast", "compact", &file, "-o", &without]));
        let bytes = fs::read(without).expect("a file");
        ((said, header, entries, first), bytes)
    };
    let (one, same) = (record("1.vmcast", "7"), record("2.vmcast", "7"));
    assert_eq!(one.0, same.0);
    assert!(one.1 == same.1, "the files differ");
    let other = record("3.vmcast", "8");
    assert_ne!(one.0.0, other.0.0);
}

#[test]
fn what_cannot_be_is_said() {
    let home = Home::with_tiny();
    let file = path(&home, "there.vmcast");
    fs::write(&file, "not a recording").expect("write");
    let check = |args: &[&str], words: &str| {
        let ran = home.run(args);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        assert!(ran.err.contains(words), "{words:?} not in {ran:?}");
        assert!(ran.err.contains("help: ") || ran.err.contains(&file), "no way out: {ran:?}");
    };
    check(&["record", "tiny", "-o", &file, "--", "true"], "is there already");
    check(&["play", &file], "not a recording");
    check(&["log", &file], "not a recording");
    check(&["play", &path(&home, "nowhere.vmcast")], "there is no recording");
    check(&["record", "--continue", &path(&home, "nowhere.vmcast")], "there is no recording");
    assert_eq!(fs::read_to_string(&file).expect("read"), "not a recording");
}
