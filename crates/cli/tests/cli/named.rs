//! Machines with a name: kept, listed, started again, removed.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use stackvm_timeline::{BranchId, Timeline};

use crate::common::{Home, Ran};

fn ok(home: &Home, args: &[&str]) -> Ran {
    let ran = home.run(args);
    assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    ran
}

fn state_of(home: &Home, name: &str) -> Option<String> {
    let rows: serde_json::Value =
        serde_json::from_str(&ok(home, &["ls", "--json"]).out).expect("JSON");
    let row = rows.as_array()?.iter().find(|row| row["name"] == name)?;
    Some(row["state"].as_str()?.to_owned())
}

#[test]
fn state_is_kept_from_stop_to_start() {
    let home = Home::with_tiny();
    ok(&home, &["run", "tiny", "--name", "box", "--", "sh", "-c", "echo precious > file"]);
    assert_eq!(state_of(&home, "box").as_deref(), Some("saved"));
    assert!(ok(&home, &["ls"]).out.contains("box"));

    let again = home.run(&["run", "tiny", "--name", "box", "--", "true"]);
    assert_eq!(again.code, Some(1));
    assert!(again.err.contains("box") && again.err.contains("stackvm start box"), "{again:?}");

    ok(&home, &["start", "--detach", "box"]);
    assert_eq!(state_of(&home, "box").as_deref(), Some("running"));
    let running = home.run(&["rm", "box"]);
    assert_eq!(running.code, Some(1));
    assert!(running.err.contains("stackvm stop box"), "{running:?}");
    let seen = ok(&home, &["exec", "box", "--", "cat", "file"]);
    assert_eq!(seen.out, "precious\n");

    ok(&home, &["stop", "box"]);
    assert_eq!(state_of(&home, "box").as_deref(), Some("saved"));
    ok(&home, &["rm", "box"]);
    assert_eq!(state_of(&home, "box"), None);
    assert_eq!(home.names_in("machines"), [""; 0]);
}

#[test]
fn the_ways_to_stop() {
    let home = Home::with_tiny();
    ok(&home, &["run", "tiny", "--name", "a", "--", "true"]);
    for (option, file) in [("--power-off", "gone"), ("--kill", "gone-too")] {
        ok(&home, &["start", "--detach", "a"]);
        ok(&home, &["exec", "a", "--", "touch", file]);
        ok(&home, &["stop", option, "a"]);
        assert_eq!(state_of(&home, "a").as_deref(), Some("off"), "{option}");
        ok(&home, &["start", "--detach", "a"]);
        // What was in memory only is gone: the machine started from cold.
        let seen = home.run(&["exec", "a", "--", "test", "-e", file]);
        assert_eq!(seen.code, Some(1), "{option}: {seen:?}");
        ok(&home, &["stop", "a"]);
    }
    ok(&home, &["rm", "a"]);
}

/// A machine begins at its image's prompt, and so does its journal: what a killed one has to
/// compute again is what it did, not the boot.
#[test]
fn a_machine_killed_soon_after_its_start_is_back_at_once() {
    let home = Home::with_tiny();
    let script = "echo precious > /run/file; sleep 1000";
    let mut command = home.command(&["run", "tiny", "--name", "box", "--", "sh", "-c", script]);
    let mut first = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("a start");
    wait_for("not running", || state_of(&home, "box").as_deref() == Some("running"));
    wait_for("no file", || {
        home.run(&["exec", "box", "--", "test", "-e", "/run/file"]).code == Some(0)
    });
    let rows: serde_json::Value =
        serde_json::from_str(&ok(&home, &["ls", "--json"]).out).expect("JSON");
    let executed = rows[0]["instructions"].as_u64().expect("their number");
    let pid = rows[0]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("its pid");
    let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill");
    assert!(killed.success());
    first.wait().expect("its end");
    wait_for("not crashed", || state_of(&home, "box").as_deref() == Some("crashed"));
    // Counted, not timed: hosts of tests do much else.
    let journal = Timeline::open(&home.path().join("machines/box/journal")).expect("its journal");
    let booting = journal.root_keyframe(BranchId(0)).retired;
    assert!(executed - booting < executed / 4, "the boot is {booting} of {executed} instructions");
    ok(&home, &["start", "--detach", "box"]);
    let seen = ok(&home, &["exec", "box", "--", "cat", "/run/file"]);
    // Memory that no disk ever had.
    assert_eq!(seen.out, "precious\n");
    ok(&home, &["stop", "--kill", "box"]);
}

fn wait_for(problem: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "{problem}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A machine keeps nothing of what it booted from, so neither does its twin; both find it again.
#[test]
fn a_twin_can_reset_its_machine() {
    let home = Home::with_tiny();
    ok(&home, &["run", "tiny", "--name", "one", "--", "touch", "/run/file"]);
    ok(&home, &["start", "--detach", "one"]);
    ok(&home, &["fork", "one", "two", "--exact"]);
    ok(&home, &["exec", "two", "--", "test", "-e", "/run/file"]);
    let rebooted = home.run(&["exec", "two", "--", "reboot", "-f"]);
    assert_ne!(rebooted.code, Some(0), "{rebooted:?}");
    let seen = home.run(&["exec", "two", "--", "test", "-e", "/run/file"]);
    assert_eq!(seen.code, Some(1), "{seen:?}");
    ok(&home, &["exec", "one", "--", "test", "-e", "/run/file"]);
    ok(&home, &["stop", "--kill", "one", "two"]);
}

/// A fresh twin takes its own name before anybody's command runs in it, and keeps it.
#[test]
fn a_fresh_twin_is_itself() {
    let home = Home::with_tiny();
    ok(&home, &["run", "tiny", "--name", "one", "--", "true"]);
    ok(&home, &["start", "--detach", "one"]);
    ok(&home, &["fork", "one", "two"]);
    let hostname = |name: &str| home.run(&["exec", name, "--", "hostname"]);
    assert_eq!(hostname("two").out, "two\n");
    assert_eq!(hostname("one").out, "one\n");
    ok(&home, &["stop", "two"]);
    ok(&home, &["start", "--detach", "two"]);
    assert_eq!(hostname("two").out, "two\n");
    ok(&home, &["stop", "--kill", "one", "two"]);
}
