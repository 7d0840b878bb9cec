//! `stackvm rm`: kept machines go, with their disks.

use anyhow::Result;
use stackvm_host::machines::MachinesError;

use super::{machines, rows, unknown};
use crate::args::Remove;
use crate::failure::failure;

/// Removes machines that are off. A damaged one can be removed, too.
pub(crate) async fn run(args: &Remove) -> Result<u8> {
    let machines = machines()?;
    rows::each(&machines, &args.names, args.format.format(), async |name| {
        let removed = machines.find(name).and_then(|id| machines.remove(&id).map(|()| id));
        removed.map_err(|error| match error {
            MachinesError::Running(_) => failure(
                format!("machine {name} is running"),
                format!("`stackvm stop {name}` stops it"),
            ),
            error @ MachinesError::Unknown { .. } => unknown(&error),
            error => error.into(),
        })
    })
    .await
}
