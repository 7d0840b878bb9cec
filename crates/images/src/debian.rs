//! The image `debian`: a real Debian system on a disk.
//!
//! The host only fetches and repacks packages. The system is put together by Debian's own dpkg
//! and maintainer scripts, which run inside our own machine ([`assembly`]), so no root and no
//! emulator is needed and the same packages make the same disk.

mod assembly;
mod repack;

use std::io;
use std::path::{Path, PathBuf};

use crate::apt::{Package, SUITE};
use crate::build::{BuildError, Plan, Selection, recipe_hash, write_file};
use crate::cpio::Tree;
use crate::deb::Deb;
use crate::iso::IsoWriter;
use crate::packages::{Kernel, PackageFiles, is_library};
use crate::progress::{Job, Phase};
use crate::store::StoreError;
use crate::tiny::{KERNEL_PROVIDED, add_modules, base_tree};

const ASSEMBLE: &str = include_str!("guest/assemble.sh");
const ROOT: &str = include_str!("guest/root.sh");

/// Configuration of the system: path, permissions, content.
const FILES: [(&str, u32, &str); 9] = [
    ("etc/fstab", 0o644, include_str!("guest/debian/fstab")),
    ("etc/hosts", 0o644, "127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost\n"),
    ("etc/network/interfaces", 0o644, include_str!("guest/debian/interfaces")),
    ("etc/locale.conf", 0o644, "LANG=C.UTF-8\n"),
    (
        "etc/systemd/system/serial-getty@hvc0.service.d/autologin.conf",
        0o644,
        include_str!("guest/debian/autologin.conf"),
    ),
    (
        "etc/systemd/system/ssh-host-keys.service",
        0o644,
        include_str!("guest/debian/ssh-host-keys.service"),
    ),
    (
        "etc/systemd/system/qemu-guest-agent.service.d/network.conf",
        0o644,
        include_str!("guest/debian/agent-network.conf"),
    ),
    // Terminals come and go on hvc0 only.
    ("etc/systemd/logind.conf.d/no-vt.conf", 0o644, "[Login]\nNAutoVTs=0\nReserveVT=0\n"),
    ("etc/profile.d/network-hint.sh", 0o644, include_str!("guest/debian/network-hint.sh")),
];

/// Beside tiny's: the network interface keeps its plain name, and systemd does not compile a BPF
/// program at every start, which it does where BPF is a security module.
const APPEND: &str = "console=ttyS0 cryptomgr.notests quiet \
    initcall_blacklist=jent_mod_init,trace_eval_init,trace_eval_sync,\
    check_unaligned_access_all_cpus net.ifnames=0 lsm=landlock,yama";

/// Debian's essential packages (Policy §3.8): what others use without depending on it.
const ESSENTIAL: [&str; 24] = [
    "base-files",
    "base-passwd",
    "bash",
    "bsdutils",
    "coreutils",
    "dash",
    "debianutils",
    "diffutils",
    "dpkg",
    "findutils",
    "grep",
    "gzip",
    "hostname",
    "init-system-helpers",
    "libc-bin",
    "login",
    "mawk",
    "ncurses-base",
    "ncurses-bin",
    "perl-base",
    "sed",
    "sysvinit-utils",
    "tar",
    "util-linux",
];

/// The rest of the system; dependencies come along.
const SYSTEM: [&str; 32] = [
    "apt",
    "ca-certificates",
    "curl",
    "dbus",
    "debian-archive-keyring",
    "dhcpcd-base",
    "e2fsprogs",
    "file",
    "gcc",
    "ifupdown",
    "iproute2",
    "iputils-ping",
    "kmod",
    "less",
    "libc6-dev",
    "make",
    "mount",
    "nano",
    "netbase",
    "openssh-client",
    "openssh-server",
    "passwd",
    "perl",
    "procps",
    "python3",
    "qemu-guest-agent",
    "systemd",
    "systemd-sysv",
    "tzdata",
    "udev",
    // The agent sets the clock with hwclock.
    "util-linux-extra",
    "vim-tiny",
];

