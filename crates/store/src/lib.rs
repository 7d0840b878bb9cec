//! Content-addressed chunks: what keyframes, disks and revisions are made of.
//!
//! A chunk is at most [`CHUNK_BYTES_MAX`] bytes, named by their BLAKE3 hash. Pages of RAM and blocks
//! of disks are chunks of 4 KiB; nodes of the hash tree above them (`stackvm_machine::digest`) are
//! chunks of 16 KiB. Zeroes are elided: the digest [`Digest::ZERO`] stands for a page of zeroes or a
//! node over nothing else, and is never stored.
//!
//! [`chunks`] is how chunks are read, wherever they are; [`pack`] is the file format they are kept
//! in; [`tree`] writes, reads and compares whole trees; [`backend`] is what a store is, and `local`
//! the one on this computer's disk. Everything read is verified. What a tree means (a keyframe, an
//! image) is not known here.
//!
//! I/O is done in `local` and `chunks::file`; threads are started there and for a pack's compression.
//! Nothing else does either.

pub mod backend;
pub mod chunks;
#[cfg(unix)]
pub mod local;
pub mod pack;
mod pool;
pub mod tree;

pub use backend::{Root, RootKind, RootName, Store, StoreError};
pub use chunks::{Chunks, NoChunks, ReadAt, ReadError, Slice};
#[cfg(unix)]
pub use local::LocalStore;
pub use pack::{Pack, PackError, PackSet, PackWriter, Worker};
pub use stackvm_machine::digest::Digest;
pub use tree::{Blob, Tree};

/// Bytes in a page or block, the leaves of trees.
pub const PAGE_BYTES: usize = stackvm_machine::memory::PAGE_BYTES;
/// Most bytes in a chunk.
pub const CHUNK_BYTES_MAX: usize = 16 << 10;
