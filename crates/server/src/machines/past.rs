//! The past of the fleet's machines: what they showed, names of instants, machines that go on from
//! them.
//!
//! Reading is bounded and in turn: whoever drags through a long recording keeps others waiting for
//! one picture, and no machine from running.

use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant as WallInstant};

use stackvm_host::machines::{
    Deed, Happened, Lifetime, Listed, MachineSpec, Machines, Marker, Outgoing, Picture, Printed,
    Source, Status, StopHow,
};
use stackvm_host::protocol::{Command, RecordingAction};
use stackvm_machine::{ConsoleId, Instant};

use super::{Fleet, MachinesError, Reserved};
use crate::access::random_name;
use crate::problem::Problem;
use tokio::task::spawn_blocking;

/// Readers of recordings at once.
pub(super) const READERS_MAX: usize = 2;
/// Pictures of recordings that are kept in memory.
const POSTERS_MAX: usize = 64;
/// Longest text of what a recording's terminals showed.
const TRANSCRIPT_BYTES_MAX: usize = 128 << 10;
/// What a machine showed is written at most so often.
const WRITTEN_EVERY: Duration = Duration::from_millis(250);

impl Fleet {
    /// When a machine did something, from an instant on; `None` if it was never on.
    pub(crate) async fn happened(
        &self,
        id: &str,
        from: Instant,
    ) -> Result<Option<Happened>, Problem> {
        if self.lock().coming.contains_key(id) {
            return Ok(None);
        }
        self.read_past(id, move |machines, id| machines.happened(id, from)).await
    }

    /// What a terminal showed at the nearest instant that there is.
    pub(crate) async fn picture(
        &self,
        id: &str,
        console: ConsoleId,
        at: Instant,
    ) -> Result<Picture, Problem> {
        self.read_past(id, move |machines, id| machines.picture(id, console, at)).await
    }

    /// The last lines that a machine showed from an instant on and that have a text in them.
    pub(crate) async fn printed(
        &self,
        id: &str,
        from: Instant,
        text: String,
        lines_max: usize,
    ) -> Result<Vec<Printed>, Problem> {
        self.read_past(id, move |machines, id| machines.printed(id, from, &text, lines_max)).await
    }

    /// The last things that people did at a machine from an instant on.
    pub(crate) async fn deeds(
        &self,
        id: &str,
        from: Instant,
        deeds_max: usize,
    ) -> Result<Vec<Deed>, Problem> {
        if self.lock().coming.contains_key(id) {
            return Ok(Vec::new());
        }
        self.read_past(id, move |machines, id| machines.deeds(id, from, deeds_max)).await
    }

    /// The instants of a machine that have names.
    pub(crate) async fn markers(&self, id: &str) -> Result<Vec<Marker>, Problem> {
        if self.lock().coming.contains_key(id) {
            return Ok(Vec::new());
        }
        // One that is not kept has no past to have names in.
        let markers = |machines: &Machines, id: &str| match machines.markers(id) {
            Err(MachinesError::NoPast(_)) => Ok(Vec::new()),
            markers => markers,
        };
        self.with(id, markers).await
    }

    /// Gives the present instant of a running machine a name.
    pub(crate) async fn mark(&self, id: &str, author: String, name: String) -> Result<(), Problem> {
        let journal = self.data_dir.join("machines").join(id).join("journal");
        self.with(id, move |machines, id| {
            let mut lab = machines.connect(id)?;
            lab.call(Command::Name { name: author })?;
            let action = RecordingAction::Mark { name };
            lab.call(Command::Recording { journal, action })?;
            Ok(())
        })
        .await
    }

    /// How far a machine has come, in nanoseconds, as its recording says; `None` without one.
    pub(crate) async fn reached_ns(&self, id: &str) -> Result<Option<u64>, Problem> {
        if self.lock().coming.contains_key(id) {
            return Ok(None);
        }
        let reached = self.with(id, |machines, id| machines.reached(id)).await?;
        Ok(reached.map(|instant| instant.ns()))
    }

