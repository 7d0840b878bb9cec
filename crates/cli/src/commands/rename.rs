//! `stackvm rename`: what a machine is called; its id stays.

use anyhow::Result;

use super::{machine, machines};
use crate::args::Rename;

/// Renames a machine, running or not.
pub(crate) fn run(args: &Rename) -> Result<u8> {
    let machines = machines()?;
    machines.rename(&machine(&machines, &args.name)?.spec.name, &args.new)?;
    Ok(0)
}
