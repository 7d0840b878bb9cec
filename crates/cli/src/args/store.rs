//! `stackvm store …`.

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum Store {
    /// What the store holds and how much room it takes
    Stats,
}
