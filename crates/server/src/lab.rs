//! The real machine behind the pages: an image of the store, and a lab process on this host.
//!
//! Owns the translation between a lab's control protocol and the server's [`MachineLink`], and when
//! a machine is started and ended; what a lab does is the host's.

mod link;

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stackvm_host::machines::{
    Lifetime, MachineSpec, Machines, MachinesError, Source, Status, StopHow, Stopped,
};
use stackvm_host::sandbox::Sandbox;
use stackvm_images::{BuildOptions, Cancel, ImageStore, Phase, ensure};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::task::spawn_blocking;

use crate::backend::{Fault, MachineLink, Pending, Preparation, Progress, Report};

/// How long a guest may take to switch off before the plug is pulled.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);

/// Which machine, and what it is made from when it does not exist.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// The data directory; absolute.
    pub data_dir: PathBuf,
    /// The machine's name.
    pub machine: String,
    /// The image a new one starts from.
    pub image: String,
    /// Debian mirror for building the image; without one, the host's own.
    pub mirror: Option<String>,
    /// Whether the machine's process is locked in.
    pub sandbox: Sandbox,
}

/// A named machine of this host. Clones are the same one.
#[derive(Clone)]
pub struct LabMachine {
    options: Arc<LabOptions>,
    cancel: Cancel,
    /// Whether this process started it, and so ends it.
    is_ours: Arc<AtomicBool>,
    /// Held by work on a thread, which nothing can abort, so that the end can wait for it.
    work: Arc<Mutex<()>>,
}

/// What became of a machine when its server ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// It was never started, or is off.
    Off,
    /// It was running before and goes on.
    Kept,
    /// It is saved and goes on with the next start.
    Saved,
    /// It could not be saved, for this reason, and was switched off.
    NotSaved(String),
}

impl LabMachine {
    /// The machine that `options` name. Nothing happens yet.
    pub fn new(options: LabOptions) -> LabMachine {
        LabMachine {
            options: Arc::new(options),
            cancel: Cancel::default(),
            is_ours: Arc::default(),
            work: Arc::default(),
        }
    }

    /// Tells the building of the image to stop.
    pub fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Ends what this process has begun: the building of the image stops, and a machine that was
    /// started here is saved. Returns when both have happened.
    ///
    /// # Errors
    /// The machine can neither be saved nor switched off.
    pub async fn end(&self) -> Result<End, Fault> {
        self.cancel();
        let options = self.options.clone();
        let is_ours = self.is_ours.clone();
        self.blocking(move || {
            let machines = Machines::open(&options.data_dir).map_err(|error| fault(&error))?;
            let is_running =
                machines.get(&options.machine).is_ok_and(|listed| listed.status == Status::Running);
            match (is_running, is_ours.load(Ordering::Relaxed)) {
                (false, _) => Ok(End::Off),
                (true, false) => Ok(End::Kept),
                (true, true) => save(&machines, &options.machine),
            }
        })
        .await
    }

    /// Does work that blocks, alone. It is not torn off when the caller is, only waited for in
    /// [`LabMachine::end`].
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, Fault> {
        let turn: OwnedMutexGuard<()> = self.work.clone().lock_owned().await;
        let done = spawn_blocking(move || {
            let result = work();
            drop(turn);
            result
        });
        match done.await {
            Ok(result) => result,
            Err(panic) => Err(Fault {
                what: format!("a part of this program failed: {panic}"),
                action: "Try again; if it happens again, it is a bug worth reporting.".into(),
            }),
        }
    }
}

impl Preparation for LabMachine {
    fn prepare(&self, report: Report) -> Pending<Result<(), Fault>> {
        let machine = self.clone();
        Box::pin(async move {
            let LabMachine { options, cancel, .. } = machine.clone();
            machine.blocking(move || prepare(&options, &report, &cancel)).await
        })
    }

    fn connect(&self) -> Pending<Result<MachineLink, Fault>> {
        let machine = self.clone();
        Box::pin(async move {
            let LabMachine { options, is_ours, cancel, .. } = machine.clone();
            let socket = machine
                .blocking(move || start(&options, &is_ours, &cancel).map_err(|error| fault(&error)))
                .await?;
            link::connect(&socket).await.map_err(|error| fault(&error))
        })
    }
}

fn prepare(options: &LabOptions, report: &Report, cancel: &Cancel) -> Result<(), Fault> {
    let machines = Machines::open(&options.data_dir).map_err(|error| fault(&error))?;
    if machines.get(&options.machine).is_ok_and(|listed| listed.status != Status::Off) {
        // It goes on from its own memory.
        return Ok(());
    }
    let build = BuildOptions { data_dir: options.data_dir.clone(), mirror: options.mirror.clone() };
    let mut sink = |progress: stackvm_images::Progress| report.progress(progress.into());
    match ensure(&options.image, &build, &mut sink, cancel) {
        Ok(_) => Ok(()),
        Err(error) => Err(fault(&error)),
    }
}