    /// Takes a name for a machine that goes on from an instant of another.
    pub(crate) async fn reserve_branch(&self, id: &str, at: Instant) -> Result<Reserved, Problem> {
        let name = self.free_folder(None).await?;
        let spec = self.with(id, move |machines, id| machines.branch_spec(id, at, &name)).await?;
        self.check_room(spec.memory_bytes).await?;
        self.hold(spec)
    }

    /// Keeps an instant of a machine, or its present, as a machine that never runs.
    pub(crate) async fn freeze(&self, id: &str, at: Option<Instant>) -> Result<String, Problem> {
        let at = match at {
            Some(at) => at,
            None => {
                let reached = self.read_past(id, |machines, id| machines.reached(id)).await?;
                reached.ok_or_else(|| MachinesError::NoPast(id.to_owned()))?
            }
        };
        let reserved = self.reserve_branch(id, at).await?;
        let spec = reserved.spec().clone();
        self.blocking(move |machines| machines.freeze(&spec)).await?;
        Ok(reserved.spec().name.clone())
    }

    /// Keeps what a machine did from one instant until another as a recording, under a name.
    pub(crate) async fn record(
        &self,
        id: &str,
        from: Instant,
        until: Instant,
        label: Option<String>,
    ) -> Result<String, Problem> {
        self.check_room(None).await?;
        let name = self.free_folder(label.as_deref()).await?;
        let label = label.filter(|label| *label != name);
        let spec = self
            .with(id, move |machines, id| {
                machines.write_shown(id)?;
                let spec = machines.recording_spec(id, from, until, &name)?;
                Ok(MachineSpec { label, ..spec })
            })
            .await?;
        let reserved = self.hold(spec)?;
        let spec = reserved.spec().clone();
        self.blocking(move |machines| machines.freeze(&spec)).await?;
        Ok(reserved.spec().name.clone())
    }

    /// A file of its own for a recording that comes, and its path. Whoever has it removes it.
    pub(crate) async fn upload(&self) -> Result<(std::fs::File, PathBuf), Problem> {
        self.check_room(None).await?;
        let name = random_name().map_err(|error| Problem::unavailable(&error))?;
        let path = self.data_dir.join(format!("upload-{name}.vmcast"));
        let made = path.clone();
        let file = spawn_blocking(move || {
            std::fs::File::options().write(true).create_new(true).mode(0o600).open(&made)
        });
        let file = file.await.map_err(|panic| Problem::unavailable(&panic))?;
        Ok((file.map_err(|error| Problem::unavailable(&error))?, path))
    }

    /// Makes a recording of a file from somebody else; returns its name.
    pub(crate) async fn import(
        &self,
        file: PathBuf,
        label: Option<String>,
    ) -> Result<String, Problem> {
        let name = self.free_folder(label.as_deref()).await?;
        let label = label.filter(|label| *label != name);
        let spec = MachineSpec {
            label: label.clone(),
            lifetime: Lifetime::Frozen,
            ..MachineSpec::new(&name, Source::Journal { label: name.clone() })
        };
        let _reserved = self.hold(spec)?;
        self.with(&name, move |machines, name| machines.import(&file, name, label)).await?;
        Ok(name)
    }

    /// What goes out with a machine's recording, and where in it a text is.
    pub(crate) async fn outgoing(
        &self,
        id: &str,
        text: Option<String>,
    ) -> Result<Outgoing, Problem> {
        self.read_past(id, move |machines, id| machines.outgoing(id, text.as_deref())).await
    }

    /// A machine's recording as a file that nobody else sees, at its beginning.
    pub(crate) async fn export(&self, id: &str) -> Result<std::fs::File, Problem> {
        self.check_room(None).await?;
        let name = random_name().map_err(|error| Problem::unavailable(&error))?;
        let aside = self.data_dir.join(format!("export-{name}.vmcast"));
        self.read_past(id, move |machines, id| {
            let opened = machines.export(id, &aside).and_then(|()| {
                let failed = |error| MachinesError::Io { what: "open", path: aside.clone(), error };
                std::fs::File::open(&aside).map_err(failed)
            });
            // Whoever has it open reads it; nobody else finds it.
            let _ = std::fs::remove_file(&aside);
            opened
        })
        .await
    }

    /// What a recording's terminals showed, as text.
    pub(crate) async fn transcript(&self, id: &str) -> Result<String, Problem> {
        self.read_past(id, |machines, id| machines.transcript(id, TRANSCRIPT_BYTES_MAX)).await
    }

