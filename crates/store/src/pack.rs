//! Packs: append-only files of chunks with an index at their end.

use std::io::Write;
use std::sync::Arc;

use stackvm_machine::digest::{Digest, FAN_OUT};
use thiserror::Error;

use crate::chunks::{Chunks, ReadAt, ReadError};

/// Why a pack cannot be written.
#[derive(Debug, Error)]
pub enum PackError {
    /// The host's trouble.
    #[error("cannot write the pack")]
    Io(#[from] std::io::Error),
    /// What belongs into it cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Writes one pack.
#[derive(Debug)]
pub struct PackWriter<W: Write> {
    sink: W,
}

impl<W: Write> PackWriter<W> {
    /// A pack without chunks.
    pub fn new(sink: W) -> PackWriter<W> {
        PackWriter { sink }
    }

    /// Adds a chunk unless the pack has it. `id` is its hash.
    ///
    /// # Errors
    /// The sink's.
    pub fn put(&mut self, _id: &Digest, _bytes: &[u8]) -> Result<(), PackError> {
        unimplemented!()
    }

    /// Adds a node of a tree; when `before` is given, a node that is stored already, only the
    /// children that differ from it are written.
    ///
    /// # Errors
    /// The sink's.
    pub fn put_node(
        &mut self,
        _id: &Digest,
        _children: &[Digest; FAN_OUT],
        _before: Option<(&Digest, &[Digest; FAN_OUT])>,
    ) -> Result<(), PackError> {
        unimplemented!()
    }

    /// Whether the pack has a chunk.
    pub fn contains(&self, _id: &Digest) -> bool {
        unimplemented!()
    }

    /// Bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        unimplemented!()
    }

    /// Writes the index and gives the sink back.
    ///
    /// # Errors
    /// The sink's.
    pub fn finish(self) -> Result<W, PackError> {
        unimplemented!()
    }
}

/// A pack to read from.
#[derive(Debug)]
pub struct Pack {}

impl Pack {
    /// Reads and checks the index. `place` names the pack in errors.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn open(_place: &str, _source: Arc<dyn ReadAt>) -> Result<Pack, ReadError> {
        unimplemented!()
    }
}

/// Packs that are read together. Clones share what is in them.
#[derive(Clone, Debug, Default)]
pub struct PackSet {}

impl PackSet {
    /// None yet.
    pub fn new() -> PackSet {
        PackSet::default()
    }

    /// Adds a pack; chunks of earlier ones come first.
    pub fn add(&self, _pack: Pack) {
        unimplemented!()
    }
}

impl Chunks for PackSet {
    fn get(&self, _id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        unimplemented!()
    }

    fn contains(&self, _id: &Digest) -> bool {
        unimplemented!()
    }
}
