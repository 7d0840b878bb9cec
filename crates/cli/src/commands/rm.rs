//! `stackvm rm`: kept machines go, with their disks.

use anyhow::Result;
use stackvm_host::machines::MachinesError;

use super::{machine, machines};
use crate::args::Remove;
use crate::failure::failure;

/// Removes machines that are off. A damaged one can be removed, too.
pub(crate) fn run(args: &Remove) -> Result<u8> {
    let machines = machines()?;
    for name in &args.names {
        match machines.find(name).and_then(|id| machines.remove(&id)) {
            Err(MachinesError::Running(_)) => {
                return Err(failure(
                    format!("machine {name} is running"),
                    format!("`stackvm stop {name}` stops it"),
                ));
            }
            Err(MachinesError::Unknown { .. }) => drop(machine(&machines, name)?),
            result => result?,
        }
    }
    Ok(0)
}
