//! How long a fork stops a running machine, and what a twin costs: in this process, and with a
//! process of its own.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result};
use stackvm_host::client::Connection;
use stackvm_host::machines::{MachineSpec, StartFrom};
use stackvm_host::protocol::{Command, Event, ForkKind};
use stackvm_machine::ConsoleId;
use stackvm_machine::instant::Ticks;
use stackvm_machine::{Machine, MachineConfig};

use crate::guest::{Boot, Guest};
use crate::labs::{self, Home};
use crate::table::median;

const FORKS: usize = 50;

/// Measures and prints it.
pub(crate) fn print(guest: &Guest) -> Result<()> {
    let Boot { kernel, initrd, append, .. } = guest.tiny();
    let mut machine = Machine::new(&MachineConfig {
        memory_bytes: 512 << 20,
        kernel: Some(Arc::new(fs::read(kernel).context("kernel")?)),
        initrd: Some(Arc::new(fs::read(initrd).context("initrd")?)),
        append,
        consoles: 1,
        ..MachineConfig::default()
    })?;
    machine.run(machine.now() + Ticks::from_ns(200_000_000));
    let (mut pauses, mut thaws, mut twins) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..FORKS {
        machine.run(machine.now() + Ticks::from_ns(2_000_000));
        let before = Clock::now();
        let frozen = machine.freeze();
        pauses.push(before.elapsed().as_secs_f64() * 1e3);
        let before = Clock::now();
        twins.push(Machine::thaw(&frozen));
        thaws.push(before.elapsed().as_secs_f64() * 1e3);
    }
    let worst = pauses.iter().copied().fold(0.0, f64::max);
    println!(
        "fork of a running 512 MiB machine: paused for {:.3} ms (median of {FORKS}; worst \
         {worst:.3} ms), the twin runs after {:.2} ms more",
        median(pauses),
        median(thaws)
    );
    Ok(())
}

/// Twins with processes of their own.
const TWINS: usize = 100;

/// Measures forks of whole labs and prints: one of 256 MiB, and one of 4 GiB of which 1 GiB was
/// written since the last freeze.
pub(crate) fn print_processes(data: &Path) -> Result<()> {
    let home = Home::new(data)?;
    let mut lab = home.start(labs::tiny("small", 256 << 20))?;
    labs::wait_up(&mut lab)?;
    std::thread::sleep(Duration::from_secs(3));
    twins(&home, "small", TWINS)?;
    let home = Home::new(data)?;
    let mut lab = home.start(labs::tiny("large", 4 << 30))?;
    labs::wait_up(&mut lab)?;
    let fill = "mount -t tmpfs -o size=2g tmpfs /mnt && \
                dd if=/dev/urandom of=/mnt/x bs=1M count=4 2>/dev/null && \
                i=0; while [ $i -lt 256 ]; do cat /mnt/x; i=$((i+1)); done >/mnt/y";
    labs::exec(&mut lab, fill)?;
    twins(&home, "large", 1)
}

fn twins(home: &Home, name: &str, count: usize) -> Result<()> {
    let original = home.machines.get(name)?.spec;
    let pid = home.machines.info(name)?.pid;
    let (mut answers, mut forks, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let mut pids = Vec::new();
    for twin in 0..count {
        let spec = MachineSpec {
            name: format!("{name}-{twin}"),
            start: StartFrom::Cold,
            ..original.clone()
        };
        let asked = Clock::now();
        let started = home.machines.fork(name, &spec, ForkKind::Exact)?;
        forks.push(asked.elapsed().as_secs_f64() * 1e3);
        let mut lab = home.machines.connect(&spec.name)?;
        echo(&mut lab)?;
        answers.push(asked.elapsed().as_secs_f64() * 1e3);
        pids.push(started.pid);
    }
    for pid in pids {
        memory.push(labs::pss_bytes(pid)? as f64 / f64::from(1 << 20));
    }
    let pauses = fs::read_to_string(home.machines.log(name)).unwrap_or_default();
    let pauses: Vec<f64> = (pauses.lines())
        .filter_map(|line| line.strip_prefix("forked; stood still for "))
        .filter_map(|rest| rest.strip_suffix(" us")?.parse().ok())
        .collect();
    let worst = pauses.iter().copied().fold(0.0, f64::max);
    println!(
        "{count} forks of {name} (process {pid}) into processes: the original stood still for \
         {:.0} us (median; worst {worst:.0} us); the twin's socket answers after {:.1} ms, its \
         shell after {:.1} ms; {:.2} MiB each (PSS)",
        median(pauses),
        median(forks),
        median(answers),
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
