//! Check-in of 6 versions of a 3 GiB Debian disk, and of 6 dumps of 1 GiB of RAM, beside borg, restic
//! and casync: wall and CPU time of all six, and what they leave on disk.
//!
//! Each tool runs as a process of its own for each version, on an empty store at the start of each
//! round; rounds are interleaved. The versions are made once and kept in `cache/checkin` of the data
//! directory.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use stackvm_store::local::{CheckIn, Continue, LocalStore};
use stackvm_store::{RootKind, RootName};

use crate::table::median;

mod versions;

/// A way to store versions.
#[derive(Clone, Copy)]
struct Tool {
    name: &'static str,
    /// Commands for an empty store at the first argument.
    init: fn(&Path) -> Option<Command>,
    /// Stores version `n` (from 0) of the file.
    put: fn(&Path, &Path, usize) -> Command,
}

const TOOLS: [Tool; 4] = [
    Tool { name: "stackvm", init: |_| None, put: put_ours },
    Tool { name: "borg fixed,65536", init: init_borg, put: put_borg },
    Tool { name: "restic", init: init_restic, put: put_restic },
    Tool { name: "casync", init: |_| None, put: put_casync },
];

/// Makes what is missing, measures, prints.
pub(crate) fn run(data_dir: &Path, rounds: usize) -> Result<()> {
    let folder = data_dir.join("cache/checkin");
    let disks = versions::disks(data_dir, &folder)?;
    table("6 versions of a 3 GiB Debian disk", &folder, &disks, rounds)?;
    let dumps = versions::dumps(data_dir, &folder)?;
    table("6 dumps of 1 GiB of RAM, 30 s apart", &folder, &dumps, rounds)
}

/// What a child process of the measurement does: `STORE FILE NUMBER`.
pub(crate) fn put(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut next = || args.next().context("STORE FILE NUMBER are needed");
    let (store, file, number): (String, String, usize) = (next()?, next()?, next()?.parse()?);
    let name = |number: usize| format!("v{number}").parse::<RootName>();
    let parent = number.checked_sub(1).map(name).transpose()?;
    let what = CheckIn { name: name(number)?, kind: RootKind::Disk, parent };
    let store = LocalStore::open(Path::new(&store))?;
    store.check_in(&File::open(file)?, &what, &mut |_| Continue::Yes)?;
    Ok(())
}

fn table(title: &str, folder: &Path, files: &[PathBuf], rounds: usize) -> Result<()> {
    let tools: Vec<Tool> = TOOLS.into_iter().filter(|tool| is_there(tool.name)).collect();
    let mut times = vec![Vec::new(); tools.len()];
    let mut cpu_times = times.clone();
    let mut sizes = vec![0; tools.len()];
    for round in 0..rounds {
        for (index, tool) in tools.iter().enumerate() {
            eprintln!("{title}: round {} of {rounds}: {}", round + 1, tool.name);
            let store = folder.join("store");
            let _ = fs::remove_dir_all(&store);
            fs::create_dir(&store)?;
            (tool.init)(&store).map(|init| succeed(tool.name, init)).transpose()?;
            // Every tool finds the files in the page cache, and the disk idle.
            for file in files {
                std::io::copy(&mut File::open(file)?, &mut std::io::sink())?;
            }
            Command::new("sync").status()?;
            let (started, cpu_before) = (Instant::now(), children_cpu_s()?);
            for (number, file) in files.iter().enumerate() {
                succeed(tool.name, (tool.put)(&store, file, number))?;
            }
            times[index].push(started.elapsed().as_secs_f64());
            cpu_times[index].push(children_cpu_s()? - cpu_before);
            sizes[index] = disk_bytes(&store)?;
            let load = fs::read_to_string("/proc/loadavg")?;
            let (wall, cpu) = (times[index][round], cpu_times[index][round]);
            eprintln!("{wall:.1} s, {cpu:.1} s of CPU; load {}", load.trim());
            fs::remove_dir_all(&store)?;
        }
    }
    println!("| {title} | s | s of CPU | store MB | times ours |\n|---|---|---|---|---|");
    let ours = median(times[0].clone());
    let rows = tools.iter().zip(times.into_iter().zip(cpu_times).zip(sizes));
    for (tool, ((times, cpu_times), bytes)) in rows {
        let (time, cpu, megabytes) = (median(times), median(cpu_times), bytes / 1_000_000);
        let ratio = time / ours;
        println!("| {} | {time:.1} | {cpu:.1} | {megabytes} | {ratio:.1} |", tool.name);
    }
    println!();
    Ok(())
}

/// CPU time of all child processes that have ended and were waited for, in seconds.
fn children_cpu_s() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name before may have any characters. Linux counts hundredths here, whatever its clock.
    let (_, fields) = stat.rsplit_once(')').context("a name in parentheses")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    let ticks = |index: usize| -> Result<u64> { Ok(fields[index].parse()?) };
    Ok((ticks(13)? + ticks(14)?) as f64 / 100.0)
}

fn is_there(name: &str) -> bool {
    let program = name.split(' ').next().expect("a word");
    program == "stackvm"
        || Command::new(program)
            .arg("--help")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok()
}

fn succeed(what: &str, mut command: Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output().with_context(|| what.to_owned())?;
    let text = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what} failed: {text}");
    Ok(())
}

/// What a folder takes on disk.
fn disk_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let data = entry.metadata()?;
        bytes += if data.is_dir() { disk_bytes(&entry.path())? } else { data.blocks() * 512 };
    }
    Ok(bytes)
}

fn put_ours(store: &Path, file: &Path, number: usize) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg("checkin-put").arg(store).arg(file).arg(number.to_string());
    command
}

fn borg(store: &Path) -> Command {
    let mut command = Command::new("borg");
    command.env("BORG_BASE_DIR", store.join("base"));
    command.env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes");
    command
}

fn init_borg(store: &Path) -> Option<Command> {
    let mut command = borg(store);
    command.args(["init", "-e", "none"]).arg(store.join("repo"));
    Some(command)
}

fn put_borg(store: &Path, file: &Path, number: usize) -> Command {
    let mut command = borg(store);
    command
        .args(["create", "--chunker-params", "fixed,65536", "-C", "zstd,3", "--sparse"])
        .arg(format!("{}::v{number}", store.join("repo").display()))
        .arg(file);
    command
}

fn restic(store: &Path) -> Command {
    let mut command = Command::new("restic");
    command.env("RESTIC_PASSWORD", "x").arg("--no-cache").arg("-r").arg(store.join("repo"));
    command
}

fn init_restic(store: &Path) -> Option<Command> {
    let mut command = restic(store);
    command.arg("init");
    Some(command)
}

fn put_restic(store: &Path, file: &Path, _: usize) -> Command {
    let mut command = restic(store);
    command.arg("backup").arg(file);
    command
}

fn put_casync(store: &Path, file: &Path, number: usize) -> Command {
    let mut command = Command::new("casync");
    command
        .arg("make")
        .arg(format!("--store={}", store.join("chunks").display()))
        .arg(store.join(format!("v{number}.caibx")))
        .arg(file);
    command
}
