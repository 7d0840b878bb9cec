//! The `.vmcast` file: a whole timeline in one ZIP64 file, as `docs/vmcast-format.md` specifies it.
//!
//! Reading needs no I/O of its own ([`stackvm_store::ReadAt`]) and believes nothing; writing goes
//! aside and is read back before the file gets its name. The same timeline makes the same bytes:
//! there are no wall times in it but those of header, branches and notes.

mod manifest;
mod read;
#[cfg(unix)]
mod select;
#[cfg(unix)]
mod write;
#[cfg_attr(not(unix), expect(dead_code, reason = "files are written on Unix only"))]
mod zip;

#[cfg(all(test, unix))]
mod tests;

use thiserror::Error;

use crate::timeline::OpenError;

pub use read::entries;
#[cfg(unix)]
pub(crate) use read::identity;
pub(crate) use read::read;
#[cfg(unix)]
pub use write::write;

/// Which keyframes go into a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keyframes {
    /// All there are.
    All,
    /// Only the first ones, without which nothing can be played.
    First,
}

/// Why a file cannot be written; what was there before is untouched.
#[derive(Debug, Error)]
pub enum WriteError {
    /// The timeline cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The host's trouble.
    #[error("cannot write {place}")]
    Io {
        /// The file.
        place: String,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// A file that the machine started from is not what it was.
    #[error("{0} has changed since the recording began; the recording needs it as it was")]
    Changed(String),
    /// Cancelled by the progress callback.
    #[error("cancelled")]
    Cancelled,
}

/// Says how far a write is, in bytes of about so many; false cancels it.
pub type Progress<'a> = dyn FnMut(u64, u64) -> bool + 'a;
