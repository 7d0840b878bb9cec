//! `stackvm stop`: machines end, and those with a name keep their state.

use std::time::Duration;

use anyhow::Result;
use stackvm_host::machines::{Lifetime, StopHow, Stopped};

use super::{blocking, machine, machines, rows};
use crate::args::Stop;

/// How long a guest may take to shut down.
const PATIENCE: Duration = Duration::from_secs(60);

/// Stops machines, one after the other.
pub(crate) async fn run(args: Stop) -> Result<u8> {
    let machines = machines()?;
    rows::each(&machines, &args.names, args.format.format(), async |name| {
        let listed = machine(&machines, name)?;
        let id = listed.spec.name;
        let how = match (args.power_off, args.kill, listed.spec.lifetime) {
            (true, _, _) => StopHow::Shutdown { patience: PATIENCE },
            (_, true, _) | (_, _, Lifetime::Ephemeral | Lifetime::Held) => StopHow::Kill,
            (false, false, Lifetime::Named | Lifetime::Frozen) => StopHow::Save,
        };
        let stopped = blocking({
            let (machines, id) = (machines.clone(), id.clone());
            move || Ok(machines.stop(&id, how)?)
        })
        .await?;
        if let Stopped::Forced { reason } = stopped {
            eprintln!("machine {name} was switched off: {reason}");
        }
        Ok(id)
    })
    .await
}
