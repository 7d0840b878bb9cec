//! `stackvm start`: a kept machine goes on where it was saved, or is switched on.

use anyhow::Result;
use stackvm_host::machines::{Lifetime, Source, Status};

use super::{Joined, Owner, attach, blocking, machine, machines, rows};
use crate::args::Start;
use crate::failure::failure;
use crate::session::{self, Link, Menu, Signals, Target, Watch};

/// Starts a machine, and joins its terminal unless told not to.
pub(crate) async fn run(args: Start) -> Result<u8> {
    let mut signals = Signals::new()?;
    let machines = machines()?.with_sandbox(args.sandbox.mode());
    let listed = machine(&machines, &args.name)?;
    let name = listed.spec.name.clone();
    if listed.status == Status::Running {
        return Err(failure(
            format!("machine {name} is running already"),
            format!("`stackvm attach {name}` joins its terminal"),
        ));
    }
    let started = blocking({
        let (machines, name) = (machines.clone(), name.clone());
        move || Ok(machines.start(&name)?)
    })
    .await?;
    if let Some(format) = args.detach.format() {
        rows::answer(&machines, &[name], format, || {});
        return Ok(0);
    }
    let watch = match listed.spec.source {
        Source::Image { name, .. } if listed.status == Status::Off => Watch::Boot(name),
        _ => Watch::Nothing,
    };
    let joined = Joined { machines, name, lifetime: Lifetime::Named, owner: Owner::Session };
    let end = match Link::connect(&started.socket).await {
        Ok(link) => {
            let target = Target::Console(attach::console(&link));
            session::run(link, target, watch, Menu::Machine, &mut signals).await
        }
        Err(error) => Err(error),
    };
    joined.conclude(end, &mut signals).await
}
