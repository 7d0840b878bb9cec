//! What a store of chunks is, wherever it keeps them: chunks, and *roots*, the names of the trees
//! that must not be lost. How they are written is the back end's business.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use thiserror::Error;

use crate::chunks::{Chunks, ReadError};
use crate::pack::PackError;
use crate::tree::Tree;

/// Most bytes in a root's name.
pub const NAME_BYTES_MAX: usize = 64;
/// Largest disk or RAM that a store takes.
pub const CONTENT_BYTES_MAX: u64 = 1 << 44;

/// Chunks with roots.
pub trait Store: Chunks {
    /// All roots by name.
    ///
    /// # Errors
    /// See [`StoreError`]. A store that cannot list says so; it is never empty instead.
    fn roots(&self) -> Result<Vec<Root>, StoreError>;

    /// The root of this name.
    ///
    /// # Errors
    /// [`StoreError::NoRoot`] if there is none.
    fn root(&self, name: &RootName) -> Result<Root, StoreError>;
}

/// A named tree: everything below it stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Root {
    /// Its name.
    pub name: RootName,
    /// What it is the content of.
    pub kind: RootKind,
    /// Its pages.
    pub tree: Tree,
    /// Bytes of the content: the last page may be cut.
    pub size_bytes: u64,
    /// What it was checked in or cloned from.
    pub parent: Option<RootName>,
    /// When, in seconds since 1970.
    pub created_unix_s: u64,
}

/// What a root is the content of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RootKind {
    /// A disk.
    Disk,
    /// A machine's RAM.
    Ram,
}

impl RootKind {
    /// One word for it.
    pub fn label(self) -> &'static str {
        match self {
            RootKind::Disk => "disk",
            RootKind::Ram => "ram",
        }
    }
}

/// A root's name: letters, digits and `._@:-`, at most [`NAME_BYTES_MAX`] bytes, a letter or digit
/// first.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct RootName(String);

impl RootName {
    /// It as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RootName {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<RootName, StoreError> {
        let inside = |c: char| c.is_ascii_alphanumeric() || "._@:-".contains(c);
        let fine = text.len() <= NAME_BYTES_MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(inside);
        if fine { Ok(RootName(text.to_owned())) } else { Err(StoreError::Name(text.to_owned())) }
    }
}

impl fmt::Display for RootName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a store cannot do what it was asked to.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No name for a root.
    #[error(
        "`{0}` is no name: letters, digits and ._@:- are possible, at most {NAME_BYTES_MAX}, \
         a letter or digit first"
    )]
    Name(String),
    /// There is no such root.
    #[error("there is no `{0}` in the store")]
    NoRoot(RootName),
    /// The name is taken.
    #[error("there is a `{0}` in the store already")]
    Taken(RootName),
    /// Two roots cannot be compared.
    #[error("`{a}` has {a_bytes} bytes and `{b}` {b_bytes}: only equal sizes can be compared")]
    Sizes {
        /// One of them.
        a: RootName,
        /// Its size.
        a_bytes: u64,
        /// The other.
        b: RootName,
        /// Its size.
        b_bytes: u64,
    },
    /// More than a store takes.
    #[error("{bytes} bytes are too many: a store takes {CONTENT_BYTES_MAX}")]
    TooLarge {
        /// How many.
        bytes: u64,
    },
    /// Chunks are missing or damaged.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A pack cannot be written.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The host's trouble with a file.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The index of packs and roots cannot be used.
    #[error("the store's index {} cannot be used: {problem}", path.display())]
    Index {
        /// Where it is.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Some roots cannot be read whole, so that it is not known what is needed.
    #[error("nothing was removed, because `{root}` cannot be read whole")]
    Unreadable {
        /// Which root.
        root: String,
        /// What is wrong with it.
        #[source]
        error: ReadError,
    },
    /// It was called off.
    #[error("it was called off")]
    Cancelled,
}
