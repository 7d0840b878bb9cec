//! The machines of the data directory, for callers that must not block: every call is the host's
//! [`Machines`] on a thread of its own.
//!
//! Also knows those that are being made (they have a name before they have a folder), and which of
//! the running ones this server has started, so that it ends them when it ends and no others.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fs, io};

use stackvm_host::machines::{
    Keep, Lifetime, Listed, MACHINES_MAX, MachineSpec, Machines, MachinesError, Source, StartFrom,
    Status, StopHow, Stopped, Trashed, check_name, names,
};
use stackvm_host::prompt;
use stackvm_host::sandbox::Sandbox;
use stackvm_images::{BuildOptions, Cancel, ImageStore, Phase, ensure};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::problem::{Kind, Problem, fault};
use crate::rooms::{Fault, Progress};

mod given;
mod past;
mod replayers;
mod twins;

pub(crate) use given::GivenName;
use replayers::Replayers;

/// Names of the machines that this server has started.
const OURS_FILE: &str = "server-machines.json";
/// Recordings that come or go, as files, while they do.
const TRANSIT_FOLDER: &str = "transit";
/// How long a deleted machine can be restored.
const TRASH_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// Disk space that a new machine must leave, in bytes.
const DISK_SPARE_BYTES: u64 = 256 << 20;

/// The machines of a data directory.
#[derive(Clone)]
pub(crate) struct Fleet {
    machines: Machines,
    data_dir: PathBuf,
    mirror: Option<String>,
    inner: Arc<Mutex<Inner>>,
    /// Turns at reading the past.
    readers: Arc<Semaphore>,
    replayers: Replayers,
}

#[derive(Default)]
struct Inner {
    /// Those that are being made, by the name of the folder that they will have.
    coming: BTreeMap<String, MachineSpec>,
    /// Names of those that nobody sees before they are there: visitors' and what they are forked from.
    given: BTreeSet<String>,
    ours: BTreeSet<String>,
    /// When a machine last wrote what it showed, for somebody to look at.
    written: BTreeMap<String, Instant>,
    /// What was made of recordings, by name and time of making.
    about: BTreeMap<(String, u64, About), String>,
}

/// What is made of a recording for those who look for one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum About {
    /// A picture that moves, with this title.
    Poster(String),
    /// What its terminals showed, as text.
    Transcript,
}

/// A file on its way, which is gone when this is.
pub(crate) struct Transit {
    path: PathBuf,
}

impl Drop for Transit {
    fn drop(&mut self) {
        // It may never have been made.
        let _ = fs::remove_file(&self.path);
    }
}

/// What a new machine should be.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) image: String,
    pub(crate) name: Option<String>,
    pub(crate) memory_bytes: Option<u64>,
    pub(crate) keep: Keep,
}

/// What became of a machine when its server ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Off,
    Saved,
    /// It could not be saved, for this reason, and was switched off.
    NotSaved(String),
}

/// A name that is kept for a new machine; dropped, it is free again.
pub(crate) struct Reserved {
    fleet: Fleet,
    spec: MachineSpec,
}

impl Reserved {
    /// What the machine will be.
    pub(crate) fn spec(&self) -> &MachineSpec {
        &self.spec
    }

    /// What making it is called.
    pub(crate) fn title(&self) -> String {
        format!("Make {}", self.spec.label.as_ref().unwrap_or(&self.spec.name))
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.fleet.lock().coming.remove(&self.spec.name);
    }
}

impl Fleet {
    /// Those of `data_dir`, an absolute path.
    pub(crate) fn open(
        data_dir: &Path,
        mirror: Option<String>,
        sandbox: Sandbox,
    ) -> Result<Fleet, MachinesError> {
        let machines = Machines::open(data_dir)?.with_sandbox(sandbox);
        // Of a server that was killed; this is the only one here.
        let _ = fs::remove_dir_all(data_dir.join(TRANSIT_FOLDER));
        let ours = fs::read(data_dir.join(OURS_FILE)).unwrap_or_default();
        // A file that is none is as good as no file: machines are found in their folders.
        let ours = serde_json::from_slice(&ours).unwrap_or_default();
        let inner = Arc::new(Mutex::new(Inner { ours, ..Inner::default() }));
        let readers = Arc::new(Semaphore::new(past::READERS_MAX));
        let replayers = Replayers::default();
        Ok(Fleet { machines, data_dir: data_dir.to_owned(), mirror, inner, readers, replayers })
    }

