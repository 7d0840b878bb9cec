//! `stackvm play` and `stackvm log`.

use std::path::PathBuf;

use clap::Args;
use stackvm_machine::instant::Ticks;
use stackvm_timeline::When;

use crate::values;

#[derive(Args)]
#[command(after_help = "\
WHEN is 83.5 or 1:23.5 (seconds from the beginning), 50%, #mark, 123456.0625ns (the machine's own
time), or @N (right after the N-th input).

Keys: space pauses, arrows seek, b breaks in, ? shows all of them.

Examples:
  stackvm play demo.vmcast
  stackvm play demo.vmcast --at '#before-the-bug' --speed 2
  stackvm play demo.vmcast --branch what-if
  stackvm play demo.vmcast --at 50% --break-in -- cat /etc/hostname

The last one asks the past: in a branch that is thrown away, a command runs in the machine as it was
half way through.")]
pub(crate) struct Play {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Where to start
    #[arg(long, value_name = "WHEN", value_parser = values::when)]
    pub(crate) at: Option<When>,
    /// Which branch to play
    #[arg(long, value_name = "NAME", default_value = "main")]
    pub(crate) branch: String,
    /// How fast, from 0.1 to 100
    #[arg(short = 's', long, value_name = "N", default_value = "1", value_parser = values::speed)]
    pub(crate) speed: f64,
    /// Pass over quiet times after this many seconds
    #[arg(short = 'i', long, value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) idle_time_limit: Option<Ticks>,
    /// Break in at --at, run the command, print what it prints, and throw the branch away
    #[arg(long, requires = "command")]
    pub(crate) break_in: bool,
    /// With --break-in: how long the machine may take, in its own time, until its guest listens
    #[arg(long, value_name = "TIME", value_parser = values::span, default_value = "30s",
          requires = "break_in")]
    pub(crate) wait: Ticks,
    /// Breaking in gives the machine a new identity: randomness, addresses, host keys
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Write new branches into this new file, with the rest
    #[arg(long, value_name = "NEW", conflicts_with = "discard")]
    pub(crate) save_as: Option<PathBuf>,
    /// Throw new branches away at the end
    #[arg(long)]
    pub(crate) discard: bool,
    /// The command
    #[arg(last = true, value_name = "COMMAND", requires = "break_in")]
    pub(crate) command: Vec<String>,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm log demo.vmcast                       who did what, when, for how long
  stackvm log demo.vmcast --json | jq '.branches[].name'
  stackvm log demo.vmcast --rename branch-1 what-if
  stackvm log demo.vmcast --delete what-if      with the branches that leave it
  stackvm log web                               what goes on from the machine web, and what it goes
                                                on from: machines, moments, recordings")]
pub(crate) struct Log {
    /// The recording, or else the name of a machine
    #[arg(value_name = "FILE|MACHINE")]
    pub(crate) file: PathBuf,
    /// As JSON
    #[arg(long, conflicts_with_all = ["rename", "delete"])]
    pub(crate) json: bool,
    /// Give a branch another name
    #[arg(long, value_names = ["OLD", "NEW"], num_args = 2, conflicts_with = "delete")]
    pub(crate) rename: Vec<String>,
    /// Delete a branch and those that leave it
    #[arg(long, value_name = "NAME")]
    pub(crate) delete: Option<String>,
}
