//! What people call machines. A machine's id is its folder's name and never changes; its label may,
//! also while it runs. No label is another machine's label or id.

use std::fs::File;
use std::time::{Duration, Instant};

use super::{Machines, MachinesError, SPEC_FILE, check_name, io_error, names, spec, try_lock};

/// In the data directory: locked by whoever gives a machine a name.
const NAMING_FILE: &str = "machines.lock";
/// How long somebody else may take to do so.
const NAMING_LIMIT: Duration = Duration::from_secs(10);

impl Machines {
    /// The id of the machine that people call `name`, or that has this id.
    ///
    /// # Errors
    /// [`MachinesError::Unknown`], [`MachinesError::BadName`].
    pub fn find(&self, name: &str) -> Result<String, MachinesError> {
        check_name(name)?;
        if let Some(id) = self.labelled(name)? {
            return Ok(id);
        }
        if self.machine_folder(name).is_dir() {
            return Ok(name.to_owned());
        }
        let suggestion = names::nearest(name, &self.taken()?);
        Err(MachinesError::Unknown { name: name.to_owned(), suggestion })
    }

    /// Calls a machine something else, also while it runs.
    ///
    /// # Errors
    /// [`MachinesError::Exists`] when another is called so, [`MachinesError::BadName`],
    /// [`MachinesError::Unknown`], [`MachinesError::Io`].
    pub fn rename(&self, id: &str, label: &str) -> Result<(), MachinesError> {
        let _naming = self.naming()?;
        let mut spec = self.spec(id)?;
        self.check_label(label, id)?;
        spec.label = (label != id).then(|| label.to_owned());
        self.write_spec(&spec, SPEC_FILE)
    }

    /// Nobody else gives a machine a name until this is dropped.
    pub(super) fn naming(&self) -> Result<File, MachinesError> {
        let path = self.data.join(NAMING_FILE);
        let end = Instant::now() + NAMING_LIMIT;
        loop {
            if let Some(lock) = try_lock(&path).map_err(io_error("lock", &path))? {
                return Ok(lock);
            }
            if Instant::now() >= end {
                let busy = std::io::Error::from(std::io::ErrorKind::WouldBlock);
                return Err(io_error("lock", &path)(busy));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Checks that a machine may be called so.
    pub(super) fn check_label(&self, label: &str, id: &str) -> Result<(), MachinesError> {
        check_name(label)?;
        let other = self.labelled(label)?.is_some_and(|other| other != id);
        if other || (label != id && self.machine_folder(label).exists()) {
            return Err(MachinesError::Exists(label.to_owned()));
        }
        Ok(())
    }

    /// The id of the machine with this label.
    pub(super) fn labelled(&self, label: &str) -> Result<Option<String>, MachinesError> {
        let labels = self.labels()?;
        Ok(labels.into_iter().find(|(_, known)| known == label).map(|(id, _)| id))
    }

    /// All ids and labels.
    pub(super) fn taken(&self) -> Result<Vec<String>, MachinesError> {
        let mut taken = self.names()?;
        taken.extend(self.labels()?.into_iter().map(|(_, label)| label));
        Ok(taken)
    }

    /// Ids with their labels. A damaged machine has none.
    fn labels(&self) -> Result<Vec<(String, String)>, MachinesError> {
        let labelled = |id: String| {
            let label = spec::read(&self.machine_folder(&id)).ok()?.label?;
            Some((id, label))
        };
        Ok(self.names()?.into_iter().filter_map(labelled).collect())
    }
}
