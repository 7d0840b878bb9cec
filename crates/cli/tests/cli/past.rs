//! A machine's past without a server: what is kept of it, machines that go on from it, and the tree
//! of all of them.

use std::fs;

use serde_json::Value;

use crate::common::Home;
use crate::terminal::{MENU, PROMPT, Terminal};

#[track_caller]
fn ok(home: &Home, args: &[&str]) -> String {
    let ran = home.run(args);
    assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    ran.out
}

#[track_caller]
fn refused(home: &Home, args: &[&str], words: &[&str]) {
    let ran = home.run(args);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{args:?}: {ran:?}");
    for word in words {
        assert!(ran.err.contains(word), "{args:?}: no {word:?} in {ran:?}");
    }
}

fn json(home: &Home, args: &[&str]) -> Value {
    serde_json::from_str(&ok(home, &[args, &["--json"]].concat())).expect("JSON")
}

fn write(home: &Home, text: &str) {
    ok(home, &["exec", "web", "--", "sh", "-c", &format!("echo {text} > state")]);
}

fn state(home: &Home, machine: &str) -> String {
    ok(home, &["exec", machine, "--", "cat", "state"])
}

/// Instants as `--at` takes them.
fn seconds(ns: &Value) -> String {
    let ns = ns.as_u64().expect("an instant");
    format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000)
}

#[test]
fn what_was_is_kept_and_gone_on_from() {
    let home = Home::with_tiny();
    ok(&home, &["run", "tiny", "--name", "web", "--detach"]);
    let none = home.run(&["moments", "web"]);
    assert!(none.code == Some(0) && none.out.is_empty() && none.err.contains("--keep"), "{none:?}");
    write(&home, "one");
    let first = ok(&home, &["moments", "web", "--keep"]);
    let first = first.trim_end();
    write(&home, "two");
    assert_eq!(ok(&home, &["moments", "web", "--keep", "--as", "then", "-q"]), "then\n");
    write(&home, "three");
    let kept = json(&home, &["moments", "web"]);
    let (from, until) = (seconds(&kept[0]["at_ns"]), seconds(&kept[1]["at_ns"]));
    assert_eq!((&kept[0]["id"], &kept[1]["kind"]), (&first.into(), &"moment".into()));
    let part = format!("{from}..{until}");
    assert_eq!(ok(&home, &["moments", "web", "--record", &part, "--as", "lesson"]), "lesson\n");
    assert_eq!(ok(&home, &["moments", "web", "-q"]).lines().count(), 3);
    let table = ok(&home, &["moments", "web"]);
    let line = table.lines().find(|line| line.starts_with("lesson")).expect("a line");
    assert!(line.contains("recording") && line.contains(until.trim_end_matches('0')), "{table}");

    // From an instant of one that runs, of one that is off, of a moment and of a recording.
    assert_eq!(ok(&home, &["fork", "web", "early", "--at", &from]), "early\n");
    assert_eq!(state(&home, "early"), "one\n");
    ok(&home, &["stop", "web"]);
    assert_eq!(ok(&home, &["fork", "web", "--at", &from, "-q"]), "web-2\n");
    assert_eq!(state(&home, "web-2"), "one\n");
    ok(&home, &["fork", "then", "from-moment", "--at", &until]);
    assert_eq!(state(&home, "from-moment"), "two\n");
    ok(&home, &["fork", "lesson", "from-lesson", "--at", &until]);
    assert_eq!(state(&home, "from-lesson"), "two\n");
    ok(&home, &["start", "web", "--detach"]);
    assert_eq!(state(&home, "web"), "three\n", "it did not notice");

    trees(&home, first);
    mistakes(&home, &until);
    let machines = ["early", "web-2", "from-moment", "from-lesson", "web"];
    ok(&home, &[&["stop", "--kill"], &machines[..]].concat());
}

/// Draws the machines of the test.
fn trees(home: &Home, first: &str) {
    let mut terminal = Terminal::start(home, &["attach", "early"]);
    terminal.expect(PROMPT);
    terminal.keys("echo h$((1+1))o\r");
    terminal.expect("\nh2o");
    terminal.keys(MENU);
    terminal.expect("d detach");
    terminal.keys("d");
    terminal.ends_with(0);
    let tree = ok(home, &["log", "web"]);
    assert!(tree.starts_with("* web  running"), "{tree}");
    for part in [
        &format!("* {first}  moment at "),
        "* lesson  recording from ",
        "* then  moment at ",
        "   `-* from-moment  at ",
        "|  `-* from-lesson  at ",
        "* web-2  at ",
        "echo h$((1+1))o",
    ] {
        assert!(tree.contains(part), "{part} in {tree}");
    }
    assert_eq!(tree.lines().count(), 8, "{tree}");
    // From wherever one looks.
    assert_eq!(ok(home, &["log", "from-lesson"]), tree);
    let rows = json(home, &["log", "web"]);
    let rows = rows["machines"].as_array().expect("a list");
    let row = |id: &str| rows.iter().find(|row| row["id"] == id).expect("a row");
    assert_eq!((&row("web")["parent"], &row("web")["at_ns"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&row("from-lesson")["parent"], &row("lesson")["kind"]),
        (&"lesson".into(), &"recording".into())
    );
    // A file is meant where there is one.
    fs::write(home.path().join("web"), "not a recording").expect("write");
    let log = home.command(&["log", "web"]).current_dir(home.path()).output().expect("it runs");
    assert!(String::from_utf8_lossy(&log.stderr).contains("not a recording"), "{log:?}");
    // The oldest that is still there is the root.
    ok(home, &["rm", "then"]);
    assert!(ok(home, &["log", "from-moment"]).starts_with("* from-moment"));
}

fn mistakes(home: &Home, until: &str) {
    let never = ["has not been at 100000 s", "stackvm events web"];
    refused(home, &["fork", "web", "--at", "100000"], &never);
    refused(home, &["moments", "web", "--keep", "--at", "100000"], &never);
    refused(home, &["moments", "web", "--record", "1..100000"], &["has not been at"]);
    refused(home, &["fork", "web", "early", "--at", until], &["early already"]);
    refused(home, &["moments", "web", "--keep", "--as", "early"], &["early already"]);
    refused(home, &["fork", "lesson"], &["lesson never runs", "stackvm fork lesson --at"]);
    refused(home, &["log", "nobody"], &["no recording nobody", "no machine", "stackvm ls"]);
    let changes = ["is a machine", "stackvm rename", "stackvm rm"];
    refused(home, &["log", "web", "--rename", "early", "late"], &changes);
    refused(home, &["log", "web", "--delete", "early"], &changes);
    let kept = ok(home, &["moments", "web", "-q"]);
    let moment = kept.lines().find(|name| *name != "lesson").expect("a moment");
    refused(home, &["moments", moment, "--keep"], &["a moment itself", "stackvm fork"]);
    let passing = ok(home, &["run", "tiny", "--detach", "-q"]);
    let passing = passing.trim_end();
    refused(home, &["fork", passing, "--at", "1"], &["nothing is known", "--name"]);
    refused(home, &["moments", passing, "--keep"], &["nothing is known", "--name"]);
    assert!(ok(home, &["log", passing]).starts_with(&format!("* {passing}  running")));
    ok(home, &["stop", "--kill", passing]);
}