/// Beside those: tools of the making itself.
const KERNEL: [&str; 2] = [crate::tiny::KERNEL_PACKAGE, "busybox-static"];

/// What the initial RAM disk loads to reach the disk.
const ROOT_MODULES: [&str; 4] = ["virtio_mmio", "virtio_blk", "crc32c_generic", "ext4"];
/// What the making needs.
const ASSEMBLE_MODULES: [&str; 5] =
    ["virtio_mmio", "virtio_blk", "crc32c_generic", "ext4", "isofs"];

/// Kernel modules in the system: file systems, networking and what a virtual board has. Drivers
/// for hardware it cannot have are left out.
const MODULE_DIRECTORIES: [&str; 19] = [
    "arch",
    "block",
    "crypto",
    "drivers/block",
    "drivers/char/hw_random",
    "drivers/gpu/drm/virtio",
    "drivers/md",
    "drivers/net/bonding",
    "drivers/net/team",
    "drivers/net/vxlan",
    "drivers/net/wireguard",
    "drivers/virtio",
    "fs",
    "lib",
    "net/bridge",
    "net/ipv4",
    "net/ipv6",
    "net/netfilter",
    "net/sched",
];
const MODULES: [&str; 26] = [
    "8021q",
    "9pnet_virtio",
    "af_packet_diag",
    "dummy",
    "evdev",
    "geneve",
    "ifb",
    "ip_vti",
    "l2tp_eth",
    "macvlan",
    "macvtap",
    "mpls_router",
    "openvswitch",
    "sctp",
    "sunrpc",
    "tap",
    "tipc",
    "tun",
    "unix_diag",
    "veth",
    "virtio_input",
    "virtio_net",
    "virtio_snd",
    "vmw_vsock_virtio_transport",
    "vrf",
    "xfrm_user",
];

/// How `debian` is made.
pub(crate) fn plan() -> Plan {
    let mut texts = vec![ASSEMBLE, ROOT];
    texts.extend(FILES.iter().flat_map(|(path, _, text)| [*path, *text]));
    texts.extend(MODULE_DIRECTORIES.iter().chain(&MODULES));
    Plan {
        name: "debian",
        selections: vec![
            Selection { roots: KERNEL.to_vec(), provided: KERNEL_PROVIDED.to_vec() },
            Selection { roots: ESSENTIAL.to_vec(), provided: Vec::new() },
            Selection { roots: [&ESSENTIAL[..], &SYSTEM].concat(), provided: Vec::new() },
        ],
        append: APPEND,
        memory_bytes: 512 << 20,
        recipe: recipe_hash(&texts),
        make,
    }
}

/// Writes `kernel`, `initrd` and `disk`.
fn make(
    selections: &[Vec<(Package, PathBuf)>],
    mirror: &str,
    staging: &Path,
    job: &mut Job<'_>,
) -> Result<(), BuildError> {
    let [kernel_debs, essential, system] = selections else {
        unreachable!("the plan has three selections");
    };
    let kernel = Kernel::read(kernel_debs, job)?;
    let tools = [&kernel_debs[..], system].concat();
    let wanted =
        |path: &str| is_library(path) || matches!(path, "usr/bin/busybox" | "usr/sbin/mke2fs");
    let files = PackageFiles::read(&tools, wanted, job)?;

    let kernel_path = staging.join("kernel");
    write_file(&kernel_path, &mut |out| out.write_all(&kernel.image))?;
    let mut root = base_tree(&files)?;
    add_modules(&mut root, &kernel, &ROOT_MODULES)?;
    root.directory("sysroot");
    root.file("init", 0o755, ROOT);
    write_file(&staging.join("initrd"), &mut |out| root.write_to(out))?;

    let initrd = assembly_initrd(&files, &kernel)?;
    let packages = staging.join("packages");
    write_packages(&packages, essential, system, &kernel, mirror, job)?;
    let parts = assembly::Parts {
        kernel: kernel.image,
        initrd,
        packages: &packages,
        package_count: system.len(),
    };
    assembly::run(parts, &staging.join("disk"), job)?;
    std::fs::remove_file(&packages).map_err(|error| StoreError::io(&packages, error))?;
    Ok(())
}

