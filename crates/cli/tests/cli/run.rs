//! `stackvm run`: commands in a guest, bare-metal guests, digests.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use crate::common::{Home, Ran, wait};

fn check(home: &Home, args: &[&str], input: &[u8], expected: (i32, &str, &str)) {
    let ran = home.run_with_input(args, input);
    let seen = (ran.code, ran.out.as_str(), ran.err.as_str());
    assert_eq!(seen, (Some(expected.0), expected.1, expected.2), "{args:?}");
}

/// All in one machine's life would hide what a fresh one does, so each line boots its own.
#[test]
fn a_command_is_like_a_local_one() {
    let home = Home::with_tiny();
    let run = |command: &[&str], input: &[u8], expected| {
        let args: Vec<&str> = ["run", "tiny", "--"].iter().chain(command).copied().collect();
        check(&home, &args, input, expected);
    };
    run(&["uname", "-m"], b"", (0, "riscv64\n", ""));
    run(&["cat"], b"hi\n", (0, "hi\n", ""));
    run(&["sh", "-c", "echo out; echo err >&2; exit 7"], b"", (7, "out\n", "err\n"));
    run(&["printf", "%s|", "a b", "", "'$x\"", "-n"], b"", (0, "a b||'$x\"|-n|", ""));
    run(&["sh", "-c", "kill -9 $$"], b"", (137, "", ""));
    let ran = home.run(&["run", "tiny", "--", "no-such-program"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(127), ""), "{ran:?}");
    assert!(ran.err.contains("no-such-program"), "{ran:?}");
    assert_eq!(home.names_in("machines"), [""; 0], "an ephemeral machine was kept");
}

#[test]
fn streams_carry_any_bytes_in_any_amount() {
    let home = Home::with_tiny();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| (i.wrapping_mul(i) >> 7) as u8).collect();
    let sum = {
        let file = home.path().join("bytes");
        fs::write(&file, &bytes).expect("write");
        let output =
            std::process::Command::new("sha256sum").arg(&file).output().expect("sha256sum");
        String::from_utf8_lossy(&output.stdout)[..64].to_owned()
    };
    let ran = home.run_with_input(&["run", "tiny", "--", "sha256sum"], &bytes);
    assert_eq!((ran.code, &ran.out[..64]), (Some(0), sum.as_str()), "{}", ran.err);
    let mut command = home.command(&["run", "tiny", "--", "sh", "-c", "cat; echo end >&2"]);
    let child = command
        .stdin(fs::File::open(home.path().join("bytes")).expect("open"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let output = wait(child);
    assert!(output.stdout == bytes, "{} bytes came back", output.stdout.len());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "end\n");
}

