//! `stackvm debug jit`: the hottest compiled code, the guest's beside the host's.

use std::fmt::Write as _;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow};
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter};
use stackvm_images::data_dir;
use stackvm_machine::engine::{EngineChoice, EngineLimits, HEAT, Profile, Region};
use stackvm_machine::{Instant, Machine, Stop};

use super::run::{source, spec};
use crate::args::{Debug, Jit};
use crate::session::Signals;

pub(crate) async fn run(command: Debug) -> Result<u8> {
    let Debug::Jit(args) = command;
    let mut signals = Signals::new()?;
    let source = source(args.image.as_deref(), &args.machine, &mut signals).await?;
    let config = spec(&args.machine, "jit", source)?.machine_config(&data_dir()?)?;
    let listing = super::blocking(move || {
        let mut machine = Machine::new(&config).context("could not make the machine")?;
        let limits = EngineLimits { profile: Profile::On, ..EngineLimits::DEFAULT };
        machine.set_engine(EngineChoice::compiler(HEAT, limits));
        machine.set_clock(clock_ns);
        run_to(&mut machine, &args)?;
        Ok(list(&machine, args.top))
    })
    .await?;
    print!("{listing}");
    Ok(0)
}

fn run_to(machine: &mut Machine, args: &Jit) -> Result<()> {
    let until = Instant::ZERO + args.until;
    loop {
        let stop = machine.run(until);
        // Nobody reads them.
        machine.take_outputs();
        match stop {
            Stop::Outputs | Stop::Watched => {}
            Stop::Until | Stop::PowerOff { .. } | Stop::Reset => break,
            Stop::Stalled { reason } => return Err(anyhow!("the machine cannot go on: {reason}")),
        }
    }
    match machine.take_no_compiler() {
        Some(reason) => Err(anyhow!("nothing was compiled: {reason}")),
        None => Ok(()),
    }
}

fn list(machine: &Machine, top: usize) -> String {
    let mut regions = machine.compiled();
    regions.sort_by_key(|region| std::cmp::Reverse(region.steps));
    let (retired, compiled) = (machine.retired(), total(&regions, |region| region.steps));
    let ops = total(&regions, |region| region.ops.len() as u64);
    let bytes = total(&regions, |region| region.code.len() as u64);
    let mut text = format!(
        "{retired} instructions, {:.1} % of them in {} compiled regions: {ops} instructions became \
         {bytes} bytes\n",
        percent(compiled, retired),
        regions.len(),
    );
    let usage = machine.engine_usage();
    let _ = writeln!(
        text,
        "compiling took {:.1} ms, {:.2} ms at most; code takes {:.1} MiB, tables {:.1} MiB",
        usage.total_ns as f64 / 1e6,
        usage.longest_ns as f64 / 1e6,
        mib(usage.code_bytes),
        mib(usage.table_bytes),
    );
    for region in regions.iter().take(top) {
        text.push('\n');
        text.push_str(&describe(region, retired));
    }
    text
}

fn total(regions: &[Region], of: impl Fn(&Region) -> u64) -> u64 {
    regions.iter().map(of).sum()
}

fn clock_ns() -> u64 {
    static START: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    START.elapsed().as_nanos() as u64
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn percent(part: u64, whole: u64) -> f64 {
    part as f64 * 100.0 / whole.max(1) as f64
}

fn describe(region: &Region, retired: u64) -> String {
    let first = region.ops.first().map_or(0, |op| op.offset());
    let mut text = format!(
        "{:5.1} %  {} instructions at {:#x}: {} of the guest, {} bytes of the host\n",
        percent(region.steps, retired),
        region.steps,
        region.page.addr() + first,
        region.ops.len(),
        region.code.len(),
    );
    let guest: Vec<String> = region.ops.iter().map(ToString::to_string).collect();
    let host = disassemble(region);
    for line in 0..guest.len().max(host.len()) {
        let at = |lines: &[String]| lines.get(line).cloned().unwrap_or_default();
        let _ = writeln!(text, "    {:36} {}", at(&guest), at(&host));
    }
    text
}

/// The host's instructions; operands of calls to the interpreter lie between them.
fn disassemble(region: &Region) -> Vec<String> {
    let mut formatter = GasFormatter::new();
    let decoder = Decoder::with_ip(64, &region.code, region.address, DecoderOptions::NONE);
    decoder
        .into_iter()
        .map(|instruction| {
            let mut line = format!("{:04x} ", instruction.ip() - region.address);
            formatter.format(&instruction, &mut line);
            line
        })
        .collect()
}
