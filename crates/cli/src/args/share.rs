//! `stackvm share`, `open` and `rename`.

use clap::{Args, ValueEnum};

use crate::format::FormatArgs;
use crate::values;

#[derive(Args)]
#[command(after_help = "\
Examples:
  stackvm share notes                        a link for watching
  stackvm share notes --role driver          a link for typing, too
  stackvm share notes --expires 2h --label class
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
    /// List the machine's links
    #[arg(long, conflicts_with_all = ["expires", "label", "password", "past", "revoke"])]
    pub(crate) list: bool,
    /// Revoke a link; whoever came through it is out at once
    #[arg(long, value_name = "ID", conflicts_with_all = ["expires", "label", "password", "past"])]
    pub(crate) revoke: Option<String>,
    #[command(flatten)]
    pub(crate) format: FormatArgs,
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
