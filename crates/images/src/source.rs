//! Disk content from a file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use stackvm_machine::devices::disk::BlockSource;

/// Bytes in a disk sector.
const SECTOR_BYTES: u64 = 512;

/// A file as a disk: read only, its size rounded up to whole sectors with zeroes. The file must
/// not change while it is used.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    path: PathBuf,
    file_bytes: u64,
}

impl FileSource {
    /// Opens a raw disk image (or a block device).
    ///
    /// # Errors
    /// The system's, with the path; a directory or an empty file is refused.
    pub fn open(path: &Path) -> io::Result<FileSource> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("disk {}: {error}", path.display()))
        };
        let file = File::open(path).map_err(named)?;
        let metadata = file.metadata().map_err(named)?;
        if metadata.is_dir() {
            return Err(named(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        // A block device's metadata has no size; its end does.
        let file_bytes = rustix::fs::seek(&file, rustix::fs::SeekFrom::End(0))
            .map_err(|error| named(error.into()))?;
        if file_bytes == 0 {
            return Err(named(io::Error::new(io::ErrorKind::InvalidInput, "it is empty")));
        }
        Ok(FileSource { file, path: path.to_owned(), file_bytes })
    }
}

impl BlockSource for FileSource {
    fn size_bytes(&self) -> u64 {
        self.file_bytes.next_multiple_of(SECTOR_BYTES)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let inside = self.file_bytes.saturating_sub(offset).min(buf.len() as u64) as usize;
        let (content, padding) = buf.split_at_mut(inside);
        padding.fill(0);
        self.file.read_exact_at(content, offset).map_err(|error| {
            io::Error::new(error.kind(), format!("disk {}: {error}", self.path.display()))
        })
    }
}

/// A disk full of zeroes.
#[derive(Debug)]
pub struct BlankSource {
    /// Its size in bytes; a multiple of 512.
    pub size_bytes: u64,
}

impl BlockSource for BlankSource {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, _offset: u64, buf: &mut [u8]) -> io::Result<()> {
        buf.fill(0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_sector_is_padded() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("disk");
        std::fs::write(&path, [7; 700]).expect("writable");
        let source = FileSource::open(&path).expect("there");
        assert_eq!(source.size_bytes(), 1024);
        let mut sector = [1; 512];
        source.read_at(512, &mut sector).expect("readable");
        assert_eq!(sector[..188], [7; 188]);
        assert_eq!(sector[188..], [0; 324]);
    }

    #[test]
    fn what_is_no_disk_is_refused_by_name() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let check = |path: &Path| {
            let error = FileSource::open(path).expect_err("no disk").to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        };
        let empty = directory.path().join("empty");
        std::fs::write(&empty, []).expect("writable");
        check(&empty);
        check(directory.path());
        check(&directory.path().join("missing"));
    }
}
