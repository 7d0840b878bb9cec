//! `stackvm cast …`.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Cast {
    /// What is in a recording
    Info {
        /// The recording
        file: PathBuf,
    },
}