    /// A recording as a picture that moves, called `title`: drawn once.
    pub(crate) async fn poster(&self, id: &str, title: String) -> Result<String, Problem> {
        let made = self.get(id).await?.spec.created_unix_s;
        let key = (id.to_owned(), made, title.clone());
        if let Some(svg) = self.lock().posters.get(&key) {
            return Ok(svg.clone());
        }
        let svg = self.read_past(id, move |machines, id| machines.poster(id, &title)).await?;
        let mut inner = self.lock();
        if inner.posters.len() >= POSTERS_MAX {
            inner.posters.clear();
        }
        inner.posters.insert(key, svg.clone());
        Ok(svg)
    }

    /// How many machines go on from one.
    pub(crate) async fn branches(&self, id: &str) -> Result<usize, Problem> {
        let is_one = |machine: &Listed| machine.spec.branch_of().is_some_and(|(of, _)| of == id);
        Ok(self.list().await?.iter().filter(|machine| is_one(machine)).count())
    }

    /// A name for a visitor's machine.
    pub(crate) async fn name_for_visit(&self) -> Result<String, Problem> {
        self.blocking(Machines::free_name).await
    }

    /// Starts a machine that holds a moment in memory; returns its name.
    pub(crate) async fn hold_moment(&self, moment: &str) -> Result<String, Problem> {
        let name = self.blocking(Machines::free_name).await?;
        let (held, moment) = (name.clone(), moment.to_owned());
        self.blocking(move |machines| machines.hold(&moment, &held)).await?;
        Ok(name)
    }

    /// Whether a machine holds its moment still.
    pub(crate) async fn holds(&self, held: &str) -> bool {
        let listed = self.with(held, |machines, held| machines.get(held)).await;
        listed.is_ok_and(|it| it.status == Status::Running && it.spec.lifetime == Lifetime::Held)
    }

    /// Machines that hold moments for a server that has ended.
    pub(crate) async fn held(&self) -> Result<Vec<String>, Problem> {
        let mut listed = self.blocking(Machines::list).await?;
        listed.retain(|machine| machine.spec.lifetime == Lifetime::Held);
        Ok(listed.into_iter().map(|machine| machine.spec.name).collect())
    }

    /// Forks a visitor's machine from one that holds a moment.
    pub(crate) async fn visit(
        &self,
        held: &str,
        name: &str,
        cpu_percent: u8,
        made_unix_s: u64,
    ) -> Result<(), Problem> {
        let memory_bytes =
            self.with(held, |machines, held| machines.get(held)).await?.spec.memory_bytes;
        self.check_room(memory_bytes).await?;
        let name = name.to_owned();
        self.with(held, move |machines, held| machines.visit(held, &name, cpu_percent, made_unix_s))
            .await
    }

    /// Ends a visitor's machine, or one that holds a moment; one that is gone already is ended.
    pub(crate) async fn end_visit(&self, id: &str) -> Result<(), Problem> {
        self.with(id, |machines, id| match machines.stop(id, StopHow::Kill) {
            Err(MachinesError::NotRunning(_) | MachinesError::Unknown { .. }) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        })
        .await
    }

    /// Reads a machine's recording as it is now.
    async fn read_past<T: Send + 'static>(
        &self,
        id: &str,
        read: impl FnOnce(&Machines, &str) -> Result<T, MachinesError> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.readers.clone().acquire_owned().await;
        let turn = turn.map_err(|closed| Problem::unavailable(&closed))?;
        let is_written = self.is_written(id);
        self.with(id, move |machines, id| {
            let _turn = turn;
            if !is_written {
                machines.write_shown(id)?;
            }
            read(machines, id)
        })
        .await
    }

    /// Whether the machine wrote what it showed a moment ago; if not, it is about to.
    fn is_written(&self, id: &str) -> bool {
        let now = WallInstant::now();
        let mut inner = self.lock();
        inner.written.retain(|_, at| now.duration_since(*at) < WRITTEN_EVERY);
        let is_written = inner.written.contains_key(id);
        inner.written.entry(id.to_owned()).or_insert(now);
        is_written
    }
}
