//! `stackvm rename`: what a machine is called; its id stays.

use anyhow::Result;

use super::{machine, machines, rows};
use crate::args::Rename;

/// Renames a machine, running or not.
pub(crate) fn run(args: &Rename) -> Result<u8> {
    let machines = machines()?;
    let id = machine(&machines, &args.name)?.spec.name;
    machines.rename(&id, &args.new)?;
    rows::answer(&machines, &[id], args.format.format(), || {});
    Ok(0)
}
