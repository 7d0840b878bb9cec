//! `stackvm store …`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use stackvm_machine::instant::Ticks;
use stackvm_store::RootName;

use crate::values;

#[derive(Subcommand)]
pub(crate) enum Store {
    /// Store a disk image or a memory dump; what is there already takes no room again
    Put(StorePut),
    /// Write stored content into a new file
    Get {
        /// Name of the content
        name: RootName,
        /// File to write; zeroes become holes
        file: PathBuf,
    },
    /// List what is stored
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove names; `gc` then removes what nothing needs any more
    Rm {
        /// Names of the content
        #[arg(value_name = "NAME", required = true)]
        names: Vec<RootName>,
    },
    /// Give content a second name; nothing is copied
    Clone {
        /// Name of the content
        name: RootName,
        /// Its second name
        new: RootName,
    },
    /// Where two contents of the same size differ
    Diff {
        /// Name of the one
        a: RootName,
        /// Name of the other
        b: RootName,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove what no name needs
    Gc {
        /// How long it stays in quarantine first
        #[arg(long, value_name = "TIME", default_value = "60m", value_parser = values::span)]
        grace: Ticks,
    },
    /// Read everything again and say what is damaged
    Scrub {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Read all that a name needs and check it
    Verify {
        /// Names of the content
        #[arg(value_name = "NAME", required_unless_present = "all")]
        names: Vec<RootName>,
        /// Everything that has a name
        #[arg(long, conflicts_with = "names")]
        all: bool,
    },
    /// What the store holds and how much room it takes
    Stats {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args)]
pub(crate) struct StorePut {
    /// The file; it must not change meanwhile
    pub(crate) file: PathBuf,
    /// Name of the content [default: the file's]
    #[arg(long)]
    pub(crate) name: Option<RootName>,
    /// Name of content that this is a later version of
    #[arg(long, value_name = "NAME")]
    pub(crate) parent: Option<RootName>,
    /// It is a machine's memory, not a disk
    #[arg(long)]
    pub(crate) ram: bool,
}
