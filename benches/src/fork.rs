//! How long a fork stops a running machine of 512 MiB.

use std::fs;
use std::sync::Arc;
use std::time::Instant as Clock;

use anyhow::{Context, Result};
use stackvm_machine::instant::Ticks;
use stackvm_machine::{Machine, MachineConfig};

use crate::guest::{Boot, Guest};
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
