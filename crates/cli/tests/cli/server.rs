//! `up` and the commands that talk to the server it is.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::answers::text;
use crate::common::{Home, Ran, eventually};

/// A server of a data directory; ends with the test.
struct Up {
    child: Child,
    link: String,
}

impl Up {
    fn start(home: &Home, more: &[&str]) -> Up {
        let args = [&["up", "--no-open"], more].concat();
        let mut command = home.command(&args);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let mut link = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut link).expect("a link");
        assert!(link.starts_with("http://localhost:"), "{link:?}");
        Up { child, link: link.trim_end().to_owned() }
    }

    /// As Ctrl-C; its exit code.
    fn interrupt(mut self) -> Option<i32> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::INT).expect("kill");
        self.child.wait().expect("its end").code()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // It may have ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn ok(home: &Home, args: &[&str]) -> String {
    let ran = home.run(args);
    assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    ran.out
}

fn machine(home: &Home) -> serde_json::Value {
    let rows: serde_json::Value = serde_json::from_str(&ok(home, &["ls", "--json"])).expect("JSON");
    rows[0].clone()
}

#[test]
fn a_server_is_found_used_and_ended() {
    let home = Home::with_tiny();
    let up = Up::start(&home, &[]);
    eventually("the first machine", || ok(&home, &["ls", "-q"]) == "tiny\n");
    eventually("its prompt", || home.run(&["exec", "tiny", "--", "true"]).code == Some(0));

    let link = ok(&home, &["open", "--no-open"]);
    assert!(link.starts_with(up.link.split('#').next().expect("a place")), "{link}");
    assert_ne!(link.trim_end(), up.link);
    assert!(ok(&home, &["open", "--no-open", "tiny"]).contains("/m/tiny#"));

    assert!(ok(&home, &["share", "tiny"]).contains("/s/"));
    let id = ok(&home, &["share", "tiny", "--role", "driver", "--expires", "2h", "-q"]);
    let id = id.trim_end();
    let listed = ok(&home, &["share", "tiny", "--list"]);
    assert!(listed.contains(id) && listed.contains("driver"), "{listed}");
    ok(&home, &["share", "tiny", "--revoke", id]);
    let left = ok(&home, &["share", "tiny", "--list", "-q"]);
    assert!(!left.contains(id) && left.lines().count() == 1, "{left}");

    moments_are_shared(&home);

    ok(&home, &["rename", "tiny", "boxy"]);
    assert_eq!(machine(&home)["name"], "boxy");
    ok(&home, &["pause", "boxy"]);
    assert_eq!(machine(&home)["state"], "paused");
    ok(&home, &["resume", "boxy"]);
    assert_eq!(machine(&home)["state"], "running");

    let second = home.run(&["up", "--no-open"]);
    assert_eq!(second.code, Some(1));
    assert!(second.err.contains("stackvm open"), "{second:?}");
    ok(&home, &["down"]);
    assert_eq!(machine(&home)["state"], "saved");
    check_without_server(&home);
    drop(up);
}

/// Links to what was, and reports of it.
fn moments_are_shared(home: &Home) {
    let link = ok(home, &["share", "tiny", "--moment"]);
    assert!(link.contains("/s/"), "{link}");
    let names = || -> Vec<String> { ok(home, &["ls", "-q"]).lines().map(str::to_owned).collect() };
    assert_eq!(names().len(), 2);
    let made = ok(home, &["share", "tiny", "--try", "3", "--minutes", "7", "--json"]);
    let made: Value = serde_json::from_str(&made).expect("JSON");
    let visits =
        serde_json::json!({ "visitors": 3, "minutes": 7, "cpu_percent": 50, "memory_mib": null });
    assert_eq!(made["share"]["visits"], visits);
    // A moment needs no other.
    let moment = text(&made["share"], "machine");
    assert!(ok(home, &["share", moment, "--try", "1"]).contains("/s/"));
    assert_eq!(names().len(), 3);
    for args in [vec!["share", "tiny", "--at", "1"], vec!["share", moment, "--moment", "--at", "1"]]
    {
        let refused = home.run(&args);
        assert!(refused.code == Some(1) && refused.err.contains("--moment"), "{refused:?}");
    }
    let never = home.run(&["share", "tiny", "--moment", "--at", "100000"]);
    assert!(never.code == Some(1) && never.err.contains("100000"), "{never:?}");

    assert_eq!(ok(home, &["events", "tiny"]), "");
    assert_eq!(ok(home, &["events", "tiny", "--json"]).trim_end(), "[]");
    let report = ok(home, &["report", "tiny", "--role", "driver"]);
    assert!(report.contains("/s/") && report.contains("Debian 13 (tiny)"), "{report}");
    assert!(report.contains("    root@tiny:~#"), "{report}");
    for name in names().iter().filter(|name| *name != "tiny") {
        ok(home, &["rm", name]);
    }
}

