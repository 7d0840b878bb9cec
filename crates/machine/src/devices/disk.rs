//! Disk content: an immutable source below a copy-on-write overlay.

use std::fmt;
use std::io;

/// Immutable content of a disk. The same offset always reads the same bytes; a source that cannot
/// deliver right now returns the error, and the machine waits (the guest never sees it).
pub trait BlockSource: fmt::Debug + Send + Sync {
    /// Size in bytes; a multiple of 512.
    fn size_bytes(&self) -> u64;

    /// Fills `buf` from `offset`; the range is always inside [`BlockSource::size_bytes`].
    ///
    /// # Errors
    /// Whatever the host's storage says.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}
