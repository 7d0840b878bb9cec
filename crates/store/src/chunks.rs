//! Reading chunks, wherever they are: the traits, and places that need no I/O. Files are in
//! [`file`].

use std::fmt;
use std::io;
use std::sync::Arc;

use stackvm_machine::digest::Digest;
use thiserror::Error;

#[cfg(unix)]
pub mod file;

#[cfg(unix)]
pub use file::{FileAt, data_after};

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

    /// Through how many other nodes a node is stored as a difference: 0 in full. Who does not know
    /// says [`u32::MAX`], and then nothing more is stored as a difference from it.
    fn difference_depth(&self, _id: &Digest) -> u32 {
        u32::MAX
    }
}

impl<C: Chunks + ?Sized> Chunks for Arc<C> {
    fn get(&self, id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        (**self).get(id)
    }

    fn contains(&self, id: &Digest) -> bool {
        (**self).contains(id)
    }

    fn difference_depth(&self, id: &Digest) -> u32 {
        (**self).difference_depth(id)
    }
}

/// No chunks at all: what is known where everything has to be written.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoChunks;

impl Chunks for NoChunks {
    fn get(&self, _id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        Ok(None)
    }

    fn contains(&self, _id: &Digest) -> bool {
        false
    }
}

impl ReadAt for Vec<u8> {
    fn size_bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).ok();
        let range = start.and_then(|start| Some(start..start.checked_add(buf.len())?));
        let bytes = range.and_then(|range| self.get(range)).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

/// A part of something that can be read.
#[derive(Clone, Debug)]
pub struct Slice {
    source: Arc<dyn ReadAt>,
    start: u64,
    size_bytes: u64,
}

impl Slice {
    /// `size_bytes` from `start`; `None` if `source` is shorter.
    pub fn new(source: Arc<dyn ReadAt>, start: u64, size_bytes: u64) -> Option<Slice> {
        let end = start.checked_add(size_bytes)?;
        (end <= source.size_bytes()).then_some(Slice { source, start, size_bytes })
    }
}

impl ReadAt for Slice {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size_bytes) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.source.read_at(self.start + offset, buf)
    }
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