/// `up --json`, and the answers of what asks the server.
#[test]
fn programs_get_answers() {
    let home = Home::with_tiny();
    let mut command = home.command(&["up", "--no-open", "--json"]);
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the binary starts");
    let out = child.stdout.take().expect("a pipe");
    let mut answers = serde_json::Deserializer::from_reader(out).into_iter::<Value>();
    let answer = answers.next().expect("an answer").expect("JSON");
    let up = Up { child, link: text(&answer, "url").to_owned() };
    assert_eq!(answer["pid"], up.child.id());
    eventually("the first machine", || ok(&home, &["ls", "-q"]) == "tiny\n");

    let json = |args: &[&str]| -> Value {
        serde_json::from_str(&ok(&home, &[args, &["--json"]].concat())).expect("JSON")
    };
    let place = up.link.split('#').next().expect("a place");
    assert!(ok(&home, &["open", "--no-open", "-q"]).starts_with(place));
    assert!(text(&json(&["open", "--no-open"]), "url").starts_with(place));
    let share = json(&["share", "tiny", "--role", "driver"]);
    let id = text(&share["share"], "id");
    assert!(text(&share, "url").contains(id), "{share}");
    assert_eq!(ok(&home, &["share", "tiny", "--list", "-q"]), format!("{id}\n"));
    assert_eq!(text(&json(&["share", "tiny", "--list"])["items"][0], "role"), "driver");
    let revoked = json(&["share", "tiny", "--revoke", id]);
    assert_eq!(revoked, serde_json::json!({ "id": id, "revoked": true }));
    let second = ok(&home, &["share", "tiny", "-q"]);
    assert_eq!(ok(&home, &["share", "tiny", "-q", "--revoke", second.trim_end()]), second);
    assert_eq!(ok(&home, &["share", "tiny", "--list", "-q"]), "");
    ok(&home, &["stop", "tiny", "--kill"]);
    assert_eq!(up.interrupt(), Some(0));
}

#[test]
fn what_becomes_of_machines_is_chosen() {
    let home = Home::with_tiny();
    for (choice, state) in [("keep", "running"), ("save", "saved"), ("stop", "off")] {
        let up = Up::start(&home, &["--on-exit", choice]);
        eventually("a running machine", || machine(&home)["state"] == "running");
        eventually("its agent", || home.run(&["exec", "tiny", "--", "true"]).code == Some(0));
        assert_eq!(up.interrupt(), Some(0), "{choice}");
        assert_eq!(machine(&home)["state"], state, "{choice}");
        if choice == "keep" {
            ok(&home, &["stop", "tiny"]);
        }
    }
}

#[test]
fn nothing_leaves_this_computer_unprotected() {
    let home = Home::new();
    let check = |args: &[&str], code: i32, words: &str| {
        let ran = home.run(&[&["up", "--no-open"], args].concat());
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert!(ran.err.contains(words), "{args:?}: {ran:?}");
    };
    check(&["--listen", "192.0.2.1:7"], 1, "--tls-self-signed");
    check(&["--listen", "nowhere"], 2, "--listen");
    check(&["--tls-self-signed"], 2, "--listen");
    check(&["--listen", "192.0.2.1:7", "--tls-cert", "x"], 2, "--tls-key");
    check(&["--public-url", "vm.example"], 1, "vm.example");
}

/// What asks the server says that there is none, and how to get one.
fn check_without_server(home: &Home) {
    for args in [&["open"][..], &["down"], &["share", "boxy"]] {
        let Ran { code, err, .. } = home.run(args);
        assert_eq!(code, Some(1), "{args:?}");
        assert!(err.contains("no server") && err.contains("stackvm up"), "{args:?}: {err}");
    }
}
