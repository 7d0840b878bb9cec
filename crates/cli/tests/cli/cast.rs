//! `stackvm cast …` on one recording: what each verb prints, with its numbers masked.

use std::fs;

use crate::common::Home;

/// Text in which every number is 0, every hash HASH, every size in B and every blank one space: what
/// an image's packages and the host's speed change.
fn masked(text: &str, file: &str) -> String {
    let text = text.replace(file, "FILE");
    let mut masked = String::new();
    // How many keyframes there are to seek by depends on how fast the host is: maybe none.
    for line in text.lines().filter(|line| !line.trim_start().starts_with("later.pack")) {
        let words = line.split_whitespace().map(|word| match word.len() {
            64 if word.chars().all(|letter| letter.is_ascii_hexdigit()) => "HASH".to_owned(),
            _ => numberless(word),
        });
        let line = words.collect::<Vec<_>>().join(" ");
        masked += &["bytes", "kB", "MB"]
            .iter()
            .fold(line, |line, unit| line.replace(&format!("0 {unit}"), "0 B"));
        masked.push('\n');
    }
    masked
}

fn numberless(word: &str) -> String {
    let mut out = String::new();
    for letter in word.chars() {
        let in_number = out.ends_with('0');
        match letter {
            '0'..='9' if in_number => {}
            '0'..='9' => out.push('0'),
            '.' if in_number => {}
            letter => out.push(letter),
        }
    }
    out
}

const INFO: &str = "\
machine tiny, 0M, 0 hart, profile virt-0
image HASH
recorded 0-0-0 0:0 UTC
inputs 0: host 0
branch main 0:0 long, 0 inputs of its own
keyframes 0 to begin from, 0 to seek by
size 0 B
log 0 B the inputs
first.pack 0 B first keyframe, kernel, disks
track.pack 0 B what terminals showed, for searching and seeking
manifest.json 0 B machine, branches, marks
";

const SCRIPT: &str = "\
#!/bin/sh
# What was typed at hvc0 of tiny (main), at the same pace.
# Its output is for a machine: sh THIS | stackvm run IMAGE
";

const GREP_JSON: &str = "\
[
{
\"at\": \"0ns\",
\"console\": \"hvc0\",
\"elapsed_s\": 0,
\"line\": \"three\"
}
]
";

const NO_QUESTION: &str = "the following required arguments were not provided";

#[test]
fn each_verb_prints_what_it_found() {
    let home = Home::with_tiny();
    let path = home.path().join("demo.vmcast");
    let file = path.to_str().expect("a plain path");
    let script = "echo one; echo two > /etc/state; echo three >/dev/hvc0; exit 3";
    let recorded =
        home.run(&["record", "tiny", "-o", file, "--seed", "7", "--", "sh", "-c", script]);
    assert_eq!((recorded.code, recorded.out.as_str()), (Some(3), "one\n"), "{recorded:?}");
    let run = |line: &str| {
        let args: Vec<&str> =
            line.split(' ').map(|word| if word == "FILE" { file } else { word }).collect();
        home.run(&[&["cast"], &args[..]].concat())
    };
    let check = |line: &str, code: i32, out: &str| {
        let ran = run(line);
        assert_eq!(
            (ran.code, masked(&ran.out, file)),
            (Some(code), out.to_owned()),
            "{line}: {ran:?}"
        );
    };
    check("info FILE", 0, INFO);
    check("verify FILE", 0, "FILE: fine; 0 keyframes are as they were recorded\n");
    check("export FILE --format script", 0, SCRIPT);
    check("grep three FILE", 0, "0:0 0ns hvc0 three\n");
    check("grep -i THREE FILE --console hvc0", 0, "0:0 0ns hvc0 three\n");
    check("grep THREE FILE", 1, "");
    check("grep three FILE --console ttyS0", 1, "");
    check("grep three FILE --json", 0, GREP_JSON);
    check("when FILE --console three", 0, "0:0 0ns hvc0 three\n");
    check("when FILE --console three --json", 0, GREP_JSON);
    check("extract FILE /etc/state -o -", 0, "two\n");
    let fails = |line: &str, code: i32, words: &[&str]| {
        let ran = run(line);
        assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{line}: {ran:?}");
        assert!(words.iter().all(|word| ran.err.contains(word)), "{line}: {ran:?}");
    };
    fails("when FILE", 2, &[NO_QUESTION, "--console"]);
    fails("extract FILE /nowhere -o -", 1, &["/nowhere is not there", "cast when FILE --changed"]);
    fails("info FILE --branch x", 2, &["--branch"]);
    fails("verify FILE --branch other", 1, &["other"]);
    fails("grep x /nowhere.vmcast", 2, &["there is no recording"]);

    let info: serde_json::Value = serde_json::from_str(&run("info FILE --json").out).expect("JSON");
    assert_eq!((&info["label"], &info["seed"]), (&"tiny".into(), &7.into()), "{info}");
    assert_eq!((&info["finished"], &info["inputs_by"]["host"]), (&true.into(), &4.into()));
    let text = run("export FILE --format text").out;
    assert!(text.ends_with("# three\n"), "{text:?}");
    let cast = run("export FILE").out;
    let mut lines = cast.lines().map(serde_json::from_str::<serde_json::Value>);
    let header = lines.next().expect("a header").expect("JSON");
    assert_eq!((&header["version"], &header["title"]), (&3.into(), &"tiny (main)".into()));
    let last = lines.next_back().expect("an event").expect("JSON");
    assert_eq!((&last[1], &last[2]), (&"o".into(), &"three\r\n".into()), "{cast}");
    // What can be computed again goes; everything else is as it was.
    let before = fs::metadata(&path).expect("a file").len();
    let compact = run("compact FILE");
    assert_eq!(compact.code, Some(0), "{compact:?}");
    assert!(compact.err.contains("instead of"), "{compact:?}");
    assert!(fs::metadata(&path).expect("a file").len() <= before);
    check("grep three FILE", 0, "0:0 0ns hvc0 three\n");
}
