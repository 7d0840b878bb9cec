//! `stackvm fork`.

use clap::Args;

use crate::format::FormatArgs;
use crate::values;

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm fork web              a twin with an identity of its own; prints its name
  stackvm fork web web-test     the same, under this name
  stackvm fork web --exact      the same machine twice: same future for the same inputs")]
pub(crate) struct Fork {
    /// Name of the running machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    /// Name of the twin [default: MACHINE-2 or the next that is free]
    #[arg(value_name = "NEWNAME", value_parser = values::name)]
    pub(crate) new_name: Option<String>,
    /// The same machine, with its identity, randomness and addresses
    #[arg(long)]
    pub(crate) exact: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}
