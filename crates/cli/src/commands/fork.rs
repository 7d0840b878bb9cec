//! `stackvm fork`: a running machine's twin, or a machine that goes on from an instant of another's
//! past.

use anyhow::Result;
use stackvm_host::machines::{Listed, Machines, Status};
use stackvm_host::protocol::ForkKind;
use stackvm_host::sandbox::Sandbox;
use stackvm_machine::Instant;
use stackvm_machine::instant::Ticks;

use super::past::no_such_past;
use super::{blocking, create, machine, machines, rows, taken};
use crate::args::Fork;
use crate::failure::failure;

/// Makes a machine and prints its name.
pub(crate) async fn run(args: Fork) -> Result<u8> {
    let machines = machines()?.with_sandbox(args.sandbox.mode());
    let listed = machine(&machines, &args.name)?;
    let new = match &args.new_name {
        Some(new) if machines.find(new).is_ok() => return Err(taken(new)),
        Some(new) => new.clone(),
        None => free_name(&machines, listed.label()),
    };
    match args.at {
        Some(at) => go_on(&machines, &listed, at, &new).await?,
        None => twin(&args, &machines, &listed, &new).await?,
    }
    rows::answer(&machines, std::slice::from_ref(&new), args.format.format(), || {
        println!("{new}");
    });
    Ok(0)
}

/// Forks the machine, which runs.
async fn twin(args: &Fork, machines: &Machines, listed: &Listed, new: &str) -> Result<()> {
    let name = listed.label();
    if !listed.spec.lifetime.runs() {
        return Err(failure(
            format!("{name} never runs, so it has no twin"),
            format!("`stackvm fork {name} --at SECONDS` goes on from it"),
        ));
    }
    if listed.status != Status::Running {
        return Err(failure(
            format!("machine {name} is not running"),
            format!(
                "`stackvm start {name} --detach` starts it; `--at` goes on from an instant of its past"
            ),
        ));
    }
    if args.sandbox.mode() == Sandbox::Off {
        return Err(failure(
            "a twin is in the sandbox of its machine",
            "start the machine with --no-sandbox, then fork it",
        ));
    }
    let spec = machines.twin_spec(&listed.spec.name, new)?;
    let kind = if args.exact { ForkKind::Exact } else { ForkKind::Fresh };
    let (machines, id) = (machines.clone(), listed.spec.name.clone());
    blocking(move || Ok(machines.fork(&id, &spec, kind).map(drop)?)).await
}

/// Makes a machine that was this one until an instant.
async fn go_on(machines: &Machines, listed: &Listed, at: Ticks, new: &str) -> Result<()> {
    let spec = blocking({
        let (machines, new) = (machines.clone(), new.to_owned());
        let (id, name) = (listed.spec.name.clone(), listed.label().to_owned());
        move || {
            // Of one that runs, what was a moment ago counts.
            let spec = machines
                .write_shown(&id)
                .and_then(|()| machines.branch_spec(&id, Instant::from_ticks(at.get()), &new));
            spec.map_err(|error| no_such_past(&name, error))
        }
    })
    .await?;
    create(machines, spec).await.map(drop)
}

fn free_name(machines: &Machines, name: &str) -> String {
    let names = (2..).map(|number| format!("{name}-{number}"));
    let mut free = names.filter(|name| machines.find(name).is_err());
    free.next().expect("there are more numbers than machines")
}
