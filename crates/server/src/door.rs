//! The door for the owner's own programs: `server.json` in the data directory says where the server
//! is and what opens it, `server.lock` is held while it runs, so that a data directory has one.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

const FILE: &str = "server.json";
const LOCK: &str = "server.lock";
/// Largest `server.json`.
const BYTES_MAX: u64 = 4096;

/// Where a server is and what opens it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Door {
    /// Port of the loopback addresses.
    pub port: u16,
    /// Its process.
    pub pid: u32,
    /// What the owner's programs present as `Authorization: Bearer`.
    pub secret: String,
}

/// The lock of a data directory's server, and its file once there is one. Dropping it removes both.
pub(crate) struct Keeper {
    file: PathBuf,
    _lock: File,
}

impl Keeper {
    /// Takes the lock; `None` if another server has it.
    pub(crate) fn take(data_dir: &Path) -> io::Result<Option<Keeper>> {
        let path = data_dir.join(LOCK);
        let lock = File::options().create(true).append(true).mode(0o600).open(path)?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Keeper { file: data_dir.join(FILE), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// Writes the file: readable for its user only, and whole from the first moment.
    pub(crate) fn open(&self, door: &Door) -> io::Result<()> {
        let aside = self.file.with_extension("json.new");
        // One that a killed server left behind might be of another user's making.
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = File::options().create_new(true).write(true).mode(0o600).open(&aside)?;
        file.write_all(&serde_json::to_vec(door)?)?;
        fs::rename(&aside, &self.file)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // What stays is of no use without the server.
        let _ = fs::remove_file(&self.file);
    }
}

/// The door of the server that runs on this data directory, if one does. Blocks on files only.
///
/// # Errors
/// The files cannot be read, or are not a server's.
pub fn find(data_dir: &Path) -> io::Result<Option<Door>> {
    let lock = match File::open(data_dir.join(LOCK)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    match lock.try_lock_shared() {
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let file = match File::open(data_dir.join(FILE)) {
        // It is just starting, or ending.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result?,
    };
    let mut text = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut text)?;
    Ok(Some(serde_json::from_slice(&text)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_door_is_found_while_its_server_runs() {
        let folder = tempfile::tempdir().unwrap();
        let door = Door { port: 7333, pid: 5, secret: "s".to_owned() };
        assert_eq!(find(folder.path()).unwrap(), None);
        let keeper = Keeper::take(folder.path()).unwrap().unwrap();
        assert_eq!(find(folder.path()).unwrap(), None, "it is only starting");
        keeper.open(&door).unwrap();
        keeper.open(&door).unwrap();
        assert_eq!(find(folder.path()).unwrap(), Some(door));
        assert!(Keeper::take(folder.path()).unwrap().is_none(), "one server");
        let mode = fs::metadata(folder.path().join(FILE)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(keeper);
        assert_eq!(find(folder.path()).unwrap(), None);
        assert!(Keeper::take(folder.path()).unwrap().is_some());
    }

    #[test]
    fn what_a_killed_server_left_is_no_door() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(LOCK), "").unwrap();
        fs::write(folder.path().join(FILE), r#"{"port":1,"pid":1,"secret":"x"}"#).unwrap();
        assert_eq!(find(folder.path()).unwrap(), None);
        // And what is not a server's file is said to be none.
        let _keeper = Keeper::take(folder.path()).unwrap().unwrap();
        fs::write(folder.path().join(FILE), "x").unwrap();
        assert!(find(folder.path()).is_err());
    }
}
