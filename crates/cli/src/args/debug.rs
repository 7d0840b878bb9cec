//! `stackvm debug`: for people who work on the program itself.

use clap::{Args, Subcommand};
use stackvm_machine::instant::Ticks;

use super::MachineArgs;
use crate::values;

/// What is looked at.
#[derive(Subcommand)]
pub(crate) enum Debug {
    /// Run a machine from cold and list the compiled code in which its instructions ran
    Jit(Jit),
}

#[derive(Args)]
pub(crate) struct Jit {
    /// Image to start from
    #[arg(value_name = "IMAGE", required_unless_present_any = ["kernel", "firmware"])]
    pub(crate) image: Option<String>,
    #[command(flatten)]
    pub(crate) machine: MachineArgs,
    /// Run to this virtual instant
    #[arg(long, value_name = "TIME", value_parser = values::span, default_value = "1s")]
    pub(crate) until: Ticks,
    /// List so many regions, hottest first
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub(crate) top: usize,
}
