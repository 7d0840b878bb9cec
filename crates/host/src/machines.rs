//! The machines of a data directory: `machines/NAME/` with one lab process each.
//!
//! A folder holds `machine.json` (the [`MachineSpec`]), `lock` (held while a lab runs),
//! `control.sock` (while it runs), `log`, and, if the machine is kept, `journal` (everything that
//! happened to it), `typed` (who typed what last) and, while it does not run, `stopped` (how it was
//! left). This module owns the folders and the starting and ending of labs; what a lab does is in
//! `process`, and what is said to it in `protocol`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::client::{ClientError, Connection};
use crate::protocol::{Command, Info, Reply};
use crate::sandbox::Sandbox;

mod branches;
mod error;
mod labels;
mod left;
mod lines;
mod memory;
pub mod names;
mod outgoing;
mod past;
pub(crate) mod replayer;
pub(crate) mod spawn;
pub mod spec;
mod stop;
mod trash;
mod twins;

pub use crate::recorder::Keep;
pub use error::MachinesError;
pub(crate) use error::io_error;
pub(crate) use left::{Left, left};
pub use lines::{Line, Printed, Text};
pub use memory::own_memory_bytes;
pub use outgoing::{Found, Outgoing};
pub use past::{Bin, Deed, Done, Happened, Marker, Picture};
pub use replayer::{Exact, Replayer};
pub use spec::{Access, DiskSpec, FirmwareSpec, Lifetime, MachineSpec, Network, Source, StartFrom};
pub use stop::{StopHow, Stopped};
pub use trash::Trashed;

/// Longest name of a machine.
pub const NAME_BYTES_MAX: usize = 63;
/// Most machines in one data directory.
pub const MACHINES_MAX: usize = 1000;
/// How often, and after what time each, a lock is tried that somebody else has for a moment.
const LOOKS_MAX: u32 = 10;
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// Largest `machine.json`.
const SPEC_BYTES_MAX: u64 = 1 << 20;

pub(crate) const SPEC_FILE: &str = "machine.json";
pub(crate) const LOCK_FILE: &str = "lock";
pub(crate) const SOCKET_FILE: &str = "control.sock";
/// The recording of a machine that is kept.
pub(crate) const JOURNAL_FOLDER: &str = "journal";
/// Where the lab of a recording from somebody else makes its journal.
pub(crate) const IMPORT_FOLDER: &str = "import";
/// How a machine that does not run was left; absent while it runs.
pub(crate) const STOPPED_FILE: &str = "stopped";
/// The spec of a fork whose lab does not hold the lock yet.
pub(crate) const STAGED_SPEC_FILE: &str = "machine.json.new";
pub(crate) const LOG_FILE: &str = "log";
/// In the data directory: what running labs begin, each in its own folder. The folders of twins
/// are there, and links in `machines` lead to them.
pub(crate) const ANNEX_FOLDER: &str = "annex";

/// What a machine in the list does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Status {
    /// A lab runs it.
    Running,
    /// It is off; its disks are kept.
    Off,
    /// It was saved and goes on when started.
    Saved,
    /// Its lab was killed, or its host. Starting it goes on from where it was.
    Crashed,
}

/// A machine in the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// What it is made of.
    pub spec: MachineSpec,
    /// What it does.
    pub status: Status,
}

/// A machine whose lab has just started.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Started {
    /// Its name.
    pub name: String,
    /// Its control socket.
    pub socket: PathBuf,
    /// Process id of its lab.
    pub pid: u32,
}

/// The machines of a data directory.
#[derive(Clone, Debug)]
pub struct Machines {
    data: PathBuf,
    sandbox: Sandbox,
}

impl Listed {
    /// What people call it.
    pub fn label(&self) -> &str {
        self.spec.label.as_deref().unwrap_or(&self.spec.name)
    }
}