/// The initial RAM disk of the machine that makes the image.
fn assembly_initrd(files: &PackageFiles, kernel: &Kernel) -> Result<Vec<u8>, BuildError> {
    let mut tree: Tree = base_tree(files)?;
    files.add_program(&mut tree, "usr/sbin/mke2fs", "bin/mke2fs")?;
    add_modules(&mut tree, kernel, &ASSEMBLE_MODULES)?;
    tree.file("init", 0o755, ASSEMBLE);
    let mut bytes = Vec::new();
    tree.write_to(&mut bytes).expect("a Vec takes everything");
    Ok(bytes)
}

/// Writes the disk from which the machine takes what it installs.
fn write_packages(
    path: &Path,
    essential: &[(Package, PathBuf)],
    system: &[(Package, PathBuf)],
    kernel: &Kernel,
    mirror: &str,
    job: &mut Job<'_>,
) -> Result<(), BuildError> {
    let fail = |error| StoreError::io(path, error);
    let total = system.iter().map(|(package, _)| package.bytes).sum();
    let mut done = 0;
    job.say(Phase::Unpack, "kernel modules");
    let files = configuration(kernel, mirror)?;
    let mut iso = IsoWriter::create(path).map_err(fail)?;
    iso.file("base.tar", &mut |out| {
        let mut base = tar::Builder::new(out);
        for (_, path) in essential {
            job.check().map_err(io::Error::other)?;
            repack::append_files(&Deb::open(path).map_err(io::Error::other)?, &mut base)
                .map_err(io::Error::other)?;
        }
        base.finish()
    })
    .or_else(|error| job.check().map_err(BuildError::from).and(Err(fail(error).into())))?;
    for (index, (package, path)) in system.iter().enumerate() {
        job.check()?;
        job.advance(Phase::Unpack, done, total, format!("repacking {}", package.name));
        let is_essential = essential.iter().any(|(other, _)| other.name == package.name);
        let name = format!("{}{index:04}.deb", if is_essential { 'e' } else { 'p' });
        let deb = Deb::open(path)?;
        iso.file(&name, &mut |out| repack::repack(&deb, out).map_err(io::Error::other))
            .map_err(fail)?;
        done += package.bytes;
    }
    iso.file("files.tar", &mut |out| out.write_all(&files)).map_err(fail)?;
    iso.finish().map_err(fail)?;
    Ok(())
}

/// Configuration and kernel modules, as a tar archive.
fn configuration(kernel: &Kernel, mirror: &str) -> Result<Vec<u8>, BuildError> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, mode: u32, data: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(data.len() as u64);
        // The directories above it that no package has are made by the guest's tar.
        builder.append_data(&mut header, path, data).expect("a Vec takes everything");
    };
    for (path, mode, text) in FILES {
        add(path, mode, text.as_bytes());
    }
    add("etc/stackvm-kernel", 0o644, kernel.release.as_bytes());
    add("etc/apt/sources.list.d/debian.sources", 0o644, apt_source(mirror).as_bytes());
    let directory = format!("usr/lib/modules/{}", kernel.release);
    for (path, data) in &kernel.lists {
        add(path, 0o644, data);
    }
    let inside = |path: &str| {
        MODULE_DIRECTORIES
            .iter()
            .any(|directory| path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/')))
    };
    let mut names = kernel.modules.names_in(inside);
    names.extend(MODULES.iter().map(|name| name.to_string()));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for module in kernel.modules.closure(&names)? {
        add(&format!("{directory}/kernel/{}", module.path), 0o644, &module.data);
    }
    Ok(builder.into_inner().expect("a Vec takes everything"))
}

/// Where the system's own apt gets packages: where these came from, if the guest can reach that.
fn apt_source(mirror: &str) -> String {
    if !mirror.starts_with("http") {
        return "# Name a Debian mirror here; see sources.list(5).\n".to_owned();
    }
    format!(
        "Types: deb\nURIs: {mirror}\nSuites: {SUITE}\nComponents: main\n\
         Signed-By: /usr/share/keyrings/debian-archive-keyring.pgp\n"
    )
}
