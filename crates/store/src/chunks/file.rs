//! Files of the host to read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

use super::ReadAt;
use crate::PAGE_BYTES;

/// A file as it is now: what is appended later is not seen.
#[derive(Debug)]
pub struct FileAt {
    file: File,
    size_bytes: u64,
}

impl FileAt {
    /// Opens a file.
    ///
    /// # Errors
    /// The host's.
    pub fn open(path: &Path) -> io::Result<FileAt> {
        FileAt::new(File::open(path)?)
    }

    /// A file that is open already.
    ///
    /// # Errors
    /// The host's, when asked for the size.
    pub fn new(file: File) -> io::Result<FileAt> {
        let size_bytes = file.metadata()?.len();
        Ok(FileAt { file, size_bytes })
    }
}

impl ReadAt for FileAt {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

/// The next part of a file from `at` on, in whole pages, that is not a hole: where it begins and
/// ends.
///
/// # Errors
/// The host's.
pub fn data_after(file: &File, at: u64, size_bytes: u64) -> io::Result<Option<(u64, u64)>> {
    if at >= size_bytes {
        return Ok(None);
    }
    let start = match seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        // Nothing but a hole is left.
        Err(Errno::NXIO) => return Ok(None),
        // What cannot tell has no holes.
        Err(Errno::INVAL | Errno::SPIPE) => return Ok(Some((at, size_bytes))),
        Err(error) => return Err(error.into()),
    };
    let end = seek(file, SeekFrom::Hole(start))?;
    let page = PAGE_BYTES as u64;
    let start = (start / page * page).max(at);
    let end = end.next_multiple_of(page).min(size_bytes);
    Ok((start < end).then_some((start, end)))
}
