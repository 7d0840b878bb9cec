//! What runs inside: the image `tiny`, and beside it the kernels of `benches/kernels`, compiled
//! and packed into an initrd of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use stackvm_images::cpio::Tree;
use stackvm_images::{BuildOptions, Cancel, Image, ImageStore};

/// The kernels, in the order they run: integers, memory, floating point, what a kernel does for its
/// processes.
pub(crate) const KERNELS: [&str; 15] = [
    "core", "sha256", "sort", "vm", "fib", "memcpy", "chase16k", "chase1m", "chase32m", "nbody",
    "matmul", "getppid", "forkexec", "fault", "pipe",
];

/// Prints what a shell prompt begins with when the image is up.
pub(crate) const PROMPT: &str = "root@tiny";

const COMPILER: &str = "riscv64-linux-gnu-gcc";
/// Plain RV64GC: what Debian compiles its packages for.
const FLAGS: [&str; 4] = ["-O2", "-static", "-march=rv64gc", "-mabi=lp64d"];
/// What the host's own programs are compiled with.
const NATIVE_COMPILER: &str = "gcc";
const NATIVE_FLAGS: [&str; 2] = ["-O2", "-static"];
/// Of both: no products and sums in one rounding, which plain x86-64 does not have and RV64GC does.
const COMMON_FLAGS: [&str; 1] = ["-ffp-contract=off"];

const INIT: &str = "#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
exec >/dev/console 2>&1 </dev/console
for kernel in $KERNELS; do /bench/$kernel; done
/bin/busybox poweroff -f
";

/// The files both systems boot from.
pub(crate) struct Guest {
    image: Image,
    kernels_initrd: PathBuf,
    native: PathBuf,
    _dir: tempfile::TempDir,
}

/// One way to boot.
pub(crate) struct Boot {
    /// The kernel file.
    pub(crate) kernel: PathBuf,
    /// The initrd file.
    pub(crate) initrd: PathBuf,
    /// The kernel command line.
    pub(crate) append: String,
    /// What the console prints at the end.
    pub(crate) end: &'static str,
}

impl Guest {
    /// Builds what is missing.
    pub(crate) fn prepare(data_dir: &Path) -> Result<Guest> {
        let options = BuildOptions { data_dir: data_dir.into(), mirror: None };
        let mut said = String::new();
        let mut progress = |p: stackvm_images::Progress| {
            if said != p.phase.label() {
                said = p.phase.label().to_owned();
                eprintln!("{said}");
            }
        };
        let image = match ImageStore::open(data_dir)?.get("tiny") {
            Ok(image) => image,
            Err(_) => stackvm_images::build("tiny", &options, &mut progress, &Cancel::default())?,
        };
        let dir = tempfile::tempdir()?;
        let kernels_initrd = dir.path().join("kernels.cpio");
        let base = fs::read(image.initrd.as_ref().context("tiny has no initrd")?)?;
        fs::write(&kernels_initrd, [base, overlay(dir.path())?].concat())?;
        let native = dir.path().join("native");
        fs::create_dir(&native)?;
        for kernel in KERNELS {
            compile(NATIVE_COMPILER, &NATIVE_FLAGS, kernel, &native.join(kernel))?;
        }
        Ok(Guest { image, kernels_initrd, native, _dir: dir })
    }

    /// The kernels, one after the other.
    pub(crate) fn kernels(&self) -> Boot {
        let initrd = self.kernels_initrd.clone();
        let append = format!("{} rdinit=/bench/init", self.image.append);
        Boot { kernel: self.image.kernel.clone(), initrd, append, end: "@end pipe" }
    }

    /// The host's own program of a kernel.
    pub(crate) fn native(&self, kernel: &str) -> PathBuf {
        self.native.join(kernel)
    }

    /// The image itself, to its prompt.
    pub(crate) fn tiny(&self) -> Boot {
        Boot {
            kernel: self.image.kernel.clone(),
            initrd: self.image.initrd.clone().expect("checked in prepare"),
            append: self.image.append.clone(),
            end: PROMPT,
        }
    }
}

/// A cpio that the kernel unpacks over the image's own.
fn overlay(dir: &Path) -> Result<Vec<u8>> {
    let mut tree = Tree::new();
    tree.directory("bench");
    tree.file("bench/init", 0o755, INIT.replace("$KERNELS", &KERNELS.join(" ")));
    for kernel in KERNELS {
        let program = dir.join(kernel);
        compile(COMPILER, &FLAGS, kernel, &program)?;
        tree.file(&format!("bench/{kernel}"), 0o755, fs::read(&program)?);
    }
    let mut bytes = Vec::new();
    tree.write_to(&mut bytes)?;
    Ok(bytes)
}

fn compile(compiler: &str, flags: &[&str], kernel: &str, program: &Path) -> Result<()> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let status = Command::new(compiler)
        .args(flags)
        .args(COMMON_FLAGS)
        .arg("-o")
        .arg(program)
        .arg(sources.join(format!("{kernel}.c")))
        .arg("-lm")
        .status()
        .with_context(|| format!("{compiler}: install gcc and gcc-riscv64-linux-gnu"))?;
    ensure!(status.success(), "{compiler} failed on {kernel}.c");
    Ok(())
}
