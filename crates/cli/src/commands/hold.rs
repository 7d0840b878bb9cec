//! `stackvm pause` and `stackvm resume`: a machine's time is held, and goes on.

use anyhow::Result;
use stackvm_host::machines::MachinesError;
use stackvm_host::protocol::{Command, Power};

use super::{machine, machines, rows};
use crate::args::Hold;
use crate::failure::failure;

/// Holds machines or lets them go on, one after the other.
pub(crate) async fn run(args: &Hold, power: Power) -> Result<u8> {
    let machines = machines()?;
    rows::each(&machines, &args.names, args.format.format(), async |name| {
        let id = machine(&machines, name)?.spec.name;
        let mut lab = machines.connect(&id).map_err(|error| match error {
            MachinesError::NotRunning(_) => failure(
                format!("machine {name} is not running"),
                format!("`stackvm start {name}` starts it"),
            ),
            error => error.into(),
        })?;
        lab.call(Command::Power(power))?;
        Ok(id)
    })
    .await
}
