//! `stackvm fork`: a running machine's twin.

use anyhow::Result;
use stackvm_host::machines::{Lifetime, Machines, Status};
use stackvm_host::protocol::ForkKind;

use super::{blocking, machine, machines, rows};
use crate::args::Fork;
use crate::failure::failure;

/// Forks a machine and prints the twin's name.
pub(crate) async fn run(args: Fork) -> Result<u8> {
    let machines = machines()?;
    let listed = machine(&machines, &args.name)?;
    let name = listed.spec.name.clone();
    if listed.status != Status::Running {
        return Err(failure(
            format!("machine {name} is not running"),
            format!("`stackvm start {name} --detach` starts it"),
        ));
    }
    let twin = match args.new_name {
        Some(twin) if machines.find(&twin).is_ok() => {
            return Err(failure(
                format!("there is a machine {twin} already"),
                "choose another name, or leave it to stackvm",
            ));
        }
        Some(twin) => twin,
        None => free_name(&machines, &name),
    };
    let mut spec = listed.spec;
    spec.label = None;
    spec.name.clone_from(&twin);
    // Whoever forks an ephemeral machine wants to find the twin again; host ports are taken.
    spec.lifetime = Lifetime::Named;
    spec.forwards.clear();
    spec.record = None;
    let kind = if args.exact { ForkKind::Exact } else { ForkKind::Fresh };
    blocking({
        let machines = machines.clone();
        move || Ok(machines.fork(&name, &spec, kind)?)
    })
    .await?;
    rows::answer(&machines, std::slice::from_ref(&twin), args.format.format(), || {
        println!("{twin}");
    });
    Ok(0)
}

fn free_name(machines: &Machines, name: &str) -> String {
    let names = (2..).map(|number| format!("{name}-{number}"));
    let mut free = names.filter(|name| machines.find(name).is_err());
    free.next().expect("there are more numbers than machines")
}
