//! `stackvm run … --until T`: a run without inputs, clock or process of its own, from cold to a
//! virtual instant. The same configuration prints the same digest on every computer, always.

use std::io::{Write, stdout};

use anyhow::{Context, Result, anyhow};
use stackvm_machine::{ConsoleId, Instant, Machine, MachineConfig, Output, Stop};

use crate::session::Signals;
use crate::work::Interrupted;

/// What is printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Show {
    /// The digest of the state reached, in hexadecimal, and nothing else.
    Digest,
    /// What the guest writes to this terminal.
    Console(ConsoleId),
}

/// Virtual time between looks at what the guest wrote and at signals.
const SLICE_NS: u64 = 10_000_000;

/// Runs a machine to `until`. The exit code is the guest's if it switched itself off.
pub(crate) async fn run(
    label: &str,
    config: MachineConfig,
    until: Instant,
    show: Show,
    signals: &mut Signals,
) -> Result<u8> {
    let label = label.to_owned();
    let run = super::blocking(move || {
        let machine = Machine::new(&config).with_context(|| format!("could not start {label}"))?;
        run_blocking(machine, until, show)
    });
    tokio::select! {
        result = run => result,
        // The run writes nothing but output: it can be left where it is.
        signal = signals.next_end() => Err(Interrupted(signal).into()),
    }
}

fn run_blocking(mut machine: Machine, until: Instant, show: Show) -> Result<u8> {
    let code = loop {
        let slice = Instant::from_ns(machine.now().ns().saturating_add(SLICE_NS));
        let stop = machine.run(slice.min(until));
        write_outputs(machine.take_outputs(), show)?;
        match stop {
            Stop::Until if machine.now() >= until => break 0,
            Stop::Until | Stop::Outputs | Stop::Watched => {}
            Stop::PowerOff { code } => break super::power_off_code(code),
            Stop::Reset => {
                eprintln!("the guest asked for a reset at {}", machine.now());
                break 0;
            }
            Stop::Stalled { reason } => return Err(anyhow!("the machine cannot go on: {reason}")),
        }
    };
    if let Some(reason) = machine.take_no_compiler() {
        eprintln!("nothing was compiled, so this took longer: {reason}");
    }
    match show {
        Show::Console(_) => Ok(code),
        Show::Digest => {
            if machine.now() < until {
                eprintln!("the guest switched itself off at {}", machine.now());
            }
            println!("{}", machine.digest());
            Ok(0)
        }
    }
}

fn write_outputs(outputs: Vec<Output>, show: Show) -> Result<()> {
    let Show::Console(shown) = show else { return Ok(()) };
    let mut out = stdout().lock();
    for output in outputs {
        if let Output::Console { console, bytes } = output
            && console == shown
        {
            out.write_all(&bytes)?;
        }
    }
    out.flush()?;
    Ok(())
}
