//! `stackvm record`.

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
pub(crate) struct Record {
    /// Image to start, or name of a running machine
    #[arg(value_name = "IMAGE|MACHINE")]
    pub(crate) subject: Option<String>,
    /// File to write
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