impl Machines {
    /// Those below `data` (an absolute path; see the command line for where it is).
    ///
    /// # Errors
    /// [`MachinesError::Io`].
    pub fn open(data: &Path) -> Result<Machines, MachinesError> {
        let machines = Machines { data: data.to_owned(), sandbox: Sandbox::On };
        let folder = machines.folder();
        fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        Ok(machines)
    }

    /// The same, whose labs start with or without a sandbox.
    pub fn with_sandbox(self, sandbox: Sandbox) -> Machines {
        Machines { sandbox, ..self }
    }

    /// All machines, by name. Folders that ephemeral machines left behind are removed on the way.
    ///
    /// # Errors
    /// [`MachinesError::Io`]; a damaged machine is left out (`get` says what is wrong with it).
    pub fn list(&self) -> Result<Vec<Listed>, MachinesError> {
        let mut listed = Vec::new();
        for name in self.names()? {
            if let Ok(machine) = self.get(&name) {
                let is_kept = machine.spec.lifetime.is_kept();
                if machine.status == Status::Running || is_kept {
                    listed.push(machine);
                } else {
                    self.sweep(&name);
                }
            } else if !self.machine_folder(&name).join(SPEC_FILE).exists() {
                self.sweep(&name);
            }
        }
        Ok(listed)
    }

    /// One machine.
    ///
    /// # Errors
    /// [`MachinesError::Unknown`], [`MachinesError::Damaged`].
    pub fn get(&self, name: &str) -> Result<Listed, MachinesError> {
        let spec = self.spec(name)?;
        let look = self.look(name).map_err(|error| match error {
            // It was deleted just now.
            MachinesError::Io { .. } if !self.machine_folder(name).exists() => {
                MachinesError::Unknown { name: name.to_owned(), suggestion: None }
            }
            error => error,
        });
        let status = match look? {
            None => Status::Running,
            Some(_look) => {
                let folder = self.machine_folder(name);
                match left(&folder) {
                    Left::Saved => Status::Saved,
                    Left::Running if folder.join(JOURNAL_FOLDER).is_dir() => Status::Crashed,
                    Left::Running | Left::Off => Status::Off,
                }
            }
        };
        Ok(Listed { spec, status })
    }

    /// A name for an ephemeral machine that no machine has.
    ///
    /// # Errors
    /// [`MachinesError::Io`], [`MachinesError::TooMany`].
    pub fn free_name(&self) -> Result<String, MachinesError> {
        self.free_name_beside(&|_| false)
    }

    /// The same, and none of which `is_given` says that somebody was promised it.
    ///
    /// # Errors
    /// As [`Machines::free_name`].
    pub fn free_name_beside(
        &self,
        is_given: &dyn Fn(&str) -> bool,
    ) -> Result<String, MachinesError> {
        let taken = self.taken()?;
        let mut candidates = names::candidates(names::random_seed());
        let free = candidates.find(|name| !taken.contains(name) && !is_given(name));
        free.ok_or(MachinesError::TooMany)
    }

    /// Makes a machine and starts its lab. When that fails nothing is left behind.
    ///
    /// # Errors
    /// [`MachinesError::Start`] with the lab's words when it cannot be started (bad kernel, missing
    /// disk, port taken …), or another of [`MachinesError`].
    pub fn create(&self, spec: &MachineSpec) -> Result<Started, MachinesError> {
        let naming = self.naming()?;
        if let Some(label) = &spec.label {
            self.check_label(label, &spec.name)?;
        }
        let folder = self.make_folder(&spec.name)?;
        let started = self.lock(&spec.name).and_then(|lock| {
            self.write_spec(spec, SPEC_FILE)?;
            drop(naming);
            spawn::start(&folder, &spec.name, lock, self.sandbox)
        });
        if started.is_err() {
            // The error at hand says more than one of cleaning up would.
            let _ = self.remove_folder(&spec.name);
        }
        started
    }

