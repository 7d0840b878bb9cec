//! The project's own guests: C and assembly in `tests/guests`, compiled when a test needs them.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Where a guest is linked, which decides how it is started.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Level {
    /// At the start of RAM: in M-mode, on all harts.
    Machine,
    /// 2 MiB later: in S-mode over the built-in firmware.
    Supervisor,
}

/// Compiles `tests/guests/NAME.c` with these definitions (`HARTS=4`).
///
/// # Panics
/// With the compiler's messages when it fails.
pub fn compile(name: &str, level: Level, definitions: &[String]) -> Vec<u8> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("guests");
    let dir = tempfile::tempdir().expect("a temporary directory");
    let elf = dir.path().join(format!("{name}-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    let base = match level {
        Level::Machine => "0x80000000",
        Level::Supervisor => "0x80200000",
    };
    let output = Command::new("riscv64-linux-gnu-gcc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-Wno-main", "-ffreestanding", "-nostdlib"])
        .args(["-static", "-no-pie", "-fno-pie", "-mcmodel=medany", "-march=rv64gc"])
        .args(["-fno-stack-protector", "-Wl,--build-id=none", "-Wl,--no-warn-rwx-segments"])
        .args(definitions.iter().map(|definition| format!("-D{definition}")))
        .arg(format!("-Wl,--defsym=base={base}"))
        .arg("-T")
        .arg(sources.join("link.ld"))
        .arg(sources.join("start.S"))
        .arg(sources.join(format!("{name}.c")))
        .arg("-o")
        .arg(&elf)
        .output()
        .expect("riscv64-linux-gnu-gcc (Debian: gcc-riscv64-linux-gnu)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(elf).expect("the compiled guest")
}
