//! How long a fork stops a running machine, and what a twin costs: in this process, and with a
//! process of its own.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result, ensure};
use stackvm_host::client::Connection;
use stackvm_host::machines::{MachineSpec, Source, StartFrom};
use stackvm_host::prompt;
use stackvm_host::protocol::{Command, Event, ForkKind};
use stackvm_images::{Cancel, ImageStore};
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Input, Machine, MachineConfig, Output};

use crate::guest::{Boot, Guest, PROMPT};
use crate::labs::{self, Home};
use crate::table::median;

/// Twins in this process.
const FORKS: usize = 100;

/// Measures and prints it.
pub(crate) fn print(guest: &Guest) -> Result<()> {
    let Boot { kernel, initrd, append, .. } = guest.tiny();
    let mut machine = Machine::new(&MachineConfig {
        memory_bytes: 256 << 20,
        kernel: Some(Arc::new(fs::read(kernel).context("kernel")?)),
        initrd: Some(Arc::new(fs::read(initrd).context("initrd")?)),
        append,
        consoles: 1,
        ..MachineConfig::default()
    })?;
    to_prompt(&mut machine)?;
    let (mut pauses, mut thaws, mut twins) = (Vec::new(), Vec::new(), Vec::with_capacity(FORKS));
    let pid = std::process::id();
    let at_first = labs::pss_bytes(pid)?;
    for _ in 0..FORKS {
        machine.run(machine.now() + Ticks::from_ns(2_000_000));
        let before = Clock::now();
        let frozen = machine.freeze();
        pauses.push(before.elapsed().as_secs_f64() * 1e3);
        let before = Clock::now();
        twins.push(Machine::thaw(&frozen));
        thaws.push(before.elapsed().as_secs_f64() * 1e3);
    }
    let mib = |bytes: u64| bytes as f64 / FORKS as f64 / f64::from(1 << 20);
    let forked = mib(labs::pss_bytes(pid)?.saturating_sub(at_first));
    for twin in &mut twins {
        twin.input(Input::Console { console: ConsoleId::Hvc(0), bytes: b"x".to_vec() });
        ensure!(runs_until(twin, "x"), "a twin does not answer");
    }
    let answered = mib(labs::pss_bytes(pid)?.saturating_sub(at_first));
    let worst = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    println!(
        "{FORKS} forks at a shell prompt in one process (256 MiB): paused for {:.3} ms (median; \
         worst {:.3} ms), the twin is there after {:.3} ms more (worst {:.3} ms); {forked:.3} MiB \
         each, {answered:.3} MiB once each has echoed a key",
        median(pauses.clone()),
        worst(&pauses),
        median(thaws.clone()),
        worst(&thaws)
    );
    Ok(())
}

fn to_prompt(machine: &mut Machine) -> Result<()> {
    ensure!(runs_until(machine, PROMPT), "no prompt");
    // What it begins with is over soon.
    machine.run(machine.now() + Ticks::from_ns(3_000_000_000));
    machine.take_outputs();
    Ok(())
}

