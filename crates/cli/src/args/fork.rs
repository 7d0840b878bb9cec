//! `stackvm fork`.

use clap::Args;

#[derive(Args)]
pub(crate) struct Fork {
    /// Name of the machine
    #[arg(value_name = "MACHINE")]
    pub(crate) name: String,
}
