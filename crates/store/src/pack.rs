//! Packs: append-only files of chunks with an index at their end. This module owns the format;
//! where packs lie and which of them are needed is not known here.
//!
//! # Format
//!
//! A pack is a header, extents one after another without gaps, an index and a trailer. Numbers of
//! fixed size are little-endian. A *varint* is a number below 2^56 in bytes of seven bits each,
//! lowest first, the top bit of a byte saying that another one follows.
//!
//! | part | bytes |
//! |---|---|
//! | header | `STACKVM PACK` (12 bytes), version (`u32`, 1) |
//! | extents | see below |
//! | table | the extents' sizes, compressed |
//! | digests | 32 bytes for each chunk |
//! | trailer | 80 bytes |
//!
//! **Chunks** are at most 16 KiB, named by the BLAKE3 hash of their bytes, and of two *classes*:
//! pages (class 0: any bytes, as they are) and nodes of a hash tree (class 1: the digests of 512
//! children, 16,384 bytes, stored as records). Within its class a chunk has a *number*, counted from
//! 0 in the order in which the chunks are stored. A chunk's *reference* is twice its number plus
//! its class. No chunk is in a pack twice. A pack need not contain what its nodes name.
//!
//! **Extents** are up to 64 chunks of one class, joined and compressed together as one zstd frame,
//! or stored as they are where that is smaller. Before compression an extent has at most 262,144
//! bytes.
//!
//! **Node records** begin with a varint, the *depth*. 0: the node is stored in full. Otherwise it is
//! a difference from another node, its *base*, and depth says how many bases follow one another
//! up to a node in full, at most 8 as written here; readers follow up to 64. The base comes next:
//! a varint, 0 and then 32 bytes of digest, or the base's reference plus one. Then come runs until
//! there are 512 children. A run is a varint, four times the number of children (at least 1) plus
//! the kind:
//!
//! | kind | followed by | the children are |
//! |---|---|---|
//! | 0 | nothing | elided: 32 zero bytes |
//! | 1 | a varint: a reference | that chunk of this pack and those of the same class after it |
//! | 2 | 32 bytes for each | these digests |
//! | 3 | nothing | those of the base; only where there is one |
//!
//! **Table**, before compression: for each extent in the order of the file the varints
//!
//! 1. chunks (at least 1, at most 64) times 8, plus 4 if every chunk has 4,096 bytes, plus 2 if the
//!    extent is compressed, plus its class;
//! 2. bytes in the file;
//! 3. unless every chunk has 4,096 bytes, the bytes of each chunk or record, before compression.
//!
//! Offsets are not stored: the first extent begins behind the header, and the last one ends where the
//! table begins.
//!
//! **Digests**: those of all pages by number, then those of all nodes by number.
//!
//! **Trailer**: where the table begins (`u64`), bytes of the table in the file (`u32`) and before
//! compression (`u32`; equal if it is not compressed), numbers of extents, pages and nodes (`u32`
//! each), four bytes of zeroes, the BLAKE3 hash of everything from the table up to here, version
//! (`u32`, 1), `STACKVM PACK`.
//!
//! The same calls write the same bytes, with and without [`Worker`].

mod codec;
mod ids;
mod index;
mod node;
mod read;
mod set;
mod varint;
mod worker;
mod write;

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(test)]
mod tests;

use stackvm_machine::digest::Digest;
use thiserror::Error;

use crate::chunks::ReadError;

pub use read::Pack;
pub use set::PackSet;
pub use worker::Worker;
pub use write::PackWriter;

/// Most chunks in an extent.
const EXTENT_CHUNKS_MAX: usize = 64;
/// Most bytes in an extent before compression.
const EXTENT_BYTES_MAX: usize = 256 << 10;
/// Most nodes that are read to read one, whatever the packs say.
const NODE_STEPS_MAX: u32 = 64;

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

/// What an extent holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Class {
    Page,
    Node,
}

/// The first bytes of a digest as a number.
fn prefix(id: &Digest) -> u64 {
    let (first, _) = id.as_bytes().split_first_chunk().expect("32 bytes");
    u64::from_be_bytes(*first)
}