    /// Starts the lab of a machine that exists: it goes on where it was saved, or is switched on
    /// with its disks as they were.
    ///
    /// # Errors
    /// [`MachinesError::Running`], [`MachinesError::Start`], [`MachinesError::Frozen`], or another
    /// of [`MachinesError`].
    pub fn start(&self, name: &str) -> Result<Started, MachinesError> {
        if self.spec(name)?.lifetime == Lifetime::Frozen {
            return Err(MachinesError::Frozen(name.to_owned()));
        }
        let lock = self.lock(name)?;
        spawn::start(&self.machine_folder(name), name, lock, self.sandbox)
    }

    /// Connects to a running machine.
    ///
    /// # Errors
    /// [`MachinesError::NotRunning`], [`MachinesError::Unknown`], [`MachinesError::Client`].
    pub fn connect(&self, name: &str) -> Result<Connection, MachinesError> {
        self.spec(name)?;
        match Connection::connect(&self.socket(name)) {
            Err(ClientError::NotRunning { .. }) => Err(MachinesError::NotRunning(name.to_owned())),
            result => Ok(result?),
        }
    }

    /// Facts about a running machine.
    ///
    /// # Errors
    /// As [`Machines::connect`].
    pub fn info(&self, name: &str) -> Result<Info, MachinesError> {
        match self.connect(name)?.call(Command::Info)? {
            Reply::Info(info) => Ok(*info),
            _ => Err(ClientError::Closed.into()),
        }
    }

