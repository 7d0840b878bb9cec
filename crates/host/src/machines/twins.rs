//! Forking running machines.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{ANNEX_FOLDER, check_name, io_error, spawn, spec, try_lock, write_spec};
use super::{LOCK_FILE, Lifetime, Listed, MachineSpec, Machines, MachinesError};
use super::{STAGED_SPEC_FILE, Started, Status};
use crate::client::{ClientError, Connection};
use crate::protocol::{Command, ForkKind, Reply};

impl Machines {
    /// What a machine called `name` is that is a running machine's twin; [`Machines::fork`] makes it.
    /// It is kept, also when the original is not, so that it is found again.
    ///
    /// # Errors
    /// [`MachinesError::NotRunning`], [`MachinesError::Frozen`], [`MachinesError::Unknown`].
    pub fn twin_spec(&self, id: &str, name: &str) -> Result<MachineSpec, MachinesError> {
        let Listed { spec, status } = self.get(id)?;
        if spec.lifetime == Lifetime::Frozen {
            return Err(MachinesError::Frozen(id.to_owned()));
        }
        if status != Status::Running {
            return Err(MachinesError::NotRunning(id.to_owned()));
        }
        let fresh = MachineSpec::new(name, spec.source.clone());
        Ok(MachineSpec {
            name: fresh.name,
            label: None,
            lifetime: Lifetime::Named,
            // Host ports are the other's.
            forwards: Vec::new(),
            record: None,
            // Links to an older machine of its name are not to it.
            created_unix_s: fresh.created_unix_s,
            ..spec
        })
    }

    /// Forks a running machine: the twin runs in a process of its own, as the machine `spec` says
    /// (name, lifetime, forwards, recording; all else must be as of the original). The original
    /// does not notice. The twin's socket listens when this returns; a fresh one is up when its
    /// state is [`State::Running`](crate::protocol::State::Running).
    ///
    /// # Errors
    /// [`ClientError::Refused`] with what the original's lab says, or as [`Machines::create`].
    pub fn fork(
        &self,
        name: &str,
        spec: &MachineSpec,
        kind: ForkKind,
    ) -> Result<Started, MachinesError> {
        let mut lab = self.connect(name)?;
        let Reply::Info(info) = lab.call(Command::Info)? else {
            return Err(ClientError::Closed.into());
        };
        let naming = self.naming()?;
        self.check_label(spec.label.as_ref().unwrap_or(&spec.name), &spec.name)?;
        let folder = match info.annex {
            Some(annex) => self.make_twin_folder(&spec.name, &annex)?,
            None => self.make_folder(&spec.name)?,
        };
        drop(naming);
        let forked = self.write_spec(spec, STAGED_SPEC_FILE).and_then(|()| {
            lab.call(Command::Fork { folder: folder.clone(), kind })?;
            // Its lock is held from now on: nobody takes it for one left behind.
            let link = self.machine_folder(&spec.name);
            if link.is_symlink() {
                write_spec(&spec::beside(&link), spec)?;
            }
            self.wait_for_twin(&spec.name)
        });
        if forked.is_err() && self.lock(&spec.name).is_ok() {
            // The error at hand says more than one of cleaning up would.
            let _ = self.remove_folder(&spec.name);
        }
        forked
    }

    /// Makes the folder of a twin in its original's annex, and the link that leads there.
    fn make_twin_folder(&self, name: &str, annex: &str) -> Result<PathBuf, MachinesError> {
        check_name(name)?;
        self.check_room()?;
        let folder = self.annex(annex)?.join(name);
        let link = self.machine_folder(name);
        if link.is_symlink() && !link.exists() {
            // Its twin ended by itself.
            self.remove_folder(name).map_err(io_error("remove", &link))?;
        }
        let exists = |error: io::Error, path: &Path| match error.kind() {
            io::ErrorKind::AlreadyExists => MachinesError::Exists(name.to_owned()),
            _ => io_error("create", path)(error),
        };
        fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| exists(error, &folder))?;
        // Relative, so that the data directory can be moved.
        let to = Path::new("..").join(ANNEX_FOLDER).join(annex).join(name);
        symlink(to, &link).map_err(|error| {
            // It is empty, and nobody knows of it.
            let _ = fs::remove_dir(&folder);
            exists(error, &link)
        })?;
        Ok(folder)
    }

    /// Removes a machine's folder, wherever it is.
    pub(super) fn remove_folder(&self, name: &str) -> io::Result<()> {
        let folder = self.machine_folder(name);
        if !folder.is_symlink() {
            return fs::remove_dir_all(&folder);
        }
        match folder.canonicalize() {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
            Ok(real) => fs::remove_dir_all(real)?,
        }
        match fs::remove_file(spec::beside(&folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::remove_file(&folder)
    }

    /// Waits until a fork's lab listens.
    fn wait_for_twin(&self, name: &str) -> Result<Started, MachinesError> {
        let (end, socket) = (Instant::now() + Duration::from_secs(30), self.socket(name));
        loop {
            match Connection::connect(&socket) {
                Ok(mut twin) => {
                    let Reply::Info(info) = twin.call(Command::Info)? else {
                        return Err(ClientError::Closed.into());
                    };
                    return Ok(Started { name: name.to_owned(), socket, pid: info.pid });
                }
                Err(ClientError::NotRunning { .. }) if Instant::now() < end => {
                    let path = self.machine_folder(name).join(LOCK_FILE);
                    if let Ok(Some(_lock)) = try_lock(&path) {
                        let log = spawn::last_words(&self.log(name));
                        return Err(MachinesError::Died { status: "forked".into(), log });
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}
