//! What commands answer to scripts and programs: `-q` and `--json`, the same for every verb.

use serde_json::Value;

use crate::common::{Home, Ran};

/// Runs a command with `--json`; the machines it answers with, as `id state`.
fn machines(home: &Home, args: &[&str]) -> (Option<i32>, Vec<String>) {
    let Ran { code, out, .. } = home.run(&[args, &["--json"]].concat());
    let rows: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{args:?}: {out}"));
    let row = |row: &Value| format!("{} {}", text(row, "id"), text(row, "state"));
    (code, rows.as_array().expect("an array").iter().map(row).collect())
}

pub(crate) fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}"))
}

#[test]
fn verbs_answer_with_the_machines_they_did_it_to() {
    let home = Home::with_tiny();
    let quiet = |line: &str, code: i32, ids: &str| {
        let args: Vec<&str> = line.split(' ').collect();
        let ran = home.run(&[&args[..], &["-q"]].concat());
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ids), "{line}: {ran:?}");
    };
    let json = |line: &str, code: i32, rows: &[&str]| {
        let args: Vec<&str> = line.split(' ').collect();
        let (seen, machines) = machines(&home, &args);
        assert_eq!((seen, machines), (Some(code), rows.iter().map(|r| (*r).into()).collect()));
    };
    quiet("run tiny --name a --detach", 0, "a\n");
    json("run tiny --name b --detach", 0, &["b running"]);
    quiet("ls", 0, "a\nb\n");
    json("ls", 0, &["a running", "b running"]);
    json("pause a b", 0, &["a paused", "b paused"]);
    quiet("pause a b", 0, "a\nb\n");
    quiet("resume b a", 0, "b\na\n");
    json("resume a", 0, &["a running"]);
    // An id stays when the name changes, and is what counts.
    quiet("rename a alpha", 0, "a\n");
    json("rename alpha beta", 0, &["a running"]);
    quiet("fork beta c", 0, "c\n");
    json("fork beta d --exact", 0, &["d running"]);
    json("stop --kill c d", 0, &["c off", "d off"]);
    // What was done before something failed is said.
    quiet("stop beta nobody b", 1, "a\n");
    json("stop b nobody", 1, &["b saved"]);
    json("start beta --detach", 0, &["a running"]);
    quiet("start b --detach", 0, "b\n");
    quiet("stop a b", 0, "a\nb\n");
    quiet("rm b nobody", 1, "b\n");
    json("rm beta c d", 0, &["a removed", "c removed", "d removed"]);
    json("ls", 0, &[]);
    // Other tests may have had another image made there.
    let images = home.run(&["image", "ls", "-q"]);
    assert!(images.out.lines().any(|name| name == "tiny"), "{images:?}");
    // Whoever joins a machine has its terminal, not an answer.
    for line in ["run tiny", "start a"] {
        quiet(line, 2, "");
    }
}

/// Whoever lists machines sees which of them could reach this user's files if their guest broke out.
#[test]
fn a_machine_without_its_sandbox_is_marked() {
    let home = Home::with_tiny();
    for (name, option, is_marked) in [("safe", None, false), ("open", Some("--no-sandbox"), true)] {
        let args = ["run", "tiny", "--name", name, "--detach"];
        let args: Vec<&str> = args.into_iter().chain(option).collect();
        assert_eq!(home.run(&args).code, Some(0), "{name}");
        let table = home.run(&["ls"]).out;
        let line = table.lines().find(|line| line.starts_with(name)).expect("a line");
        assert_eq!(line.ends_with("no sandbox"), is_marked, "{table}");
        let rows: Value = serde_json::from_str(&home.run(&["ls", "--json"]).out).expect("JSON");
        let row = rows.as_array().and_then(|rows| rows.iter().find(|row| row["id"] == name));
        assert_eq!(row.expect("a row")["sandbox"], !is_marked, "{rows}");
    }
}
