//! `stackvm fork`.

use clap::Args;
use stackvm_machine::instant::Ticks;

use super::SandboxArgs;
use crate::format::FormatArgs;
use crate::values;

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm fork web              a twin with an identity of its own; prints its name
  stackvm fork web web-test     the same, under this name
  stackvm fork web --exact      the same machine twice: same future for the same inputs
  stackvm fork web --at 83.5    a machine of its own that goes on from what web was then

With --at the machine may be off, a moment or a recording. `stackvm events` lists instants.")]
pub(crate) struct Fork {
    /// Name of the machine, which runs unless there is --at
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    /// Name of the new machine [default: MACHINE-2 or the next that is free]
    #[arg(value_name = "NEWNAME", value_parser = values::name)]
    pub(crate) new_name: Option<String>,
    /// The same machine, with its identity, randomness and addresses
    #[arg(long, conflicts_with = "at")]
    pub(crate) exact: bool,
    /// Go on not from now but from after so many seconds of the machine's time, as in 83.5
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) at: Option<Ticks>,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}
