//! What is checked in: versions of the image `debian`'s disk, with packages of the host's apt put in
//! and taken out by `debugfs`, and dumps of the RAM of a machine that runs it.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use stackvm_images::{Image, ImageStore};
use stackvm_machine::instant::Ticks;
use stackvm_machine::memory::PAGE_BYTES;
use stackvm_machine::{Machine, MachineConfig};

/// Packages that versions differ in.
const PACKAGES: [&str; 4] = ["openjdk-17-jre-headless", "git", "vim-runtime", "golang-1.19-go"];
const DISK_SIZE: &str = "3G";
const RAM_BYTES: u64 = 1 << 30;
const DUMPS: u64 = 6;
/// Between two dumps, and before the first.
const APART: Ticks = Ticks::from_ns(30_000_000_000);

/// The disk's versions, made if they are not there.
pub(super) fn disks(data_dir: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = (1..=6).map(|n| folder.join(format!("disk{n}.img"))).collect();
    if paths.iter().all(|path| path.exists()) {
        return Ok(paths);
    }
    fs::create_dir_all(folder)?;
    let packages = packages(folder)?;
    let disk = debian(data_dir)?.disk.context("debian has a disk")?;
    let next = folder.join("next.img");
    run(Command::new("cp").arg("--sparse=always").arg(disk).arg(&next))?;
    // 1 is for errors that were put right: the image was not always unmounted.
    let _ = Command::new("e2fsck").args(["-fy"]).arg(&next).stdout(Stdio::null()).status()?;
    run(Command::new("resize2fs").arg(&next).arg(DISK_SIZE))?;
    File::options().write(true).open(&next)?.set_len(3 << 30)?;
    let [java, git, vim, go] = &packages;
    let small = |n: u32| {
        let path = folder.join("small");
        let lines: String = (0..80_000).map(|line| format!("{n} {line} something\n")).collect();
        fs::write(&path, lines).map(|()| vec![(path, format!("/var/log/small{n}"))])
    };
    let steps = [
        String::new(),
        put(java)?,
        put(git)? + &put(vim)?,
        script(&small(1)?),
        put(go)? + &remove(java)?,
        script(&small(2)?),
    ];
    for (path, step) in paths.iter().zip(steps) {
        debugfs(folder, &next, &step)?;
        run(Command::new("cp").arg("--sparse=always").arg(&next).arg(path))?;
    }
    fs::remove_file(next)?;
    Ok(paths)
}

/// Unpacked packages.
fn packages(folder: &Path) -> Result<[PathBuf; 4]> {
    let folder = folder.join("packages");
    for package in PACKAGES {
        let to = folder.join(package);
        if to.exists() {
            continue;
        }
        let aside = folder.join(format!("{package}.part"));
        fs::create_dir_all(&aside)?;
        run(Command::new("apt-get").args(["-q", "download", package]).current_dir(&aside))?;
        let debs: Vec<_> = fs::read_dir(&aside)?.collect::<Result<_, _>>()?;
        ensure!(debs.len() == 1, "{} files of {package}", debs.len());
        run(Command::new("dpkg-deb").arg("-x").arg(debs[0].path()).arg(aside.join("root")))?;
        fs::rename(aside.join("root"), to)?;
        fs::remove_dir_all(aside)?;
    }
    Ok(PACKAGES.map(|package| folder.join(package)))
}

/// The regular files of a package with where they go, and the folders before them.
fn files(root: &Path) -> Result<Vec<(PathBuf, String)>> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let mut entries: Vec<_> = fs::read_dir(&folder)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            let inside = format!("/{}", path.strip_prefix(root)?.display());
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() {
                found.push((path, inside));
            }
        }
    }
    Ok(found)
}

fn put(package: &Path) -> Result<String> {
    Ok(script(&files(package)?))
}

/// Commands that write files; folders that are there already are fine.
fn script(files: &[(PathBuf, String)]) -> String {
    let mut text = String::new();
    let mut made = std::collections::BTreeSet::new();
    for (from, to) in files {
        for (at, _) in to.match_indices('/').skip(1) {
            if made.insert(&to[..at]) {
                writeln!(text, "mkdir \"{}\"", &to[..at]).expect("text");
            }
        }
        writeln!(text, "write \"{}\" \"{to}\"", from.display()).expect("text");
    }
    text
}

fn remove(package: &Path) -> Result<String> {
    Ok(files(package)?.iter().map(|(_, to)| format!("rm \"{to}\"\n")).collect())
}

fn debugfs(folder: &Path, disk: &Path, script: &str) -> Result<()> {
    let path = folder.join("script");
    fs::write(&path, script)?;
    run(Command::new("debugfs").arg("-w").arg("-f").arg(&path).arg(disk))?;
    fs::remove_file(path)?;
    Ok(())
}

/// The dumps, made if they are not there.
pub(super) fn dumps(data_dir: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    let paths: Vec<PathBuf> = (1..=DUMPS).map(|n| folder.join(format!("ram{n}.img"))).collect();
    if paths.iter().all(|path| path.exists()) {
        return Ok(paths);
    }
    let config = stackvm_images::machine_config(&debian(data_dir)?)?;
    let mut machine = Machine::new(&MachineConfig { memory_bytes: RAM_BYTES, ..config })?;
    for path in &paths {
        let until = machine.now() + APART;
        while machine.now() < until {
            machine.run(until);
            machine.take_outputs();
        }
        let frozen = machine.freeze();
        let aside = path.with_extension("part");
        let file = File::create(&aside)?;
        file.set_len(RAM_BYTES)?;
        let mut written = Ok(());
        frozen.ram().for_each_nonzero_page(|page, bytes| {
            let at = u64::from(page) * PAGE_BYTES as u64;
            if written.is_ok() {
                written = file.write_all_at(bytes, at);
            }
        });
        written?;
        fs::rename(aside, path)?;
        eprintln!("{}: {} instructions", path.display(), machine.retired());
    }
    Ok(paths)
}

fn debian(data_dir: &Path) -> Result<Image> {
    ImageStore::open(data_dir)?.get("debian").context("`stackvm image build debian` makes it")
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().context("the program is not installed")?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed: {text}");
    Ok(())
}
