//! `stackvm moments`: what is kept of a machine's past: moments, which are one instant of it, and
//! recordings, which are a part. Both are machines that never run, and need no server.

use anyhow::Result;
use serde_json::{Value, json};
use stackvm_host::machines::{Lifetime, Listed, MachineSpec, Machines, MachinesError};
use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;

use super::past::{kind, no_such_past, seconds};
use super::{blocking, machine, machines, rows};
use crate::args::Moments;
use crate::days::for_people;
use crate::failure::failure;

/// Lists, or keeps one more.
pub(crate) async fn run(args: Moments) -> Result<u8> {
    let machines = machines()?.with_sandbox(args.sandbox.mode());
    let of = machine(&machines, &args.name)?;
    if !args.keep && args.record.is_none() {
        return list(&args, &machines, &of);
    }
    if args.keep && of.spec.lifetime == Lifetime::Frozen && !of.spec.is_recording() {
        return Err(failure(
            format!("{} is a moment itself", of.label()),
            format!("`stackvm fork {} --at SECONDS` goes on from it", of.label()),
        ));
    }
    let new = match &args.new_name {
        Some(new) if machines.find(new).is_ok() => return Err(super::taken(new)),
        Some(new) => new.clone(),
        None => machines.free_name()?,
    };
    let kept = blocking({
        let (machines, new, id) = (machines.clone(), new.clone(), of.spec.name.clone());
        let name = of.label().to_owned();
        let (at, record) = (args.at, args.record);
        move || {
            let spec = spec(&machines, &id, &new, (at, record));
            machines.freeze(&spec.map_err(|error| no_such_past(&name, error))?)?;
            Ok(new)
        }
    })
    .await?;
    rows::answer(&machines, std::slice::from_ref(&kept), args.format.format(), || {
        println!("{kept}");
    });
    Ok(0)
}

/// What is to be kept, under the name `new`: a part, or else an instant, or else the present one.
fn spec(
    machines: &Machines,
    id: &str,
    new: &str,
    (at, record): (Option<Ticks>, Option<(Ticks, Ticks)>),
) -> Result<MachineSpec, MachinesError> {
    machines.write_shown(id)?;
    let instant = |ticks: Ticks| Instant::from_ticks(ticks.get());
    match (record, at) {
        (Some((from, until)), _) => machines.recording_spec(id, instant(from), instant(until), new),
        (None, Some(at)) => machines.branch_spec(id, instant(at), new),
        (None, None) => {
            let reached = machines.reached(id)?;
            let reached = reached.ok_or_else(|| MachinesError::NoPast(id.to_owned()))?;
            machines.branch_spec(id, reached, new)
        }
    }
}

fn list(args: &Moments, machines: &Machines, of: &Listed) -> Result<u8> {
    let mut kept: Vec<(Instant, Listed)> = machines
        .list()?
        .into_iter()
        .filter(|machine| machine.spec.lifetime == Lifetime::Frozen)
        .filter_map(|machine| Some((machine.spec.leaves(&of.spec)?, machine)))
        .collect();
    kept.sort_by_key(|(at, _)| *at);
    let json: Value = kept.iter().map(|(at, machine)| row_json(*at, machine)).collect();
    let ids = kept.iter().map(|(_, machine)| machine.spec.name.as_str());
    args.format.format().print(ids, &json, || table(of.label(), &kept));
    Ok(0)
}

fn row_json(at: Instant, machine: &Listed) -> Value {
    let spec = &machine.spec;
    json!({
        "id": spec.name,
        "name": machine.label(),
        "kind": kind(spec),
        "at_ns": at.ns(),
        "until_ns": spec.recorded_until().map(|until| until.ns()),
        "created_unix_s": spec.created_unix_s,
    })
}

fn table(of: &str, kept: &[(Instant, Listed)]) {
    if kept.is_empty() {
        eprintln!("nothing is kept; `stackvm moments {of} --keep` keeps the machine as it is now");
        return;
    }
    println!("{:<20} {:<9} {:>16} {:>16}  MADE", "NAME", "KIND", "AT", "UNTIL");
    for (at, machine) in kept {
        let spec = &machine.spec;
        println!(
            "{:<20} {:<9} {:>16} {:>16}  {}",
            machine.label(),
            kind(spec),
            seconds(at.ns()),
            spec.recorded_until().map(|until| seconds(until.ns())).unwrap_or_default(),
            for_people(spec.created_unix_s.saturating_mul(1000)),
        );
    }
}
