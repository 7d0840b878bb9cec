//! Reading chunks, wherever they are.

use std::fmt;
use std::io;
use std::sync::Arc;

use stackvm_machine::digest::Digest;
use thiserror::Error;

/// Bytes that can be read at any place: a file, a part of one, memory.
pub trait ReadAt: fmt::Debug + Send + Sync {
    /// Size in bytes.
    fn size_bytes(&self) -> u64;

    /// Fills `buf` from `offset`.
    ///
    /// # Errors
    /// The host's; `UnexpectedEof` behind the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

/// Chunks by name.
pub trait Chunks: fmt::Debug + Send + Sync {
    /// The bytes of a chunk, verified against its name; `None` if it is not here.
    ///
    /// # Errors
    /// See [`ReadError`].
    fn get(&self, id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError>;

    /// Whether a chunk is here, without reading it.
    fn contains(&self, id: &Digest) -> bool;
}

/// Why a chunk, or what is made of chunks, cannot be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// A chunk is not there.
    #[error("chunk {id} is missing from {place}")]
    Missing {
        /// Its name.
        id: Digest,
        /// Where it was looked for.
        place: String,
    },
    /// What is there is not what its name says.
    #[error("{what} in {place} is damaged: {problem}")]
    Damaged {
        /// Which chunk, extent or index.
        what: String,
        /// Where it is.
        place: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A tree or blob is larger than its reader allows.
    #[error("{bytes} bytes where at most {max} are possible")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The host cannot read.
    #[error("cannot read {place}")]
    Io {
        /// What was read.
        place: String,
        /// Why not.
        #[source]
        error: io::Error,
    },
}
