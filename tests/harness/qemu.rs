//! The oracle: `qemu-system-riscv64`, another implementation of the same board.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Exactly the extensions of our hart, nothing that QEMU would add by itself.
pub const CPU: &str = "rv64i,m=on,a=on,f=on,d=on,c=on,s=on,u=on,zicsr=on,zifencei=on,zicntr=on,\
                       zba=on,zbb=on,zbs=on,zicbom=on,zicboz=on,sstc=on,svadu=on,pmp=on,mmu=on,\
                       sv39=on";

/// The oldest version whose `rv64i` model starts from nothing, and that reports the faulting
/// instruction in `mtval` for every illegal one.
const VERSION_MIN: u32 = 9;

const TIMEOUT: Duration = Duration::from_secs(120);

/// An installed QEMU.
#[derive(Clone, Debug)]
pub struct Qemu {
    program: PathBuf,
    modules: Option<PathBuf>,
    /// As the program prints it, such as `10.0.2`.
    pub version: String,
}

impl Qemu {
    /// The newest of `$STACKVM_QEMU`, the one `tests/newest-qemu` unpacked, and `$PATH`'s.
    ///
    /// # Errors
    /// What is missing, and what to do about it.
    pub fn find() -> Result<Qemu, String> {
        let unpacked = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .map(|root| root.join("target/qemu/usr/bin/qemu-system-riscv64"));
        let candidates = [
            env::var_os("STACKVM_QEMU").map(PathBuf::from),
            unpacked,
            Some(PathBuf::from("qemu-system-riscv64")),
        ];
        let found = candidates.into_iter().flatten().find_map(Qemu::probe);
        let hint = "run tests/newest-qemu, or set STACKVM_QEMU to a newer one";
        let qemu = found.ok_or_else(|| format!("no qemu-system-riscv64 here: {hint}"))?;
        let major = qemu.version.split('.').next().and_then(|n| n.parse::<u32>().ok());
        if major.is_none_or(|major| major < VERSION_MIN) {
            return Err(format!("QEMU {} is older than {VERSION_MIN}: {hint}", qemu.version));
        }
        Ok(qemu)
    }

    fn probe(program: PathBuf) -> Option<Qemu> {
        let output = Command::new(&program).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let version = text.split_whitespace().skip_while(|word| *word != "version").nth(1)?;
        // A QEMU outside its usual place must not load another build's modules.
        let modules = program.parent()?.parent().map(|usr| usr.join("lib/x86_64-linux-gnu/qemu"));
        let version = version.to_string();
        Some(Qemu { modules: modules.filter(|dir| dir.is_dir()), program, version })
    }

    /// The program with its environment, ready for arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        if let Some(modules) = &self.modules {
            command.env("QEMU_MODULE_DIR", modules);
        }
        command
    }

    /// Runs a bare-metal ELF in M-mode until it powers off; returns what it wrote to the UART.
    ///
    /// # Errors
    /// QEMU's own message, or that the program did not end.
    pub fn run_bare(&self, elf: &[u8]) -> Result<Vec<u8>, String> {
        let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (program, serial) = (dir.path().join("program.elf"), dir.path().join("serial"));
        fs::write(&program, elf).map_err(|error| error.to_string())?;
        let mut child = self
            .command()
            // With one hart QEMU takes AMOs apart, and reports a misaligned one as a load.
            .args(["-smp", "2", "-accel", "tcg,thread=multi"])
            .args(["-M", "virt", "-m", "64M", "-bios", "none", "-display", "none"])
            .args(["-global", "virtio-mmio.force-legacy=false"])
            .args(["-monitor", "none", "-net", "none", "-cpu", CPU, "-kernel"])
            .arg(&program)
            .arg("-serial")
            .arg(format!("file:{}", serial.display()))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let deadline = Instant::now() + TIMEOUT;
        let status = loop {
            match child.try_wait().map_err(|error| error.to_string())? {
                Some(status) => break status,
                None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
                None => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("QEMU did not end within {TIMEOUT:?}"));
                }
            }
        };
        if !status.success() {
            let output = child.wait_with_output().map_err(|error| error.to_string())?;
            return Err(format!("QEMU: {status}: {}", String::from_utf8_lossy(&output.stderr)));
        }
        fs::read(&serial).map_err(|error| error.to_string())
    }
}
