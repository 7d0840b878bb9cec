//! `stackvm share`, `open` and `rename`; `events` and `report`.

use clap::{Args, ValueEnum};
use stackvm_machine::instant::Ticks;

use crate::format::FormatArgs;
use crate::values;

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm share notes                        a link for watching
  stackvm share notes --role driver          a link for typing, too
  stackvm share notes --expires 2h --label class
  stackvm share notes --moment               a link to this instant, which stays as it is
  stackvm share notes --try 20               each of 20 visitors gets a machine of their own
  stackvm share notes --list                 the links there are
  stackvm share notes --revoke ID            this link opens nothing any more")]
pub(crate) struct Share {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    /// What whoever has the link may do
    #[arg(long, value_enum, default_value_t = ShareRole::Viewer)]
    pub(crate) role: ShareRole,
    /// The link ends after so long, such as 30m, 8h or 7d [default: when it is revoked]
    #[arg(long, value_name = "TIME", value_parser = values::wall_span_s)]
    pub(crate) expires: Option<u64>,
    /// What you call it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) label: String,
    /// Ask whoever opens it for the password in the first line of standard input
    #[arg(long)]
    pub(crate) password: bool,
    /// Show what was on the machine's terminals before now as well
    #[arg(long)]
    pub(crate) past: bool,
    /// Link to the machine as it is now, kept as a machine that stays so; who has the role driver
    /// goes on from it in a machine of their own
    #[arg(long, conflicts_with = "past")]
    pub(crate) moment: bool,
    /// The same, but each visitor gets a machine of their own at once, which goes away when they do;
    /// at most so many at a time
    #[arg(long = "try", value_name = "VISITORS", conflicts_with_all = ["past", "role"],
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) visitors: Option<u32>,
    /// With --try: how long each visitor has theirs
    #[arg(long, value_name = "MINUTES", default_value_t = 30, requires = "visitors",
          value_parser = clap::value_parser!(u32).range(1..=1440))]
    pub(crate) minutes: u32,
    /// With --try: how much of a core each visitor's machine may use, in hundredths
    #[arg(long, value_name = "PERCENT", default_value_t = 50, requires = "visitors",
          value_parser = clap::value_parser!(u8).range(5..=100))]
    pub(crate) cpu: u8,
    /// With --try: how much memory of this computer each visitor's machine may take for itself, such
    /// as 64M [default: as much as it has]
    #[arg(long, value_name = "SIZE", requires = "visitors", value_parser = values::memory)]
    pub(crate) mem: Option<u64>,
    /// With --moment or --try: not now but after so many seconds of the machine's time, as in 83.5
    #[arg(long, value_name = "SECONDS", value_parser = values::seconds)]
    pub(crate) at: Option<Ticks>,
    /// List the machine's links
    #[arg(long, conflicts_with_all = NOT_MADE)]
    pub(crate) list: bool,
    /// Revoke a link; whoever came through it is out at once
    #[arg(long, value_name = "ID", conflicts_with = "list", conflicts_with_all = NOT_MADE)]
    pub(crate) revoke: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

/// What only a link that is made has.
const NOT_MADE: [&str; 7] = ["expires", "label", "password", "past", "moment", "visitors", "at"];

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm events notes             the lines that people entered, and names they gave instants
  stackvm events notes -n 5 --json
  stackvm share notes --moment --at 83.5    a link to an instant of that list")]
pub(crate) struct Events {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    /// So many, the last ones
    #[arg(short = 'n', long, value_name = "COUNT", default_value_t = 20,
          value_parser = clap::value_parser!(u16).range(1..=500))]
    pub(crate) last: u16,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm report notes             prints text for a forum, with a link to this moment
  stackvm report notes --role driver     whoever reads it may go on from there")]
pub(crate) struct Report {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    /// What whoever has the link may do: viewer looks, driver goes on from there
    #[arg(long, value_enum, default_value_t = ShareRole::Viewer)]
    pub(crate) role: ShareRole,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShareRole {
    /// Looks
    Viewer,
    /// Looks, and writes beside it
    Commenter,
    /// Types
    Driver,
}

#[derive(Args)]
pub(crate) struct Open {
    /// Machine to show [default: all of them]
    #[arg(value_name = "MACHINE")]
    pub(crate) name: Option<String>,
    /// Print the link without opening a browser
    #[arg(long)]
    pub(crate) no_open: bool,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}

#[derive(Args)]
pub(crate) struct Rename {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
    /// What to call it from now on
    #[arg(value_name = "NEW", value_parser = values::name)]
    pub(crate) new: String,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
}