/// Runs until the guest's terminal has shown `text`; false if it does not within its patience.
fn runs_until(machine: &mut Machine, text: &str) -> bool {
    let limit = machine.now() + Ticks::from_ns(120_000_000_000);
    let mut shown = String::new();
    while machine.now() < limit {
        machine.run(machine.now() + Ticks::from_ns(1_000_000));
        for output in machine.take_outputs() {
            if let Output::Console { bytes, .. } = output {
                shown.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        if shown.contains(text) {
            return true;
        }
    }
    false
}

/// Twins with processes of their own.
const TWINS: usize = 100;

/// Forks of the large machine, each with its memory written anew.
const LARGE_TWINS: usize = 5;
/// Writes 1 GiB of memory.
const DIRTY: &str = "i=0; while [ $i -lt 256 ]; do cat /mnt/x; i=$((i+1)); done >/mnt/y";

/// Measures forks of whole labs and prints: of one at its prompt, of one that has booted, and of
/// one of 4 GiB of which 1 GiB was written since the last freeze.
pub(crate) fn print_processes(data: &Path) -> Result<()> {
    let home = Home::new(data)?;
    let hash = Some(ImageStore::open(data)?.get("tiny")?.hash);
    let source = Source::Image { name: "tiny".into(), hash };
    let spec = labs::tiny("prompt", 256 << 20);
    let spec = MachineSpec { start: StartFrom::Prompt, source, ..spec };
    prompt::ensure(home.folder.path(), &spec, &mut |_| {}, &Cancel::default())?;
    for spec in [spec, labs::tiny("booted", 256 << 20)] {
        let mut lab = home.start(spec.clone())?;
        labs::wait_up(&mut lab)?;
        std::thread::sleep(Duration::from_secs(3));
        twins(&home, &spec.name, TWINS, |_| Ok(()))?;
    }
    let home = Home::new(data)?;
    let mut lab = home.start(labs::tiny("large", 4 << 30))?;
    labs::wait_up(&mut lab)?;
    let prepare = "mount -t tmpfs -o size=2g tmpfs /mnt && \
                   dd if=/dev/urandom of=/mnt/x bs=1M count=4 2>/dev/null";
    labs::exec(&mut lab, prepare)?;
    twins(&home, "large", LARGE_TWINS, |home| {
        labs::exec(&mut home.machines.connect("large")?, DIRTY)
    })
}

fn twins(
    home: &Home,
    name: &str,
    count: usize,
    before_each: impl Fn(&Home) -> Result<()>,
) -> Result<()> {
    let original = home.machines.get(name)?.spec;
    let pid = home.machines.info(name)?.pid;
    let (mut answers, mut forks, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let (mut pids, mut idle_memory) = (Vec::new(), Vec::new());
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    for twin in 0..count {
        before_each(home)?;
        let spec = MachineSpec {
            name: format!("{name}-{twin}"),
            start: StartFrom::Cold,
            ..original.clone()
        };
        let asked = Clock::now();
        let started = home.machines.fork(name, &spec, ForkKind::Exact)?;
        forks.push(asked.elapsed().as_secs_f64() * 1e3);
        idle_memory.push(mib(labs::pss_bytes(started.pid)?));
        let begun = Clock::now();
        let mut lab = home.machines.connect(&spec.name)?;
        echo(&mut lab)?;
        answers.push(forks[twin] + begun.elapsed().as_secs_f64() * 1e3);
        pids.push(started.pid);
    }
    for &pid in &pids {
        memory.push(mib(labs::pss_bytes(pid)?));
    }
    let log = fs::read_to_string(home.machines.log(name)).unwrap_or_default();
    let pauses: Vec<&str> =
        log.lines().filter_map(|line| line.strip_prefix("forked; stood still for ")).collect();
    // The numbers of each line, in microseconds: all, folder, freeze, fork(2).
    let numbers = |line: &str| -> Vec<f64> {
        line.split([' ', ',', ':']).filter_map(|word| word.parse().ok()).collect()
    };
    let part = |at: usize| -> Vec<f64> {
        pauses.iter().filter_map(|line| numbers(line).get(at).copied()).collect()
    };
    let worst = |times: Vec<f64>| times.into_iter().fold(0.0, f64::max);
    println!(
        "{count} forks of {name} (process {pid}) into processes: the original stood still for \
         {:.0} us (median; worst {:.0} us), of it folder {:.0}, freeze {:.0}, fork(2) {:.0}; the \
         twin's socket answers after {:.1} ms, its shell after {:.1} ms; {:.2} MiB each (PSS) when \
         its socket answers, {:.2} MiB once its shell has echoed a key",
        median(part(0)),
        worst(part(0)),
        median(part(1)),
        median(part(2)),
        median(part(3)),
        median(forks),
        median(answers),
        median(idle_memory),
        median(memory)
    );
    Ok(())
}

/// Presses a key at the shell and waits for its echo.
fn echo(lab: &mut Connection) -> Result<()> {
    let console = ConsoleId::Hvc(0);
    lab.call(Command::Attach { console })?;
    lab.send(Command::Type { console, bytes: b"x".to_vec() })?;
    loop {
        if let Event::Console { .. } = lab.recv()? {
            return Ok(());
        }
    }
}
