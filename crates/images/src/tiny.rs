//! The image `tiny`: Debian's kernel with busybox and the guest agent in an initial RAM disk. It
//! is built to reach a prompt in as few guest instructions as possible.

use std::path::{Path, PathBuf};

use crate::apt::Package;
use crate::build::{BuildError, Plan, Selection, recipe_hash, write_file};
use crate::cpio::Tree;
use crate::packages::{Kernel, PackageFiles, busybox_applets, is_library};
use crate::progress::Job;

/// Initcalls that cost the guest time and give nothing here: the jitter entropy source's self
/// test (virtio-rng seeds the kernel), tables for tracing, the speed probe of misaligned access.
/// Self tests of the crypto code are half of a boot's instructions.
pub(crate) const APPEND: &str = "console=ttyS0 cryptomgr.notests quiet \
    initcall_blacklist=jent_mod_init,trace_eval_init,trace_eval_sync,\
    check_unaligned_access_all_cpus";

const INIT: &str = include_str!("guest/tiny-init.sh");
const LOG_IN: &str = include_str!("guest/tiny-log-in.sh");
const BEHIND: &str = include_str!("guest/tiny-behind.sh");
const PROFILE: &str = include_str!("guest/tiny-profile.sh");
const SHUTDOWN: &str = include_str!("guest/shutdown.sh");
const UDHCPC: &str = include_str!("guest/udhcpc.sh");

/// Modules in the image; what they depend on comes along. `crc32c_generic` is what jbd2 and ext4
/// ask the kernel's crypto code for by the algorithm's name.
const MODULES: [&str; 6] =
    ["virtio_mmio", "virtio_net", "virtio_blk", "crc32c_generic", "ext4", "virtio_rng"];

/// What the kernel package depends on only to be installed; only its files are used.
pub(crate) const KERNEL_PROVIDED: [&str; 3] = ["initramfs-tools", "kmod", "linux-base"];
/// The package that depends on the newest kernel.
pub(crate) const KERNEL_PACKAGE: &str = "linux-image-riscv64";

/// How `tiny` is made.
pub(crate) fn plan() -> Plan {
    Plan {
        name: "tiny",
        selections: vec![Selection {
            roots: vec![KERNEL_PACKAGE, "busybox-static", "qemu-guest-agent"],
            provided: KERNEL_PROVIDED.to_vec(),
        }],
        append: APPEND,
        memory_bytes: 256 << 20,
        recipe: recipe_hash(&[INIT, LOG_IN, BEHIND, PROFILE, SHUTDOWN, UDHCPC, &MODULES.join(" ")]),
        make,
    }
}

/// Writes `kernel` and `initrd`.
fn make(
    selections: &[Vec<(Package, PathBuf)>],
    _mirror: &str,
    staging: &Path,
    job: &mut Job<'_>,
) -> Result<(), BuildError> {
    let debs = &selections[0];
    let kernel = Kernel::read(debs, job)?;
    let wanted =
        |path: &str| is_library(path) || matches!(path, "usr/bin/busybox" | "usr/sbin/qemu-ga");
    let files = PackageFiles::read(debs, wanted, job)?;
    let mut tree = base_tree(&files)?;
    files.add_program(&mut tree, "usr/sbin/qemu-ga", "bin/qemu-ga")?;
    add_modules(&mut tree, &kernel, &MODULES)?;
    tree.file("init", 0o755, INIT);
    tree.file("etc/tiny/log-in", 0o755, LOG_IN);
    tree.file("etc/tiny/behind", 0o755, BEHIND);
    tree.file("bin/shutdown", 0o755, SHUTDOWN);
    tree.file("etc/profile", 0o644, PROFILE);
    tree.file("etc/udhcpc.sh", 0o755, UDHCPC);
    tree.file("etc/hostname", 0o644, "tiny\n");
    tree.file("etc/hosts", 0o644, "127.0.0.1 localhost tiny\n::1 localhost\n");
    tree.file("etc/passwd", 0o644, "root::0:0:root:/root:/bin/sh\n");
    tree.file("etc/group", 0o644, "root:x:0:\n");
    tree.file("etc/motd", 0o644, "");
    tree.file(
        "etc/os-release",
        0o644,
        "NAME=tiny\nPRETTY_NAME=\"tiny (Debian's kernel and busybox)\"\n",
    );
    for directory in ["root", "run", "tmp", "mnt", "var", "usr/local/bin"] {
        tree.directory(directory);
    }
    tree.symlink("var/run", "../run");
    write_file(&staging.join("kernel"), &mut |out| out.write_all(&kernel.image))?;
    write_file(&staging.join("initrd"), &mut |out| tree.write_to(out))?;
    Ok(())
}

/// busybox under all its names, and the directories every initial RAM disk needs.
pub(crate) fn base_tree(files: &PackageFiles) -> Result<Tree, BuildError> {
    let mut tree = Tree::new();
    for directory in ["bin", "dev", "etc", "lib", "proc", "sys", "usr"] {
        tree.directory(directory);
    }
    let links =
        [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin"), ("usr/lib", "../lib")];
    for (path, target) in links {
        tree.symlink(path, target);
    }
    let busybox = files.get("usr/bin/busybox")?;
    tree.file("bin/busybox", 0o755, busybox);
    for applet in busybox_applets(busybox)? {
        if applet != "busybox" {
            tree.symlink(&format!("bin/{applet}"), "busybox");
        }
    }
    Ok(tree)
}

/// Modules where `modprobe` looks for them, with the dependency list it reads.
pub(crate) fn add_modules(
    tree: &mut Tree,
    kernel: &Kernel,
    names: &[&str],
) -> Result<(), BuildError> {
    let directory = format!("lib/modules/{}", kernel.release);
    let mut dependencies = String::new();
    for module in kernel.modules.closure(names)? {
        let chain = kernel.modules.closure(&[&module.name])?;
        let needs: String =
            chain.iter().rev().skip(1).map(|needed| format!(" {}.ko", needed.name)).collect();
        dependencies.push_str(&format!("{}.ko:{needs}\n", module.name));
        tree.file(&format!("{directory}/{}.ko", module.name), 0o644, module.data);
    }
    tree.file(&format!("{directory}/modules.dep"), 0o644, dependencies);
    Ok(())
}