    /// Removes a machine and everything it has kept.
    ///
    /// # Errors
    /// [`MachinesError::Running`], [`MachinesError::Unknown`], [`MachinesError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), MachinesError> {
        let folder = self.existing_folder(name)?;
        let _lock = self.lock(name)?;
        self.remove_folder(name).map_err(io_error("remove", &folder))
    }

    /// The control socket of a machine; it is there while the machine runs.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.machine_folder(name).join(SOCKET_FILE)
    }

    /// Where a machine's lab writes what goes wrong.
    pub fn log(&self, name: &str) -> PathBuf {
        self.machine_folder(name).join(LOG_FILE)
    }

    /// The folder in which twins and recordings of a sandboxed machine begin; `name` is what
    /// [`Info::annex`] says.
    ///
    /// # Errors
    /// [`MachinesError::Client`] when it is no name: a hijacked lab may say what it likes.
    pub fn annex(&self, name: &str) -> Result<PathBuf, MachinesError> {
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(ClientError::Closed.into());
        }
        Ok(self.data.join(ANNEX_FOLDER).join(name))
    }

    fn folder(&self) -> PathBuf {
        self.data.join("machines")
    }

    fn machine_folder(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// Makes the folder of a new machine.
    fn make_folder(&self, name: &str) -> Result<PathBuf, MachinesError> {
        check_name(name)?;
        self.check_room()?;
        if self.labelled(name)?.is_some() {
            return Err(MachinesError::Exists(name.to_owned()));
        }
        let folder = self.machine_folder(name);
        // Guests' memory and disks are nobody else's business.
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(MachinesError::Exists(name.to_owned()))
            }
            result => result.map_err(io_error("create", &folder)).map(|()| folder.clone()),
        }
    }

    fn check_room(&self) -> Result<(), MachinesError> {
        if self.names()?.len() >= MACHINES_MAX { Err(MachinesError::TooMany) } else { Ok(()) }
    }

    fn names(&self) -> Result<Vec<String>, MachinesError> {
        let folder = self.folder();
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(io_error("read", &folder))? {
            let name = entry.map_err(io_error("read", &folder))?.file_name();
            names.extend(name.into_string().ok().filter(|name| check_name(name).is_ok()));
        }
        names.sort();
        Ok(names)
    }

    fn existing_folder(&self, name: &str) -> Result<PathBuf, MachinesError> {
        check_name(name)?;
        let folder = self.machine_folder(name);
        if folder.is_dir() {
            return Ok(folder);
        }
        let suggestion = names::nearest(name, &self.taken()?);
        Err(MachinesError::Unknown { name: name.to_owned(), suggestion })
    }

    fn spec(&self, name: &str) -> Result<MachineSpec, MachinesError> {
        spec::read(&self.existing_folder(name)?)
    }

    fn write_spec(&self, spec: &MachineSpec, file: &str) -> Result<(), MachinesError> {
        let folder = self.machine_folder(&spec.name);
        let is_spec = file == SPEC_FILE;
        let path = if is_spec { spec::place(&folder) } else { folder.join(file) };
        write_spec(&path, spec)
    }

    /// Keeps a machine from starting while it is looked at; `None` if it runs. Lookers do not keep
    /// each other out, and do not talk to the lab: whoever lists machines every other second must
    /// not wake those that are idle.
    fn look(&self, name: &str) -> Result<Option<File>, MachinesError> {
        let path = self.machine_folder(name).join(LOCK_FILE);
        for _ in 0..LOOKS_MAX {
            if let Some(look) = try_look(&path).map_err(io_error("lock", &path))? {
                return Ok(Some(look));
            }
            if self.socket(name).exists() {
                break;
            }
            // A lab that is starting, or somebody who removes or moves the machine.
            std::thread::sleep(LOOK_INTERVAL);
        }
        Ok(None)
    }

    /// Takes the lock that a lab holds while it runs.
    fn lock(&self, name: &str) -> Result<File, MachinesError> {
        let path = self.machine_folder(name).join(LOCK_FILE);
        for _ in 0..LOOKS_MAX {
            if let Some(lock) = try_lock(&path).map_err(io_error("lock", &path))? {
                return Ok(lock);
            }
            if Connection::connect(&self.socket(name)).is_ok() {
                break;
            }
            // Somebody who only looks at the machine holds it for a moment.
            std::thread::sleep(LOOK_INTERVAL);
        }
        Err(MachinesError::Running(name.to_owned()))
    }

    /// Removes the folder of a machine whose lab or maker was killed.
    fn sweep(&self, name: &str) {
        let folder = self.machine_folder(name);
        // One that is just being made has no lock file yet. A link is made after what it leads to:
        // one that leads nowhere was a twin's.
        let is_left = folder.join(LOCK_FILE).exists() && self.lock(name).is_ok();
        if is_left || folder.is_symlink() && !folder.exists() {
            // The next list finds it again if this fails.
            let _ = self.remove_folder(name);
        }
    }
}

/// Checks a machine's name.
///
/// # Errors
/// [`MachinesError::BadName`].
pub fn check_name(name: &str) -> Result<(), MachinesError> {
    let good = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    let first = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if first && name.len() <= NAME_BYTES_MAX && name.as_bytes().iter().all(good) {
        Ok(())
    } else {
        Err(MachinesError::BadName(name.to_owned()))
    }
}

/// Writes a spec so that whoever reads it sees the old one or the new one.
fn write_spec(path: &Path, spec: &MachineSpec) -> Result<(), MachinesError> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".part");
    let write = || -> io::Result<()> {
        let mut file = File::create(&aside)?;
        file.write_all(&serde_json::to_vec_pretty(spec)?)?;
        file.sync_all()?;
        fs::rename(&aside, path)
    };
    write().map_err(io_error("write", path))
}

/// Locks a file, creating it; `None` when another process has it locked.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    try_flock(path, FlockOperation::NonBlockingLockExclusive)
}

/// The same beside others who only look.
fn try_look(path: &Path) -> io::Result<Option<File>> {
    try_flock(path, FlockOperation::NonBlockingLockShared)
}

fn try_flock(path: &Path, how: FlockOperation) -> io::Result<Option<File>> {
    let file = File::options().create(true).append(true).open(path)?;
    match flock(&file, how) {
        Ok(()) => Ok(Some(file)),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
