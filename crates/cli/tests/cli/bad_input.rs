//! Bad input: every mistake ends with an error that says what happened, to what, and what to do,
//! with an exit code that is not 0, and leaves nothing behind.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;

use crate::common::Home;

/// A RISC-V 64 ELF header (and nothing more) with one thing changed.
fn elf_with(machine: u16, class: u8, kind: u16) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..4].copy_from_slice(b"\x7fELF");
    (elf[4], elf[5], elf[6]) = (class, 1, 1);
    elf[16..18].copy_from_slice(&kind.to_le_bytes());
    elf[18..20].copy_from_slice(&machine.to_le_bytes());
    elf[20] = 1;
    elf[52] = 64;
    elf[54] = 56;
    elf
}

/// Runs `args`; `{}` in them is the data directory. Standard error must have all of `words`.
fn check(home: &Home, args: &str, words: &[&str]) {
    let place = home.path().to_str().expect("a plain path");
    let args: Vec<String> = args.split(' ').map(|arg| arg.replace("{}", place)).collect();
    let ran = home.run(&args);
    assert!(ran.code.is_some_and(|code| code != 0), "{args:?}: {ran:?}");
    assert_eq!(ran.out, "", "{args:?}");
    for word in words {
        assert!(ran.err.contains(word), "{args:?}: no {word:?} in {:?}", ran.err);
    }
    assert!(!ran.err.contains("panicked"), "{args:?}: {}", ran.err);
    assert_eq!(home.names_in("machines"), [""; 0], "{args:?} left a machine");
}

#[test]
fn kernels_that_cannot_be_started() {
    let home = Home::with_tiny();
    let write = |name: &str, bytes: &[u8]| {
        fs::write(home.path().join(name), bytes).expect("write a kernel");
    };
    write("text", b"#!/bin/sh\necho no kernel\n");
    write("empty", b"");
    write("x86", &elf_with(62, 2, 2));
    write("rv32", &elf_with(243, 1, 2));
    write("cut", &elf_with(243, 2, 2)[..40]);
    // Debian's kernel, as it is after a download that broke off.
    let kernel = fs::read(home.path().join("images/tiny/kernel")).expect("the kernel of tiny");
    write("image", &kernel[..kernel.len() / 2]);
    for run in ["run", "run --until 1ms --digest"] {
        let check = |kernel: &str, words: &[&str]| {
            check(&home, &format!("{run} --kernel {{}}/{kernel}"), words);
        };
        check("text", &["error", "text"]);
        check("empty", &["error", "empty"]);
        check("x86", &["error", "x86", "RISC-V"]);
        check("rv32", &["error", "rv32"]);
        check("cut", &["error", "cut"]);
        check("image", &["error", "image", "truncated"]);
        check("absent", &["error", "absent", "No such file"]);
    }
    check(&home, "run --kernel {}/image --initrd {}/no-initrd", &["no-initrd", "No such file"]);
    check(&home, "run --kernel {}/image --disk {}/no-disk", &["no-disk", "No such file"]);
    check(&home, "run --kernel {}/image --firmware {}/no-fw", &["no-fw", "No such file"]);
}

#[test]
fn names_that_nothing_has() {
    let home = Home::new();
    check(&home, "run tinny", &["tinny", "did you mean", "tiny"]);
    check(&home, "image build debain", &["debain", "debian"]);
    check(&home, "image rm nothing", &["nothing"]);
    check(&home, "image export nothing {}/file", &["nothing"]);
    check(&home, "image import {}/absent", &["absent"]);
    check(&home, "start nobody", &["nobody", "stackvm ls"]);
    check(&home, "attach nobody", &["nobody", "stackvm ls"]);
    check(&home, "stop nobody", &["nobody", "stackvm ls"]);
    check(&home, "rm nobody", &["nobody", "stackvm ls"]);
}

#[test]
fn values_that_mean_nothing() {
    let home = Home::new();
    check(&home, "run tiny --mem 512", &["512M"]);
    check(&home, "run tiny --mem lots", &["lots", "512M"]);
    check(&home, "run tiny -p 80", &["8080:80"]);
    check(&home, "run tiny --name Not/One", &["Not/One"]);
    check(&home, "run tiny --until soon", &["soon", "5s"]);
    check(&home, "run tiny --digest", &["--until"]);
    check(&home, "run", &["IMAGE"]);
    check(&home, "jump", &["jump"]);
}

#[test]
fn no_network_at_the_first_build() {
    let home = Home::new();
    // Nothing listens there, and nothing is looked up.
    check(&home, "run --mirror http://127.0.0.1:9/debian tiny", &["127.0.0.1:9", "--mirror"]);
    check(&home, "image build --mirror http://127.0.0.1:9/debian tiny", &["127.0.0.1:9"]);
    check(&home, "image build --mirror nonsense tiny", &["nonsense", "URL"]);
    let ran = home.run(&["image", "ls", "--json"]);
    assert_eq!(ran.out.trim(), "[]", "{ran:?}");
}

#[test]
fn bundles_that_are_not() {
    let home = Home::new();
    fs::write(home.path().join("bundle.tar"), b"not a bundle at all").expect("write");
    check(&home, "image import {}/bundle.tar", &["bundle.tar"]);
    let ran = home.run(&["image", "ls", "--json"]);
    assert_eq!(ran.out.trim(), "[]", "{ran:?}");
}

#[test]
fn a_port_that_is_taken() {
    let home = Home::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    check(&home, &format!("up --no-open --port {port}"), &[&port.to_string(), "taken", "port"]);
}

#[test]
fn too_little_memory_is_refused_by_name() {
    let home = Home::with_tiny();
    for run in ["run tiny --mem 64M", "run tiny --mem 64M --until 1ms --digest"] {
        check(&home, run, &["64 MiB", "96 MiB", "more memory"]);
    }
    check(&home, "run tiny --mem 1000G", &["1000G", "64G"]);
    check(&home, "run tiny --harts 99", &["99", "16"]);
    check(&home, "run tiny --harts 0", &["0"]);
}

#[test]
fn a_full_disk() {
    let home = Home::with_tiny();
    let bundle = home.path().join("tiny.tar");
    let ran = home.run(&["image", "export", "tiny", bundle.to_str().expect("a plain path")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // A data directory of 4 MiB, seen by this command only.
    let small = home.path().join("small");
    fs::create_dir(&small).expect("folder");
    let script = "mount -t tmpfs -o size=4M tmpfs \"$0\" && STACKVM_HOME=$0 \"$1\" image import \"$2\"; \
                  code=$?; find \"$0\" -type f -size +1k; exit $code";
    let output = Command::new("unshare")
        .args(["-rm", "sh", "-c", script])
        .args([&small, &PathBuf::from(env!("CARGO_BIN_EXE_stackvm")), &bundle])
        .output()
        .expect("unshare (util-linux)");
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("no space left"), "{err}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "", "files were left");
}
