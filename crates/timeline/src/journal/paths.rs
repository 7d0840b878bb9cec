//! Names in a journal's folder, and who may write there.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use stackvm_store::ReadAt;

use super::JournalError;
use super::files::failed;
use crate::branch::BranchId;

/// Bytes of what a journal's owner says about itself.
const OWNER_BYTES_MAX: usize = 200;

pub(super) fn log(folder: &Path, branch: BranchId) -> PathBuf {
    folder.join(format!("branch-{}.log", branch.0))
}

pub(super) fn tail(folder: &Path, branch: BranchId) -> PathBuf {
    folder.join(format!("branch-{}.tail", branch.0))
}

pub(super) fn track(folder: &Path, branch: BranchId) -> PathBuf {
    folder.join(format!("branch-{}.track", branch.0))
}

pub(super) fn keyframes(folder: &Path) -> PathBuf {
    folder.join("keyframes")
}

pub(super) fn notes(folder: &Path) -> PathBuf {
    folder.join("notes")
}

/// The name of the `n`-th pack.
pub(super) fn pack_name(n: u64) -> String {
    format!("{n:06}.pack")
}

/// The number of a pack of this name.
pub(super) fn pack_number(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".pack")?;
    number.parse().ok().filter(|n| pack_name(*n) == name)
}

/// Locks a folder for writing, or says who has it.
pub(super) fn lock(folder: &Path, owner: &str) -> Result<File, JournalError> {
    let path = folder.join("lock");
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
    let mut file = options.open(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let read = (&file).take(OWNER_BYTES_MAX as u64).read_to_string(&mut owner);
            if read.is_err() || owner.is_empty() {
                "another process".clone_into(&mut owner);
            }
            let owner = owner.trim().replace(char::is_control, " ");
            return Err(JournalError::Locked { folder: folder.to_owned(), owner });
        }
        Err(TryLockError::Error(error)) => return Err(failed(&path)(error)),
    }
    let mut told: String = owner.chars().take(OWNER_BYTES_MAX / 4).collect();
    told.push('\n');
    // That a full disk does not let us say who we are is no reason not to go on.
    let _ = file.set_len(0).and_then(|()| file.write_all(told.as_bytes()));
    Ok(file)
}

/// A file that is opened for each read: a timeline may have more branches than a process may have
/// open files.
#[derive(Debug)]
pub(super) struct PathAt {
    path: PathBuf,
    size_bytes: u64,
}

impl PathAt {
    /// The first `size_bytes` of a file.
    pub(super) fn new(path: &Path, size_bytes: u64) -> PathAt {
        PathAt { path: path.to_owned(), size_bytes }
    }

    /// All of a file as it is now.
    pub(super) fn open(path: &Path) -> io::Result<PathAt> {
        Ok(PathAt::new(path, std::fs::metadata(path)?.len()))
    }
}

impl ReadAt for PathAt {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        File::open(&self.path)?.read_exact_at(buf, offset)
    }
}
