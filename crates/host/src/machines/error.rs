//! Why something could not be done with a machine.

use std::io;
use std::path::{Path, PathBuf};

use stackvm_timeline::timeline::OpenError;
use stackvm_timeline::vmcast::WriteError;
use thiserror::Error;

use super::{MACHINES_MAX, NAME_BYTES_MAX};
use crate::client::ClientError;

/// Why something could not be done with a machine.
#[derive(Debug, Error)]
pub enum MachinesError {
    /// No such machine.
    #[error("there is no machine {name:?}{}", suggestion.as_ref().map_or(String::new(),
        |near| format!("; did you mean {near:?}?")))]
    Unknown {
        /// What was asked for.
        name: String,
        /// A machine with a similar name.
        suggestion: Option<String>,
    },
    /// The name is not one.
    #[error(
        "{0:?} cannot be a machine's name; use at most {NAME_BYTES_MAX} of a-z, 0-9, - and _, \
         beginning with a letter or digit"
    )]
    BadName(String),
    /// There is one with this name.
    #[error("there is a machine {0:?} already; start it, remove it, or choose another name")]
    Exists(String),
    /// It must not be running for this.
    #[error("machine {0:?} is running; stop it first")]
    Running(String),
    /// It must be running for this.
    #[error("machine {0:?} is not running; start it first")]
    NotRunning(String),
    /// Too many of them.
    #[error("there are {MACHINES_MAX} machines already; remove some")]
    TooMany,
    /// Its `machine.json` is not one.
    #[error("{} is damaged: {problem}; remove the machine", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The lab said why the machine does not start.
    #[error("{0}")]
    Start(String),
    /// The lab process ended without saying why.
    #[error("the machine's process ended while starting ({status}){log}")]
    Died {
        /// How it ended.
        status: String,
        /// The end of its log, if it has one.
        log: String,
    },
    /// Its journal cannot be read.
    #[error(transparent)]
    Journal(#[from] OpenError),
    /// A file is no recording, or of another version, or damaged.
    #[error("{0}")]
    Import(String),
    /// Its recording cannot be written to a file.
    #[error("the recording cannot be written to a file")]
    Export(#[from] WriteError),
    /// What its terminal showed is too much for one file.
    #[error(
        "what {id:?} showed takes more than {max} bytes as an asciicast; download the recording, \
         and make it of that with `stackvm cast export`"
    )]
    LongFilm {
        /// The machine.
        id: String,
        /// The limit, in bytes.
        max: u64,
    },
    /// It has not been there at that instant.
    #[error("machine {id:?} has not been at {at}: its journal is from {begin} to {end}")]
    Never {
        /// The machine.
        id: String,
        /// When.
        at: stackvm_machine::Instant,
        /// When its journal begins.
        begin: stackvm_machine::Instant,
        /// How far it has come.
        end: stackvm_machine::Instant,
    },
    /// Whoever wanted it does not any more.
    #[error("machine {0:?} is not wanted any more")]
    Unwanted(String),
    /// It never runs.
    #[error("{0:?} is a moment, which stays as it was; go on from it in a machine of its own")]
    Frozen(String),
    /// It is not kept, so nothing is known of its past.
    #[error("machine {0:?} is not kept, so it has no past; only those with a name have")]
    NoPast(String),
    /// A file or folder cannot be used.
    #[error("could not {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The lab does not answer as it should.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl MachinesError {
    /// Whether it may be over a moment later: a journal that is folded while somebody opens it looks
    /// damaged to them, and is whole again, and shorter, afterwards.
    pub fn is_of_a_moment(&self) -> bool {
        matches!(self, MachinesError::Journal(OpenError::Damaged { .. } | OpenError::Io { .. }))
    }
}

pub(crate) fn io_error<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> MachinesError + 'a {
    move |error| MachinesError::Io { what, path: path.to_owned(), error }
}