    /// All that are kept or run, and those that are being made.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, Problem> {
        let coming = self.lock().coming.clone();
        let mut listed = self.blocking(Machines::list).await?;
        // Nobody is ever at one.
        listed.retain(|machine| machine.spec.lifetime != Lifetime::Held);
        for (id, spec) in coming {
            if !listed.iter().any(|machine| machine.spec.name == id) {
                listed.push(Listed { spec, status: Status::Off });
            }
        }
        listed.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        Ok(listed)
    }

    pub(crate) async fn get(&self, id: &str) -> Result<Listed, Problem> {
        if let Some(spec) = self.lock().coming.get(id) {
            return Ok(Listed { spec: spec.clone(), status: Status::Off });
        }
        let listed = self.with(id, |machines, id| machines.get(id)).await?;
        match listed.spec.lifetime {
            Lifetime::Held => {
                Err(MachinesError::Unknown { name: id.to_owned(), suggestion: None }.into())
            }
            _ => Ok(listed),
        }
    }

    /// Takes a name for a new machine, which is listed from now on.
    pub(crate) async fn reserve(&self, wish: &Wish) -> Result<Reserved, Problem> {
        self.check_room(wish.memory_bytes).await?;
        let id = self.free_folder(wish.name.as_deref()).await?;
        let source = Source::Image { name: wish.image.clone(), hash: None };
        let spec = MachineSpec {
            lifetime: Lifetime::Named,
            start: StartFrom::Prompt,
            memory_bytes: wish.memory_bytes,
            keep: wish.keep,
            label: wish.name.clone().filter(|name| *name != id),
            ..MachineSpec::new(&id, source)
        };
        self.hold(spec)
    }

    /// A name of a folder that is free: the wished one, unless something deleted has it still.
    async fn free_folder(&self, wished: Option<&str>) -> Result<String, Problem> {
        let taken = self.list().await?;
        if taken.len() >= MACHINES_MAX {
            return Err(MachinesError::TooMany.into());
        }
        let given = self.lock().given.clone();
        let is_taken = |name: &str| {
            let is_its = |it: &Listed| it.spec.name == name || it.label() == name;
            given.contains(name) || taken.iter().any(is_its)
        };
        let trashed = self.blocking(Machines::trashed).await?;
        let is_free =
            |name: &str| !is_taken(name) && !trashed.iter().any(|it| it.spec.name == name);
        if let Some(name) = wished {
            check_name(name)?;
            if is_taken(name) {
                return Err(MachinesError::Exists(name.to_owned()).into());
            }
            if is_free(name) {
                return Ok(name.to_owned());
            }
        }
        let mut candidates = names::candidates(names::random_seed());
        Ok(candidates.find(|name| is_free(name)).ok_or(MachinesError::TooMany)?)
    }

    fn hold(&self, spec: MachineSpec) -> Result<Reserved, Problem> {
        let label = spec.label.as_ref().unwrap_or(&spec.name);
        let clashes = |it: &MachineSpec| {
            it.name == spec.name || it.label.as_ref().unwrap_or(&it.name) == label
        };
        let mut inner = self.lock();
        // Somebody else may have asked for the same name meanwhile.
        if inner.given.contains(label)
            || inner.given.contains(&spec.name)
            || inner.coming.values().any(clashes)
        {
            return Err(MachinesError::Exists(label.clone()).into());
        }
        inner.coming.insert(spec.name.clone(), spec.clone());
        Ok(Reserved { fleet: self.clone(), spec })
    }

    /// Makes and starts a machine that was reserved, and all it needs; in the end it is reserved no
    /// more.
    pub(crate) async fn make(
        &self,
        reserved: Reserved,
        progress: impl FnMut(Progress) + Send + 'static,
        cancel: Cancel,
    ) -> Result<(), Fault> {
        let (fleet, spec) = (self.clone(), reserved.spec().clone());
        let made = spawn_blocking(move || fleet.make_blocking(spec, progress, &cancel)).await;
        let result = made.unwrap_or_else(|panic| Err(fault(&panic)));
        if result.is_ok() {
            self.adopt(&reserved.spec().name);
        }
        result
    }

    fn make_blocking(
        &self,
        mut spec: MachineSpec,
        mut progress: impl FnMut(Progress),
        cancel: &Cancel,
    ) -> Result<(), Fault> {
        let options = BuildOptions { data_dir: self.data_dir.clone(), mirror: self.mirror.clone() };
        // One that goes on from a moment knows which image it is of.
        if let Source::Image { name, hash: hash @ None } = &mut spec.source {
            let image = ensure(name, &options, &mut |it| progress(of_image(it)), cancel);
            *hash = Some(image.map_err(|error| fault(&error))?.hash);
        }
        let mut report = |it| progress(of_prompt(&it));
        prompt::ensure(&self.data_dir, &spec, &mut report, cancel)
            .map_err(|error| fault(&error))?;
        // A machine that is made while the server ends would be nobody's.
        cancel.check().map_err(|error| fault(&error))?;
        self.machines.create(&spec).map(drop).map_err(|error| fault(&error))
    }

    /// Switches a machine on, or lets it go on where it was.
    pub(crate) async fn start(&self, id: &str) -> Result<(), Problem> {
        self.with(id, |machines, id| machines.start(id)).await?;
        self.adopt(id);
        Ok(())
    }

    /// Saves a machine; it stays off until somebody starts it.
    pub(crate) async fn save(&self, id: &str) -> Result<(), Problem> {
        let stopped = self.with(id, |machines, id| machines.stop(id, StopHow::Save)).await?;
        self.disown(id);
        match stopped {
            Stopped::Clean => Ok(()),
            Stopped::Forced { reason } => Err(Problem::new(
                Kind::Conflict,
                format!("the machine was switched off instead of saved: {reason}"),
                "Start it again.",
            )),
        }
    }

    /// Calls a machine something else.
    pub(crate) async fn rename(&self, id: &str, label: String) -> Result<(), Problem> {
        self.with(id, move |machines, id| machines.rename(id, &label)).await
    }

    /// Puts a machine that does not run where it can be taken back from.
    pub(crate) async fn trash(&self, id: &str) -> Result<(), Problem> {
        self.with(id, |machines, id| machines.trash(id)).await?;
        self.replayers.forget(id);
        self.disown(id);
        Ok(())
    }

    /// Takes a machine back, the latest of this name.
    pub(crate) async fn restore(&self, id: &str) -> Result<String, Problem> {
        self.with(id, |machines, id| machines.restore(id)).await
    }

    /// Machines that were deleted and are still there.
    pub(crate) async fn trashed(&self) -> Result<Vec<Trashed>, Problem> {
        self.blocking(Machines::trashed).await
    }

    /// Removes what was deleted long ago; returns which.
    pub(crate) async fn empty_trash(&self) -> Result<Vec<String>, Problem> {
        let names = |trashed: Vec<Trashed>| -> BTreeSet<String> {
            trashed.into_iter().map(|machine| machine.spec.name).collect()
        };
        let before = names(self.trashed().await?);
        self.blocking(|machines| machines.empty_trash(TRASH_TIME)).await?;
        let after = names(self.trashed().await?);
        Ok(before.difference(&after).cloned().collect())
    }

    /// The images that there are, with what they are made of.
    pub(crate) async fn images(&self) -> Result<Vec<stackvm_images::Image>, Problem> {
        let data_dir = self.data_dir.clone();
        let list =
            spawn_blocking(move || ImageStore::open(&data_dir).and_then(|store| store.list()));
        let list = list.await.map_err(|panic| Problem::unavailable(&panic))?;
        list.map_err(|error| Problem::unavailable(&error))
    }

    /// Machines of this server that were left saved or were killed with the host: they go on.
    pub(crate) async fn interrupted(&self) -> Result<Vec<String>, Problem> {
        let ours = self.lock().ours.clone();
        let waits = |machine: &Listed| {
            matches!(machine.status, Status::Saved | Status::Crashed)
                && ours.contains(&machine.spec.name)
        };
        let listed = self.blocking(Machines::list).await?;
        Ok(listed.into_iter().filter(waits).map(|machine| machine.spec.name).collect())
    }

    /// Machines of this server that run now.
    pub(crate) async fn running(&self) -> Result<Vec<Listed>, Problem> {
        let ours = self.lock().ours.clone();
        let mut listed = self.blocking(Machines::list).await?;
        listed.retain(|it| it.status == Status::Running && ours.contains(&it.spec.name));
        Ok(listed)
    }

    /// Ends a machine of this server with the server.
    pub(crate) async fn end(&self, id: &str, how: StopHow) -> Result<Ended, Problem> {
        let ended = self.with(id, move |machines, id| end(machines, id, how)).await?;
        if how != StopHow::Save {
            self.disown(id);
        }
        Ok(ended)
    }

    /// This server has started it.
    fn adopt(&self, id: &str) {
        self.change_ours(|ours| ours.insert(id.to_owned()));
    }

    /// It is not to be started by the next server.
    pub(crate) fn disown(&self, id: &str) {
        self.change_ours(|ours| ours.remove(id));
    }

    fn change_ours(&self, change: impl FnOnce(&mut BTreeSet<String>) -> bool) {
        let mut inner = self.lock();
        if change(&mut inner.ours)
            && let Err(error) = write_aside(&self.data_dir.join(OURS_FILE), &inner.ours)
        {
            eprintln!(
                "could not write {OURS_FILE}: {error}; the next start resumes fewer machines"
            );
        }
    }

    /// Disk and memory for one more.
    async fn check_room(&self, memory_bytes: Option<u64>) -> Result<(), Problem> {
        let data_dir = self.data_dir.clone();
        let free = spawn_blocking(move || rustix::fs::statvfs(&data_dir)).await;
        let free = free.map_err(|panic| Problem::unavailable(&panic))?;
        // A file system that does not say has to show it when it is written to.
        let free = free.map_or(u64::MAX, |stat| stat.f_bavail.saturating_mul(stat.f_frsize));
        let left = Left { disk_bytes: free, memory_bytes: memory_left() };
        left.check(memory_bytes.unwrap_or(0))
    }

    async fn with<T: Send + 'static>(
        &self,
        id: &str,
        work: impl FnOnce(&Machines, &str) -> Result<T, MachinesError> + Send + 'static,
    ) -> Result<T, Problem> {
        let id = id.to_owned();
        self.blocking(move |machines| work(machines, &id)).await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Machines) -> Result<T, MachinesError> + Send + 'static,
    ) -> Result<T, Problem> {
        let machines = self.machines.clone();
        let done = spawn_blocking(move || work(&machines)).await;
        Ok(done.map_err(|panic| Problem::unavailable(&panic))??)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the host could give now.
#[derive(Clone, Copy)]
struct Left {
    disk_bytes: u64,
    memory_bytes: u64,
}

impl Left {
    /// Whether that is enough for a machine of so much memory.
    fn check(self, wanted: u64) -> Result<(), Problem> {
        let refuse =
            |detail: String, action: &str| Err(Problem::new(Kind::Unavailable, detail, action));
        if self.disk_bytes < DISK_SPARE_BYTES {
            let detail = format!("only {} MiB of disk space are left", self.disk_bytes >> 20);
            return refuse(detail, "Delete machines or other files, then try again.");
        }
        if wanted > self.memory_bytes {
            let (left, wanted) = (self.memory_bytes >> 20, wanted >> 20);
            let detail = format!("{left} MiB of memory are left for {wanted}");
            return refuse(detail, "Stop machines, or make it smaller.");
        }
        Ok(())
    }
}

fn end(machines: &Machines, id: &str, how: StopHow) -> Result<Ended, MachinesError> {
    let saves = how == StopHow::Save;
    let refusal = match machines.stop(id, how) {
        Ok(Stopped::Clean) if saves => return Ok(Ended::Saved),
        Ok(Stopped::Forced { reason }) if saves => return Ok(Ended::NotSaved(reason)),
        Ok(_) => return Ok(Ended::Off),
        // It ended by itself just now.
        Err(MachinesError::NotRunning(_) | MachinesError::Unknown { .. }) => return Ok(Ended::Off),
        Err(error) => fault(&error).what,
    };
    match machines.stop(id, StopHow::Shutdown { patience: PATIENCE }) {
        Ok(_) | Err(MachinesError::NotRunning(_)) => Ok(Ended::NotSaved(refusal)),
        Err(error) => Err(error),
    }
}

/// How long a guest may take to switch off before the plug is pulled.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Bytes of memory that the host could give now.
fn memory_left() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    // A host that does not say has to show it when the machine starts.
    kib.map_or(u64::MAX, |kib| kib << 10)
}

