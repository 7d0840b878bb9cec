//! How long `stackvm run tiny -- true` takes, from its start to its end, with its prompt cached.
//!
//! It is the whole program: a process for the command, one for the machine, a fresh fork of the
//! prompt, a command in the guest, and nothing left behind. The program is the `stackvm` that lies
//! beside this one.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant as Clock;

use anyhow::{Context, Result, ensure};

/// Runs before those that count: they make the prompt and warm the page cache.
const WARM_UP: usize = 3;
/// Fewest runs from which a 99th percentile can be told.
pub(crate) const RUNS_MIN: usize = 100;

/// Measures `runs` runs and prints the percentiles of their wall time.
pub(crate) fn print(runs: usize) -> Result<()> {
    ensure!(runs >= RUNS_MIN, "{runs} runs: at least {RUNS_MIN} are needed");
    let program = program()?;
    let mut took_ms = Vec::with_capacity(runs);
    for run in 0..WARM_UP + runs {
        let start = Clock::now();
        let status = Command::new(&program)
            .args(["run", "tiny", "--", "true"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let ms = start.elapsed().as_secs_f64() * 1e3;
        ensure!(status.success(), "stackvm run tiny -- true: {status}");
        if run >= WARM_UP {
            took_ms.push(ms);
        }
    }
    took_ms.sort_by(f64::total_cmp);
    let at = |percent: usize| took_ms[(took_ms.len() * percent).div_ceil(100) - 1];
    println!(
        "`stackvm run tiny -- true`, {runs} runs: p50 {:.0} ms, p90 {:.0} ms, p99 {:.0} ms, \
         fastest {:.0} ms",
        at(50),
        at(90),
        at(99),
        took_ms[0]
    );
    Ok(())
}

fn program() -> Result<PathBuf> {
    let own = std::env::current_exe().context("this program's place")?;
    let program = own.with_file_name("stackvm");
    ensure!(program.exists(), "{} is missing: build the workspace", program.display());
    Ok(program)
}
