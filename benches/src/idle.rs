//! What an idle machine costs: CPU time of a machine at its prompt, run in real time.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant as Clock};

use anyhow::{Context, Result};
use stackvm_machine::{Instant, Machine, MachineConfig, Output};

use crate::child::cpu_s;
use crate::guest::{Boot, Guest, PROMPT};

const MEASURED: Duration = Duration::from_secs(10);
/// After the prompt, for what the image does behind it.
const SETTLING: Duration = Duration::from_secs(5);

/// Measures and prints it.
pub(crate) fn print(guest: &Guest) -> Result<()> {
    let Boot { kernel, initrd, append, .. } = guest.tiny();
    let mut child = Command::new(std::env::current_exe()?)
        .arg("idle")
        .args([kernel, initrd])
        .arg(append)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("stdout is piped")?).read_line(&mut line)?;
    thread::sleep(SETTLING);
    let before = cpu_s(child.id())?;
    thread::sleep(MEASURED);
    let used = cpu_s(child.id())? - before;
    child.kill()?;
    child.wait()?;
    println!("idle at the prompt: {:.2} % of a core\n", 100.0 * used / MEASURED.as_secs_f64());
    Ok(())
}

/// The child: a machine paced by the wall clock, sleeping while it waits.
pub(crate) fn run_machine(mut args: impl Iterator<Item = String>) -> Result<()> {
    let mut file = || -> Result<Arc<Vec<u8>>> {
        Ok(Arc::new(fs::read(args.next().context("kernel and initrd files")?)?))
    };
    let (kernel, initrd) = (file()?, file()?);
    let append = args.next().context("a command line")?;
    let config = MachineConfig {
        kernel: Some(kernel),
        initrd: Some(initrd),
        append,
        consoles: 1,
        ..MachineConfig::default()
    };
    let mut machine = Machine::new(&config)?;
    let (mut text, mut said) = (String::new(), false);
    let started = Clock::now();
    // Booting is slower than real time; the lead that the wall clock has by then is forgiven.
    let mut behind = Duration::ZERO;
    loop {
        let wall = started.elapsed() - behind;
        machine.run(Instant::from_ns(wall.as_nanos() as u64));
        for output in machine.take_outputs() {
            if let Output::Console { bytes, .. } = output {
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
        }
        if !said && text.contains(PROMPT) {
            said = true;
            println!("up");
        }
        match machine.idle_until() {
            Some(at) => {
                let due = Duration::from_nanos(at.ns()).saturating_sub(started.elapsed() - behind);
                thread::sleep(due.min(Duration::from_secs(1)));
            }
            None => {
                behind = started.elapsed().saturating_sub(Duration::from_nanos(machine.now().ns()));
            }
        }
    }
}