/// Starts the machine unless it runs; returns its socket.
fn start(
    options: &LabOptions,
    is_ours: &AtomicBool,
    cancel: &Cancel,
) -> Result<PathBuf, MachinesError> {
    let machines = Machines::open(&options.data_dir)?.with_sandbox(options.sandbox);
    let name = &options.machine;
    // The server is ending: a machine started now would be nobody's.
    if !cancel.is_cancelled() {
        let started = match machines.get(name) {
            Ok(listed) if listed.status == Status::Running => None,
            Ok(_) => Some(machines.start(name)?),
            Err(MachinesError::Unknown { .. }) => Some(machines.create(&spec(options))?),
            Err(error) => return Err(error),
        };
        is_ours.fetch_or(started.is_some(), Ordering::Relaxed);
    }
    Ok(machines.socket(name))
}

fn spec(options: &LabOptions) -> MachineSpec {
    // A disk of the machine's own stands on the image's disk, so it must stay with that image.
    let image = ImageStore::open(&options.data_dir).and_then(|store| store.get(&options.image));
    let hash = image.ok().filter(|image| image.disk.is_some()).map(|image| image.hash);
    let source = Source::Image { name: options.image.clone(), hash };
    MachineSpec { lifetime: Lifetime::Named, ..MachineSpec::new(&options.machine, source) }
}

fn save(machines: &Machines, name: &str) -> Result<End, Fault> {
    let refusal = match machines.stop(name, StopHow::Save) {
        Ok(Stopped::Clean) => return Ok(End::Saved),
        Ok(Stopped::Forced { reason }) => return Ok(End::NotSaved(reason)),
        // It ended by itself just now.
        Err(MachinesError::NotRunning(_) | MachinesError::Unknown { .. }) => return Ok(End::Off),
        Err(error) => chain(&error),
    };
    match machines.stop(name, StopHow::Shutdown { patience: SHUTDOWN_PATIENCE }) {
        Ok(_) | Err(MachinesError::NotRunning(_)) => Ok(End::NotSaved(refusal)),
        Err(error) => Err(fault(&error)),
    }
}

impl From<stackvm_images::Progress> for Progress {
    fn from(progress: stackvm_images::Progress) -> Progress {
        // An installation counts steps; pages show numbers only where they are bytes.
        let is_bytes = progress.phase != Phase::Install;
        Progress {
            phase: progress.phase.label().to_owned(),
            message: progress.message,
            done_bytes: progress.done_bytes.filter(|_| is_bytes).unwrap_or(0),
            total_bytes: progress.total_bytes.filter(|_| is_bytes),
        }
    }
}

/// An error with its causes, in a line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = error.source();
    }
    text
}

/// Errors of the libraries below say what happened and then, after a semicolon, what to do.
fn fault(error: &dyn Error) -> Fault {
    let text = chain(error);
    match text.rsplit_once("; ") {
        Some((what, action)) => Fault { what: what.to_owned(), action: sentence(action) },
        None => Fault { what: text, action: "Cure that, then try again.".to_owned() },
    }
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    let end = if text.ends_with('.') { "" } else { "." };
    format!("{first}{}{end}", chars.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[test]
    fn faults_say_what_happened_and_what_to_do() {
        let check = |text: &str, what: &str, action: &str| {
            let expected = Fault { what: what.to_owned(), action: action.to_owned() };
            assert_eq!(fault(&io::Error::other(text)), expected);
        };
        check("no apt here; import an image", "no apt here", "Import an image.");
        check("a; b; do `c`.", "a; b", "Do `c`.");
        check("the disk is full", "the disk is full", "Cure that, then try again.");
    }

    #[test]
    fn causes_are_said_once() {
        let error = MachinesError::Io {
            what: "read",
            path: "/x".into(),
            error: io::Error::other("no such file"),
        };
        assert_eq!(chain(&error), "could not read /x: no such file");
    }

    #[test]
    fn only_bytes_are_shown_as_bytes() {
        let progress = |phase| stackvm_images::Progress {
            phase,
            done_bytes: Some(50),
            total_bytes: Some(100),
            message: String::new(),
        };
        assert_eq!(Progress::from(progress(Phase::Download)).total_bytes, Some(100));
        assert_eq!(Progress::from(progress(Phase::Install)).total_bytes, None);
    }
}
