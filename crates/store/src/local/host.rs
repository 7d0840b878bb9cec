//! The files of a local store: every operation that may fail goes through here, so that tests can
//! let each one of them be the last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{FlockOperation, flock};

use crate::backend::StoreError;

/// The host, which in tests dies after a number of operations.
#[derive(Clone, Debug, Default)]
pub(super) struct Host {
    left: Option<Arc<AtomicU64>>,
}

impl Host {
    /// A host that does `operations` and then nothing any more.
    #[cfg(test)]
    pub(super) fn dying_after(operations: u64) -> Host {
        Host { left: Some(Arc::new(AtomicU64::new(operations))) }
    }

    /// Whether it has died.
    #[cfg(test)]
    pub(super) fn is_dead(&self) -> bool {
        self.left.as_ref().is_some_and(|left| left.load(Ordering::Relaxed) == 0)
    }

    /// One operation.
    pub(super) fn step(&self) -> io::Result<()> {
        let Some(left) = &self.left else { return Ok(()) };
        let less = |left: u64| left.checked_sub(1);
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less) {
            Ok(2..) => Ok(()),
            _ => Err(io::Error::other("the host is gone")),
        }
    }

    pub(super) fn create_dir(&self, path: &Path) -> Result<(), StoreError> {
        self.act("make the folder", path, || fs::create_dir_all(path))
    }

    pub(super) fn create_new(&self, path: &Path) -> Result<HostFile, StoreError> {
        let file = self.act("create", path, || {
            OpenOptions::new().read(true).write(true).create_new(true).open(path)
        })?;
        Ok(HostFile { file, host: self.clone() })
    }

    /// All names in a folder. That it cannot be listed is an error.
    pub(super) fn list(&self, folder: &Path) -> Result<Vec<String>, StoreError> {
        self.act("list", folder, || {
            let mut names = Vec::new();
            for entry in fs::read_dir(folder)? {
                let name = entry?.file_name();
                names.push(name.to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names)
        })
    }

    /// Moves a file and makes that last.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        self.act("move to", to, || fs::rename(from, to))?;
        let folders = [from, to].map(|path| path.parent().expect("files are in folders"));
        self.sync_dir(folders[1])?;
        if folders[0] == folders[1] { Ok(()) } else { self.sync_dir(folders[0]) }
    }

    /// Removes a file; that there is none is fine.
    pub(super) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.act("remove", path, || match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        })
    }

    fn sync_dir(&self, folder: &Path) -> Result<(), StoreError> {
        self.act("write", folder, || File::open(folder)?.sync_all())
    }

    /// Locks a file that is made for it, waiting for who has it.
    pub(super) fn lock(&self, path: &Path) -> Result<Lock, StoreError> {
        loop {
            let file = self.act("open", path, || open_lock(path))?;
            self.act("lock", path, || Ok(flock(&file, FlockOperation::LockExclusive)?))?;
            if let Some(lock) = Lock::checked(file, path) {
                return Ok(lock);
            }
        }
    }

    /// Locks a file unless somebody else has it.
    pub(super) fn try_lock(&self, path: &Path) -> Result<Option<Lock>, StoreError> {
        let file = self.act("open", path, || open_lock(path))?;
        let held = self.act("lock", path, || {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
                other => Ok(other.map(|()| true)?),
            }
        })?;
        Ok(if held { Lock::checked(file, path) } else { None })
    }

    fn act<T>(
        &self,
        what: &'static str,
        path: &Path,
        work: impl FnOnce() -> io::Result<T>,
    ) -> Result<T, StoreError> {
        let done = self.step().and_then(|()| work());
        done.map_err(|error| StoreError::Io { what, path: path.to_owned(), error })
    }
}

fn open_lock(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).write(true).open(path)
}

/// A lock that is held until it is dropped or its process ends.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    pub(super) path: PathBuf,
}

impl Lock {
    /// The lock, unless its file was removed between opening and locking.
    fn checked(file: File, path: &Path) -> Option<Lock> {
        let (held, named) = (file.metadata().ok()?, fs::metadata(path).ok()?);
        let same = held.ino() == named.ino() && held.dev() == named.dev();
        same.then(|| Lock { _file: file, path: path.to_owned() })
    }
}

/// A file that is written.
#[derive(Debug)]
pub(super) struct HostFile {
    file: File,
    host: Host,
}

impl HostFile {
    pub(super) fn sync(&self, path: &Path) -> Result<(), StoreError> {
        self.host.act("write", path, || self.file.sync_all())
    }
}

impl Write for HostFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.host.step()?;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
