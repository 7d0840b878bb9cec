//! The journal's files: writing at places, syncing, replacing. All writing goes through here, so
//! that tests can let any operation fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::JournalError;

/// A file that is written at places. Clones are the same file.
#[derive(Clone, Debug)]
pub(super) struct DiskFile {
    file: Arc<File>,
    path: Arc<Path>,
}

impl DiskFile {
    /// Makes an empty file, in place of another one.
    pub(super) fn create(path: &Path) -> Result<DiskFile, JournalError> {
        DiskFile::with(path, OpenOptions::new().read(true).write(true).create(true).truncate(true))
    }

    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<DiskFile, JournalError> {
        DiskFile::with(path, OpenOptions::new().read(true).write(true))
    }

    fn with(path: &Path, options: &OpenOptions) -> Result<DiskFile, JournalError> {
        let opened = faults::step(path).and_then(|()| options.open(path));
        let file = Arc::new(opened.map_err(failed(path))?);
        Ok(DiskFile { file, path: path.into() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Writes all of `bytes`. If that fails, any part of them may be there.
    pub(super) fn write_at(&self, bytes: &[u8], offset: u64) -> Result<(), JournalError> {
        let written = faults::write(&self.path, &self.file, bytes, offset)
            .and_then(|()| self.file.write_all_at(bytes, offset));
        written.map_err(failed(&self.path))
    }

    /// Cuts it.
    pub(super) fn set_len(&self, bytes: u64) -> Result<(), JournalError> {
        let cut = faults::step(&self.path).and_then(|()| self.file.set_len(bytes));
        cut.map_err(failed(&self.path))
    }

    /// Gives the space of its first bytes back, as far as the file system can; what is behind stays
    /// where it is.
    pub(super) fn punch(&self, bytes: u64) {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
            // Without it the file is larger, and as good.
            let _ = fallocate(&*self.file, how, 0, bytes);
        }
        #[cfg(not(target_os = "linux"))]
        let _ = bytes;
    }

    /// Makes what was written safe against a power loss.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        let synced = faults::step(&self.path).and_then(|()| self.file.sync_data());
        synced.map_err(failed(&self.path))?;
        faults::synced(&self.path);
        Ok(())
    }
}

/// Makes an error of the host's.
pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> JournalError + '_ {
    move |error| JournalError::Write { path: path.to_owned(), error }
}

/// Replaces a small file in one step that survives a power loss.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<(), JournalError> {
    let aside = aside(path);
    let file = DiskFile::create(&aside)?;
    file.write_at(bytes, 0)?;
    file.sync()?;
    rename(&aside, path)
}

/// Where a file is written before it gets its name.
pub(super) fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().expect("a file has a name").to_owned();
    name.push(".new");
    path.with_file_name(name)
}

/// Renames and makes that safe against a power loss.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), JournalError> {
    faults::step(to).and_then(|()| fs::rename(from, to)).map_err(failed(to))?;
    sync_directory(to.parent().expect("a file is in a directory"))
}

/// Makes the names in a directory safe against a power loss.
pub(super) fn sync_directory(path: &Path) -> Result<(), JournalError> {
    // The parent of a relative name is the empty path.
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let synced = faults::step(path).and_then(|()| File::open(path)).and_then(|dir| dir.sync_all());
    synced.map_err(failed(path))
}

/// Removes a file; that it is gone already is no error.
pub(super) fn remove(path: &Path) -> Result<(), JournalError> {
    match faults::step(path).and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

/// Takes a finished file into the journal: as another name for it, or as a copy where that is not
/// possible.
pub(super) fn link_or_copy(from: &Path, to: &Path) -> Result<Placed, JournalError> {
    remove(to)?;
    if faults::step(to).and_then(|()| fs::hard_link(from, to)).is_ok() {
        return Ok(Placed::Linked);
    }
    let copied = faults::step(to).and_then(|()| {
        let mut source = File::open(from)?;
        let mut target = File::create(to)?;
        io::copy(&mut source, &mut target)?;
        target.flush()?;
        target.sync_all()
    });
    copied.map(|()| Placed::Copied).map_err(failed(to))
}

/// How a file came where it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Placed {
    /// It is the same file.
    Linked,
    /// It is another one.
    Copied,
}

#[cfg(not(test))]
mod faults {
    //! Nothing fails but what the host lets fail.

    use std::fs::File;
    use std::io;
    use std::path::Path;

    pub(super) fn step(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn write(_: &Path, _: &File, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn synced(_path: &Path) {}
}

#[cfg(test)]
pub(super) mod faults;