fn write_aside(path: &Path, names: &BTreeSet<String>) -> io::Result<()> {
    let aside = path.with_extension("json.new");
    fs::write(&aside, serde_json::to_vec(names)?)?;
    fs::rename(aside, path)
}

fn of_image(progress: stackvm_images::Progress) -> Progress {
    // An installation counts steps; pages show numbers only where they are bytes.
    let is_bytes = progress.phase != Phase::Install;
    Progress {
        phase: progress.phase.label().to_owned(),
        message: progress.message,
        done_bytes: progress.done_bytes.filter(|_| is_bytes).unwrap_or(0),
        total_bytes: progress.total_bytes.filter(|_| is_bytes),
    }
}

fn of_prompt(progress: &prompt::Progress) -> Progress {
    let message = match progress {
        prompt::Progress::Boots { virtual_ns } => {
            format!("boots once, {} s of its time so far", virtual_ns / 1_000_000_000)
        }
        prompt::Progress::Writes => "writes its prompt".to_owned(),
        prompt::Progress::Waits => "another process makes the same prompt".to_owned(),
        prompt::Progress::Damaged { problem } => format!("makes it again: {problem}"),
    };
    Progress { phase: "preparing".to_owned(), message, done_bytes: 0, total_bytes: None }
}

#[cfg(test)]
mod tests;
