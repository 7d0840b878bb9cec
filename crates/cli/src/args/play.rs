//! `stackvm play` and `stackvm log`.

use std::path::PathBuf;

use clap::Args;

#[derive(Args)]
pub(crate) struct Play {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Args)]
pub(crate) struct Log {
    /// The recording
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
