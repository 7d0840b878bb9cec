//! `stackvm moments`.

use clap::{ArgGroup, Args};
use stackvm_machine::instant::Ticks;

use super::SandboxArgs;
use crate::format::FormatArgs;
use crate::values;

#[derive(Args)]
#[command(
    group(ArgGroup::new("kept").args(["keep", "record"])),
    after_help = "\
A moment is a machine as it was at an instant, a recording what it did from one instant until another.
Both stay as they are, whatever becomes of the machine; `stackvm rm` removes them.

Examples:
  stackvm moments notes                      what is kept of notes, with its instants in seconds
  stackvm moments notes --keep               keep it as it is now; prints the moment's name
  stackvm moments notes --keep --at 83.5     keep it as it was then
  stackvm moments notes --record 10..83.5 --as lesson
  stackvm fork lesson --at 60                go on from it")]
pub(crate) struct Moments {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    /// Keep the machine as it is now
    #[arg(long)]
    pub(crate) keep: bool,
    /// With --keep: not now but after so many seconds of the machine's time, as in 83.5
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds, requires = "keep",
          conflicts_with = "record")]
    pub(crate) at: Option<Ticks>,
    /// Keep a part of its past, between two instants in seconds of the machine's time, as in 10..83.5
    #[arg(long, value_name = "FROM..UNTIL", value_parser = values::part)]
    pub(crate) record: Option<(Ticks, Ticks)>,
    /// What to call what is kept [default: something is proposed]
    #[arg(long = "as", value_name = "NAME", value_parser = values::name, requires = "kept")]
    pub(crate) new_name: Option<String>,
    #[command(flatten)]
    pub(crate) sandbox: SandboxArgs,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}