#[test]
fn a_reader_that_leaves_ends_the_command() {
    let home = Home::with_tiny();
    let mut command = home.command(&["run", "tiny", "--", "yes"]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut head = [0; 4];
    std::io::Read::read_exact(&mut child.stdout.take().expect("a pipe"), &mut head).expect("y");
    assert_eq!(&head, b"y\ny\n");
    assert_eq!(wait(child).status.code(), Some(141));
    assert_eq!(home.names_in("machines"), [""; 0]);
}

#[test]
fn digests_are_the_same_every_time() {
    let home = Home::with_tiny();
    let digest = |args: &[&str]| {
        let Ran { code, out, err } = home.run(args);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{args:?}");
        let digest = out.trim_end().to_owned();
        assert_eq!(digest.len(), 64, "{args:?}: {out}");
        assert!(digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{out}");
        digest
    };
    let first = digest(&["run", "tiny", "--until", "300ms", "--digest"]);
    assert_eq!(digest(&["run", "tiny", "--until", "0.3s", "--digest"]), first);
    assert_eq!(digest(&["run", "tiny", "--until", "300ms", "--digest", "--seed", "0"]), first);
    let interpreted = ["run", "tiny", "--until", "300ms", "--digest", "--engine", "interp"];
    assert_eq!(digest(&interpreted), first);
    assert_ne!(digest(&["run", "tiny", "--until", "300ms", "--digest", "--seed", "1"]), first);
    assert_ne!(digest(&["run", "tiny", "--until", "300001us", "--digest"]), first);
    assert_ne!(digest(&["run", "tiny", "--until", "300ms", "--digest", "--harts", "2"]), first);
}

/// A RISC-V ELF at the start of RAM with `code`, and a `tohost` symbol right after it.
fn bare_metal(path: &Path, code: &[u32]) {
    let source = path.with_extension("s");
    let words: Vec<String> = code.iter().map(|word| format!(".word {word:#010x}")).collect();
    let text = format!(
        ".globl _start\n_start:\n{}\n.balign 64\n.globl tohost\ntohost: .dword 0\n",
        words.join("\n")
    );
    fs::write(&source, text).expect("write");
    let status = std::process::Command::new("riscv64-linux-gnu-gcc")
        .args(["-nostdlib", "-static", "-Wl,-Ttext=0x80000000", "-Wl,--build-id=none", "-o"])
        .args([path, &source])
        .status()
        .expect("riscv64-linux-gnu-gcc");
    assert!(status.success());
}

/// The guest's exit code is ours, through the finisher as through HTIF.
#[test]
fn bare_metal_guests_end_with_their_code() {
    let home = Home::new();
    let check = |name: &str, code: &[u32], expected: i32| {
        let kernel = home.path().join(name);
        bare_metal(&kernel, code);
        let kernel = kernel.to_str().expect("a plain path");
        let ran = home.run(&["run", "--kernel", kernel]);
        assert_eq!((ran.code, ran.out.as_str()), (Some(expected), ""), "{name}: {}", ran.err);
        let ran = home.run(&["run", "--kernel", kernel, "--until", "1ms"]);
        assert_eq!(ran.code, Some(expected), "{name} --until: {}", ran.err);
        assert_eq!(home.names_in("machines"), [""; 0]);
    };
    // li t0, 0x100000; li t1, 0x5555; sw t1, (t0); j .
    check("pass", &[0x0010_02b7, 0x0000_5337, 0x5553_0313, 0x0062_a023, 0x0000_006f], 0);
    // li t0, 0x100000; li t1, 0x73333; sw t1, (t0); j .
    check("fail", &[0x0010_02b7, 0x0007_3337, 0x3333_0313, 0x0062_a023, 0x0000_006f], 7);
    // auipc t0, 0; li t1, 11; sd t1, 64(t0); j .  (HTIF: exit code 5)
    check("htif", &[0x0000_0297, 0x00b0_0313, 0x0462_b023, 0x0000_006f], 5);
}

#[test]
fn what_a_bare_metal_guest_writes_is_ours() {
    let home = Home::new();
    let kernel = home.path().join("hello");
    // li t0, 0x10000000; li t1, 'A'; sb t1, (t0); li t0, 0x100000; lui t1, 5; addi 0x555; sw; j .
    let code = [
        0x1000_02b7,
        0x0410_0313,
        0x0062_8023,
        0x0010_02b7,
        0x0000_5337,
        0x5553_0313,
        0x0062_a023,
        0x0000_006f,
    ];
    bare_metal(&kernel, &code);
    let kernel = kernel.to_str().expect("a plain path");
    for args in [&["run", "--kernel", kernel][..], &["run", "--kernel", kernel, "--until", "1ms"]] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "A", ""), "{args:?}");
    }
}

#[test]
fn a_second_command_line_signal_ends_a_stubborn_command() {
    let home = Home::with_tiny();
    let script = "trap 'echo caught' INT TERM; echo ready; while :; do sleep 1; done";
    let mut command = home.command(&["run", "tiny", "--", "sh", "-c", script]);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("a pipe"));
    let mut expect = |expected: &str| {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).expect("read");
        assert_eq!(line, expected);
    };
    let pid = rustix::process::Pid::from_child(&child);
    let signal = || {
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("kill");
    };
    expect("ready\n");
    signal();
    expect("caught\n");
    let second = Instant::now();
    signal();
    assert_eq!(wait(child).status.code(), Some(143));
    assert!(second.elapsed().as_secs() < 20, "it took {:?}", second.elapsed());
    assert_eq!(home.names_in("machines"), [""; 0]);
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_hottest_compiled_code_is_listed() {
    let home = Home::with_tiny();
    let list = |top: &str| {
        let ran = home.run(&["debug", "jit", "tiny", "--until", "300ms", "--top", top]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
        ran.out
    };
    let listing = list("2");
    let heads: Vec<&str> = listing.lines().filter(|line| line.contains("of the guest,")).collect();
    assert_eq!(heads.len(), 2, "{listing}");
    let steps = |head: &str| -> u64 {
        let words: Vec<&str> = head.split_whitespace().collect();
        words[2].parse().unwrap_or_else(|_| panic!("no count in {head}"))
    };
    assert!(steps(heads[0]) >= steps(heads[1]) && steps(heads[1]) > 0, "{heads:?}");
    // The guest's instruction beside the host's, which begins by counting.
    assert!(listing.contains(",%r14"), "{listing}");
    // Without a look at any region, the first line still has the sums.
    assert!(list("0").contains("compiled regions"), "{listing}");
    assert!(listing.contains("compiling took"), "{listing}");
}
