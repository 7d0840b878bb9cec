//! Measures the machine beside `qemu-system-riscv64 -accel tcg` and prints BENCHMARKS.md's tables.
//!
//! Both systems are child processes that run the same kernel and initrd. Times are the host's,
//! taken when marker lines arrive on the console: CPU time of all the child's threads, and wall
//! time. No clock inside a guest is looked at. Runs are interleaved and medians quoted, because
//! the host is shared with others.

mod checkin;
mod child;
mod debian;
mod fork;
mod guest;
mod idle;
mod labs;
mod record;
mod seek;
mod start;
mod table;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::child::System;
use crate::guest::{Guest, KERNELS};

/// Instants at which the engines' digests are compared.
const ENGINE_STOPS: u64 = 20;
/// Interleaved runs of each system.
const RUNS: usize = 5;

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match args.next().as_deref() {
        None => all(RUNS),
        Some("--runs") => {
            let runs = args.next().context("--runs needs a number")?.parse()?;
            all(runs)
        }
        Some("start") => start::print(start::RUNS_MIN),
        Some("seek") => seek::print(&Guest::prepare(&data_dir()?)?),
        // Needs borg, restic and casync, and takes minutes: not part of the rest.
        Some("checkin") => {
            let rounds = args.next().map_or(Ok(RUNS), |rounds| rounds.parse())?;
            checkin::run(&data_dir()?, rounds)
        }
        Some("debian") => {
            let runs = args.next().map_or(Ok(RUNS), |runs| runs.parse())?;
            debian::print(&data_dir()?, runs)
        }
        Some("debian-guest") => debian::run_machine(args),
        // The child processes of this program's own system.
        Some("guest") => child::run_machine(args),
        Some("checkin-put") => checkin::put(args),
        Some("idle") => idle::run_machine(args),
        Some("record") => record::print(&data_dir()?, record_pairs(args.next())?),
        Some("fork") => {
            fork::print(&Guest::prepare(&data_dir()?)?)?;
            fork::print_processes(&data_dir()?)
        }
        // The labs' own processes.
        Some("lab") => {
            let folder = args.next().context("a machine's folder")?;
            let sandbox = stackvm_host::sandbox::Sandbox::On;
            stackvm_host::lab_main(std::path::Path::new(&folder), sandbox);
            Ok(())
        }
        Some(other) => bail!(
            "unknown argument {other}: only --runs N, start, seek, record, fork and checkin are \
             taken"
        ),
    }
}

fn all(runs: usize) -> Result<()> {
    let guest = Guest::prepare(&data_dir()?)?;
    let ours = System::stackvm();
    let qemu = System::qemu()?;
    println!("{} against {}, {runs} interleaved runs, medians\n", ours.name, qemu.name);
    let mut table = table::Table::default();
    for run in 0..runs {
        for system in [&ours, &qemu] {
            eprintln!("run {} of {runs}: {}", run + 1, system.name);
            table.kernels(system, &system.run(&guest.kernels(), KERNELS.len())?);
            table.boot(system, &system.run(&guest.tiny(), 0)?);
        }
        for kernel in KERNELS {
            table.native(kernel, child::native_s(&guest.native(kernel), kernel)?);
        }
    }
    table.print_kernels(&ours, &qemu)?;
    table.print_boot(&ours, &qemu);
    child::compare_engines(&guest.kernels(), ENGINE_STOPS)?;
    idle::print(&guest)?;
    fork::print(&guest)?;
    start::print(start::RUNS_MIN)?;
    seek::print(&guest)
}

/// Pairs of runs that are compared where the difference is small.
const PAIRS: usize = 20;

fn record_pairs(argument: Option<String>) -> Result<usize> {
    argument.map_or(Ok(PAIRS), |pairs| pairs.parse().context("a number of pairs"))
}

/// Where images are kept, by the same rule as the `stackvm` program.
fn data_dir() -> Result<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    var("STACKVM_HOME")
        .or_else(|| var("XDG_DATA_HOME").map(|dir| dir.join("stackvm")))
        .or_else(|| var("HOME").map(|dir| dir.join(".local/share/stackvm")))
        .context("set HOME or STACKVM_HOME")
}
