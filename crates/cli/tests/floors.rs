//! The rules of the house that a compiler does not check: who may depend on whom, and what the
//! first floor must not touch. They read the sources, so breaking one names file and line.

use std::fs;
use std::path::{Path, PathBuf};

/// Crates whose results must be the same everywhere: no I/O, clocks, threads, host randomness.
const FIRST_FLOOR: [&str; 3] = ["riscv", "jit", "machine"];

/// Crates of the recording: their formats are as pure, and only these files and folders of them
/// do I/O, start threads or read clocks.
const RECORDING: [(&str, &[&str]); 2] = [
    ("store", &["local.rs", "local/", "chunks/file.rs", "pack/worker.rs", "pack/set/", "pool.rs"]),
    (
        "timeline",
        &[
            "journal.rs",
            "journal/",
            "vmcast/write.rs",
            "keyframe/behind.rs",
            // Where an image's files lie, on a host that has files.
            "header.rs",
            "header/machine.rs",
            // Only in tests.
            "testing.rs",
            "fuzz.rs",
        ],
    ),
];

/// External crates the first floor may name directly, all together.
const FIRST_FLOOR_EXTERNAL_MAX: usize = 10;

/// Lines in a source file; more are hard to review.
const FILE_LINES_MAX: usize = 1000;

/// Text that has no place in the first floor, with the reason.
const FORBIDDEN: [(&str, &str); 12] = [
    ("std::time", "reads a clock"),
    ("SystemTime", "reads a clock"),
    ("HashMap", "iterates in an order that differs from run to run; use BTreeMap"),
    ("HashSet", "iterates in an order that differs from run to run; use BTreeSet"),
    ("std::thread", "starts threads"),
    ("std::net", "does I/O"),
    ("std::env", "reads the host's environment"),
    ("std::process", "reaches outside"),
    ("getrandom", "asks the host for randomness"),
    ("std::fs", "does I/O"),
    ("File::open", "does I/O"),
    ("println!", "does I/O"),
];

/// Files of the first floor that may calculate with host floating point, because they prove that
/// the result has the same bits on every host.
const HOST_FLOAT_FILES: [&str; 2] = ["softfloat.rs", "fast.rs"];

/// Text of host floating point arithmetic.
const HOST_FLOAT: [&str; 6] = [": f32", ": f64", "as f32", "as f64", "f32::", "f64::"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("repository root")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The crates in the order of the workspace's list, from the ground up.
fn crates() -> Vec<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let members = manifest.split("members = [").nth(1).expect("a list of members");
    let members = members.split(']').next().expect("its end");
    members
        .split(',')
        .filter_map(|member| member.trim().trim_matches('"').strip_prefix("crates/"))
        .map(str::to_owned)
        .collect()
}

/// Names in all `[dependencies]` tables of a manifest, those of `[target.…]` included; not in
/// `[dev-dependencies]`.
fn dependencies(manifest: &str) -> Vec<String> {
    let mut inside = false;
    let mut names = Vec::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            inside = line == "[dependencies]"
                || line.starts_with("[target.") && line.ends_with(".dependencies]");
        } else if inside && let Some(end) = line.find(['.', ' ', '=']) {
            names.push(line[..end].to_owned());
        }
    }
    names
}

/// The Rust files of a crate that are in the product, sorted.
fn product_sources(name: &str) -> Vec<PathBuf> {
    let mut files = sources(&root().join("crates").join(name).join("src"));
    files.retain(|path| !path.iter().any(|part| part == "tests" || part == "tests.rs"));
    assert!(!files.is_empty(), "no sources of {name}");
    files
}

/// All Rust files below a folder, sorted.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.expect("directory entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The lines of a file that are code in the product: no comments, nothing after `#[cfg(test)]`.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines()
        .enumerate()
        .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
        .map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
}

fn assert_none(broken: Vec<String>, rule: &str) {
    assert!(broken.is_empty(), "{rule}:\n  {}", broken.join("\n  "));
}

