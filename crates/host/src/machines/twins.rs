//! Forking running machines.

use std::fs;
use std::time::{Duration, Instant};

use super::{LOCK_FILE, MachineSpec, Machines, MachinesError, STAGED_SPEC_FILE, Started};
use super::{spawn, try_lock};
use crate::client::{ClientError, Connection};
use crate::protocol::{Command, ForkKind, Reply};

impl Machines {
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
        let folder = self.make_folder(&spec.name)?;
        let forked = self.write_spec(spec, STAGED_SPEC_FILE).and_then(|()| {
            lab.call(Command::Fork { folder: folder.clone(), kind })?;
            self.wait_for_twin(&spec.name)
        });
        if forked.is_err() && self.lock(&spec.name).is_ok() {
            // The error at hand says more than one of cleaning up would.
            let _ = fs::remove_dir_all(&folder);
        }
        forked
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
