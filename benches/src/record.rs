//! What recording costs: CPU time beside the same run unrecorded, and how a recording grows.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use stackvm_host::client::Connection;
use stackvm_host::machines::{MachineSpec, StopHow};
use stackvm_host::protocol::{Command, RecordingAction};
use stackvm_machine::ConsoleId;

use crate::labs::{self, Cpu, Home};
use crate::table::median;

/// Work for the guest: computing, processes, and some output.
const WORK: &str = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; \
                    head -c 24000000 /dev/zero | sha256sum; \
                    for n in 1 2 3 4 5 6 7 8 9 10; do ls -lR /bin | tail -1; done";
const MEMORY_BYTES: u64 = 256 << 20;
/// How long growth is watched.
const WATCHED: Duration = Duration::from_secs(20);
/// Keys a person presses in a second.
const KEYS_PER_S: u32 = 10;

/// Measures `pairs` interleaved pairs of runs, and prints.
pub(crate) fn print(data: &Path, pairs: usize) -> Result<()> {
    let (mut plain, mut recorded, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let mut beside = Vec::new();
    let mut bytes = Sizes::default();
    for pair in 0..pairs {
        // Who goes first alternates: the host may be getting busier or less so.
        let first = work(data, pair % 2 == 1)?;
        let second = work(data, pair % 2 == 0)?;
        let (one, other) = if pair % 2 == 0 { (first, second) } else { (second, first) };
        bytes = other.1;
        let (one, other) = (one.0, other.0);
        let (plain_s, recorded_s) = (one.all_s, other.all_s);
        eprintln!("pair {} of {pairs}: {plain_s:.2} s, recorded {recorded_s:.2} s", pair + 1);
        plain.push(plain_s);
        recorded.push(recorded_s);
        beside.push(other.beside_s);
        ratios.push(recorded_s / plain_s);
    }
    ratios.sort_by(f64::total_cmp);
    let (low, high) = interval(&ratios);
    println!(
        "recording a boot and work, {pairs} pairs: {:.2} s of CPU, unrecorded {:.2} s; ratio \
         {:.3} (95 %: {low:.3} to {high:.3}); {:.2} s of it in the threads that write keyframes; \
         log {} B, track {} B, keyframes {} B",
        median(recorded),
        median(plain),
        median(ratios.clone()),
        median(beside),
        bytes.log,
        bytes.track,
        bytes.packs
    );
    growth(data)
}

/// A 95 % interval of the median, from order statistics. `sorted` is ascending.
fn interval(sorted: &[f64]) -> (f64, f64) {
    let count = sorted.len() as f64;
    let half = 0.98 * count.sqrt();
    let low = (count / 2.0 - half).floor().max(0.0) as usize;
    let high = ((count / 2.0 + half).ceil() as usize).min(sorted.len() - 1);
    (sorted[low], sorted[high])
}

/// Boots, works, and gives the lab's CPU time and what was recorded.
fn work(data: &Path, is_recorded: bool) -> Result<(Cpu, Sizes)> {
    let home = Home::new(data)?;
    let journal = home.folder.path().join("x.journal");
    let record = is_recorded.then(|| journal.clone());
    let spec = MachineSpec { record, ..labs::tiny("bench", MEMORY_BYTES) };
    let mut lab = home.start(spec)?;
    labs::exec(&mut lab, WORK)?;
    let cpu = labs::cpu(home.machines.info("bench")?.pid)?;
    home.machines.stop("bench", StopHow::Kill)?;
    let sizes = if is_recorded { Sizes::of(&journal)? } else { Sizes::default() };
    Ok((cpu, sizes))
}

/// Watches how a recording grows while nothing happens, and while somebody types.
fn growth(data: &Path) -> Result<()> {
    let home = Home::new(data)?;
    let mut lab = home.start(labs::tiny("bench", MEMORY_BYTES))?;
    // Where the lab's sandbox lets it write what is recorded later.
    let journal = home.machines.annex("bench")?.join("x.journal");
    labs::wait_up(&mut lab)?;
    std::thread::sleep(Duration::from_secs(5));
    lab.call(Command::Record { journal: journal.clone() })?;
    std::thread::sleep(Duration::from_secs(2));
    let before = Sizes::of(&journal)?;
    std::thread::sleep(WATCHED);
    let idle = Sizes::of(&journal)?;
    let keys = type_keys(&mut lab)?;
    lab.call(Command::Recording { journal: journal.clone(), action: RecordingAction::End })?;
    let typed = Sizes::of(&journal)?;
    let per_s = |bytes: u64| bytes as f64 / WATCHED.as_secs_f64();
    println!(
        "a recording's log grows by {:.1} B/s while the guest is idle, and by {:.1} B/s beside \
         the keys while somebody types {KEYS_PER_S} a second (its output track by {:.1} B/s)",
        per_s(idle.log - before.log),
        per_s((typed.log - idle.log).saturating_sub(keys)),
        per_s(typed.track - idle.track)
    );
    Ok(())
}

fn type_keys(lab: &mut Connection) -> Result<u64> {
    let keys = WATCHED.as_secs() * u64::from(KEYS_PER_S);
    for key in 0..keys {
        let byte = if key % 40 == 39 { 0x15 } else { b'a' + (key % 26) as u8 };
        let console = ConsoleId::Hvc(0);
        lab.send(Command::Type { console, bytes: vec![byte] })?;
        std::thread::sleep(Duration::from_secs(1) / KEYS_PER_S);
    }
    Ok(keys)
}

/// Bytes of a journal's parts.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    log: u64,
    track: u64,
    packs: u64,
}

impl Sizes {
    fn of(journal: &Path) -> Result<Sizes> {
        let mut sizes = Sizes::default();
        for entry in fs::read_dir(journal).context("the journal")? {
            let entry = entry?;
            let bytes = entry.metadata()?.len();
            match entry.path().extension().and_then(|extension| extension.to_str()) {
                Some("log") => sizes.log += bytes,
                Some("track") => sizes.track += bytes,
                Some("pack") => sizes.packs += bytes,
                _ => {}
            }
        }
        Ok(sizes)
    }
}
