//! Files of the host to read from.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::ReadAt;

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
