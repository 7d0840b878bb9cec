//! Machines with a name: kept, listed, started again, removed.

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
    ok(&home, &["run", "tiny", "--name", "box", "--", "sh", "-c", "echo precious > /root/file"]);
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
    let seen = ok(&home, &["exec", "box", "--", "cat", "/root/file"]);
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
    for (option, file) in [("--power-off", "/root/gone"), ("--kill", "/root/gone-too")] {
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