#[test]
fn crates_depend_only_downwards() {
    let crates = crates();
    assert_eq!(crates.first().map(String::as_str), Some("riscv"), "the ground floor");
    let mut broken = Vec::new();
    for (floor, name) in crates.iter().enumerate() {
        let manifest = read(&root().join("crates").join(name).join("Cargo.toml"));
        for dependency in dependencies(&manifest) {
            let Some(other) = dependency.strip_prefix("stackvm-") else { continue };
            if !crates[..floor].iter().any(|below| below == other) {
                broken.push(format!("{name} depends on {other}"));
            }
        }
    }
    assert_none(broken, "a crate depends only on crates listed before it in Cargo.toml");
}

#[test]
fn the_first_floor_has_few_dependencies() {
    let mut external: Vec<String> = FIRST_FLOOR
        .iter()
        .flat_map(|name| dependencies(&read(&root().join(format!("crates/{name}/Cargo.toml")))))
        .filter(|name| !name.starts_with("stackvm-"))
        .collect();
    external.sort();
    external.dedup();
    assert!(!external.is_empty(), "the manifests were not understood");
    assert!(external.len() < FIRST_FLOOR_EXTERNAL_MAX, "{}: {external:?}", external.len());
}

#[test]
fn the_first_floor_is_pure() {
    let mut broken = Vec::new();
    for name in FIRST_FLOOR {
        for path in product_sources(name) {
            let text = read(&path);
            for (number, line) in code_lines(&text) {
                for (word, why) in FORBIDDEN {
                    if line.contains(word) {
                        broken.push(format!("{}:{number}: {word}: {why}", path.display()));
                    }
                }
            }
        }
    }
    assert_none(broken, "the first floor is a pure function of its inputs");
}

#[test]
fn the_formats_of_the_recording_are_pure() {
    let mut broken = Vec::new();
    for (name, back_ends) in RECORDING {
        let folder = root().join("crates").join(name).join("src");
        for path in product_sources(name) {
            let inside = path.strip_prefix(&folder).expect("it is in there").to_string_lossy();
            let is_back_end = |part: &&str| match part.strip_suffix('/') {
                Some(_) => inside.starts_with(part),
                None => inside == *part,
            };
            if back_ends.iter().any(is_back_end) {
                continue;
            }
            let text = read(&path);
            for (number, line) in code_lines(&text) {
                // A length of time is not a clock.
                let line = line.replace("std::time::Duration", "Duration");
                for (word, why) in FORBIDDEN.into_iter().filter(|(word, _)| line.contains(word)) {
                    broken.push(format!("{}:{number}: {word}: {why}", path.display()));
                }
            }
        }
    }
    assert_none(broken, "only the back ends of store and timeline touch the host");
}

#[test]
fn the_first_floor_calculates_without_host_floats() {
    let mut broken = Vec::new();
    for name in FIRST_FLOOR {
        for path in product_sources(name) {
            if HOST_FLOAT_FILES.iter().any(|file| path.ends_with(file)) {
                continue;
            }
            let text = read(&path);
            for (number, line) in code_lines(&text) {
                if HOST_FLOAT.iter().any(|word| line.contains(word)) {
                    broken.push(format!("{}:{number}: {}", path.display(), line.trim()));
                }
            }
        }
    }
    assert_none(broken, "floating point in the first floor is soft");
}

#[test]
fn files_are_small_and_flat() {
    let mut broken = Vec::new();
    let folders = ["crates", "tests", "benches"];
    for path in folders.iter().flat_map(|folder| sources(&root().join(folder))) {
        let lines = read(&path).lines().count();
        if lines > FILE_LINES_MAX {
            broken.push(format!("{}: {lines} lines", path.display()));
        }
        if path.ends_with("mod.rs") {
            broken.push(format!("{}: name it after its module", path.display()));
        }
    }
    assert_none(broken, "files are small, modules are foo.rs and foo/bar.rs");
}

#[test]
fn the_rules_see_what_they_look_for() {
    let manifest = "[dependencies]\na.workspace = true\nb = \"1\"\n[dev-dependencies]\nc = \"1\"\n\
                    [target.'cfg(unix)'.dependencies]\nd = { version = \"1\" }\n";
    assert_eq!(dependencies(manifest), ["a", "b", "d"]);
    let text = "use x;\n// HashMap\nlet a; // HashMap\n#[cfg(test)]\nHashMap\n";
    let code: String = code_lines(text).map(|(_, line)| line).collect();
    assert_eq!(code, "use x;let a; ");
}
