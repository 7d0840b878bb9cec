//! What runs inside: the image `tiny`, and beside it the kernels of `benches/kernels`, compiled
//! and packed into an initrd of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use stackvm_images::cpio::Tree;
use stackvm_images::{BuildOptions, Cancel, Image, ImageStore};

/// The integer kernels, in the order they run.
pub(crate) const KERNELS: [&str; 4] = ["core", "sha256", "sort", "vm"];

/// Prints what a shell prompt begins with when the image is up.
pub(crate) const PROMPT: &str = "root@tiny";

const COMPILER: &str = "riscv64-linux-gnu-gcc";
/// Plain RV64GC: what Debian compiles its packages for.
const FLAGS: [&str; 4] = ["-O2", "-static", "-march=rv64gc", "-mabi=lp64d"];

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
        Ok(Guest { image, kernels_initrd, _dir: dir })
    }

    /// The kernels, one after the other.
    pub(crate) fn kernels(&self) -> Boot {
        let initrd = self.kernels_initrd.clone();
        let append = format!("{} rdinit=/bench/init", self.image.append);
        Boot { kernel: self.image.kernel.clone(), initrd, append, end: "@end vm" }
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
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let mut tree = Tree::new();
    tree.directory("bench");
    tree.file("bench/init", 0o755, INIT.replace("$KERNELS", &KERNELS.join(" ")));
    for kernel in KERNELS {
        let program = dir.join(kernel);
        let status = Command::new(COMPILER)
            .args(FLAGS)
            .arg("-o")
            .arg(&program)
            .arg(sources.join(format!("{kernel}.c")))
            .status()
            .with_context(|| format!("{COMPILER}: install gcc-riscv64-linux-gnu"))?;
        ensure!(status.success(), "{COMPILER} failed on {kernel}.c");
        tree.file(&format!("bench/{kernel}"), 0o755, fs::read(&program)?);
    }
    let mut bytes = Vec::new();
    tree.write_to(&mut bytes)?;
    Ok(bytes)
}
