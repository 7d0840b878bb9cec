//! Machines that were deleted and can come back: `trash/ID` beside `machines`, until somebody
//! empties it.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{MACHINES_MAX, MachineSpec, Machines, MachinesError, check_name, io_error, spec};

/// In a folder of the trash: when it came there, in seconds since 1970.
const TRASHED_FILE: &str = "trashed";
/// Most machines of one id in the trash, and numbers that are tried for one.
const TWINS_MAX: usize = 1000;

/// A machine in the trash.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trashed {
    /// What [`Machines::restore`] takes: its id, or that with a number if others of this id came
    /// to the trash before.
    pub key: String,
    /// What it is made of.
    pub spec: MachineSpec,
    /// When it came there, in seconds since 1970.
    pub trashed_unix_s: u64,
}

impl Machines {
    /// Moves a machine that does not run to the trash. The latest of an id has that as its key.
    ///
    /// # Errors
    /// [`MachinesError::Running`], [`MachinesError::Unknown`], [`MachinesError::Io`].
    pub fn trash(&self, id: &str) -> Result<(), MachinesError> {
        let folder = self.existing_folder(id)?;
        let _naming = self.naming()?;
        let _lock = self.lock(id)?;
        let all = self.trash_folder();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&all)
            .map_err(io_error("create", &all))?;
        let place = all.join(id);
        if place.exists() {
            // Its key goes to the later one.
            let mut numbered = (2..TWINS_MAX).map(|number| all.join(format!("{id}~{number}")));
            let free = numbered.find(|path| !path.exists()).ok_or(MachinesError::TooMany)?;
            fs::rename(&place, &free).map_err(io_error("move", &place))?;
        }
        let note = folder.join(TRASHED_FILE);
        fs::write(&note, now_unix_s().to_string()).map_err(io_error("write", &note))?;
        if folder.is_symlink() {
            return self.trash_linked(&folder, &place);
        }
        fs::rename(&folder, &place).map_err(io_error("move", &folder))
    }

    /// A machine that began as a twin lies in the annex of its original, and its spec beside the link
    /// to it. In the trash it is a machine like any other.
    fn trash_linked(&self, link: &Path, place: &Path) -> Result<(), MachinesError> {
        let folder = link.canonicalize().map_err(io_error("find", link))?;
        super::write_spec(&folder.join(super::SPEC_FILE), &spec::read(link)?)?;
        fs::rename(&folder, place).map_err(io_error("move", &folder))?;
        fs::remove_file(link).map_err(io_error("remove", link))?;
        let beside = spec::beside(link);
        fs::remove_file(&beside).map_err(io_error("remove", &beside))
    }

    /// What is in the trash, the latest first. Folders that are none are left out.
    ///
    /// # Errors
    /// [`MachinesError::Io`].
    pub fn trashed(&self) -> Result<Vec<Trashed>, MachinesError> {
        let all = self.trash_folder();
        let entries = match fs::read_dir(&all) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(io_error("read", &all))?,
        };
        let mut trashed = Vec::new();
        for entry in entries {
            let path = entry.map_err(io_error("read", &all))?.path();
            let key = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
            if let (Some(key), Ok(spec)) = (key, spec::read_any(&path)) {
                let note = fs::read_to_string(path.join(TRASHED_FILE)).unwrap_or_default();
                // One without is as if it had come just now: it stays longest.
                let trashed_unix_s = note.trim().parse().unwrap_or_else(|_| now_unix_s());
                trashed.push(Trashed { key, spec, trashed_unix_s });
            }
        }
        trashed.sort_by(|a, b| (b.trashed_unix_s, &a.key).cmp(&(a.trashed_unix_s, &b.key)));
        Ok(trashed)
    }

    /// Brings a machine back from the trash, under its id; the id is returned.
    ///
    /// # Errors
    /// [`MachinesError::Exists`] when there is one of its id or label again,
    /// [`MachinesError::Unknown`], [`MachinesError::TooMany`], [`MachinesError::Io`].
    pub fn restore(&self, key: &str) -> Result<String, MachinesError> {
        let place = self.trash_place(key)?;
        let _naming = self.naming()?;
        let MachineSpec { name: id, label, .. } = spec::read_any(&place)?;
        // Nobody has checked what a file in the trash says.
        check_name(&id)?;
        if self.machine_folder(&id).exists() || self.labelled(&id)?.is_some() {
            return Err(MachinesError::Exists(id));
        }
        if let Some(label) = &label {
            self.check_label(label, &id)?;
        }
        if self.names()?.len() >= MACHINES_MAX {
            return Err(MachinesError::TooMany);
        }
        fs::rename(&place, self.machine_folder(&id)).map_err(io_error("move", &place))?;
        let note = self.machine_folder(&id).join(TRASHED_FILE);
        // One that stays is overwritten the next time.
        let _ = fs::remove_file(note);
        Ok(id)
    }

    /// Removes for good what came to the trash longer ago than this; how many they were.
    ///
    /// # Errors
    /// [`MachinesError::Io`].
    pub fn empty_trash(&self, older_than: Duration) -> Result<usize, MachinesError> {
        let latest = now_unix_s().saturating_sub(older_than.as_secs());
        let mut count = 0;
        for Trashed { key, trashed_unix_s, .. } in self.trashed()? {
            if trashed_unix_s <= latest {
                let place = self.trash_folder().join(&key);
                fs::remove_dir_all(&place).map_err(io_error("remove", &place))?;
                count += 1;
            }
        }
        Ok(count)
    }

    fn trash_folder(&self) -> PathBuf {
        self.data.join("trash")
    }

    fn trash_place(&self, key: &str) -> Result<PathBuf, MachinesError> {
        let (id, number) = key.split_once('~').unwrap_or((key, "2"));
        check_name(id)?;
        let place = self.trash_folder().join(key);
        if number.bytes().all(|byte| byte.is_ascii_digit()) && place.is_dir() {
            return Ok(place);
        }
        Err(MachinesError::Unknown { name: key.to_owned(), suggestion: None })
    }
}

fn now_unix_s() -> u64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_1970.map_or(0, |age| age.as_secs())
}
