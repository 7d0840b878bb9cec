//! The past of the fleet's machines: what they showed, names of instants, machines that go on from
//! them.
//!
//! Reading is bounded and in turn: whoever drags through a long recording keeps others waiting for
//! one picture, and no machine from running.

use std::cmp::Reverse;
use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant as WallInstant};

use stackvm_host::machines::{
    Deed, Happened, Lifetime, Line, Listed, MachineSpec, Machines, Marker, Outgoing, Picture,
    Printed, Status, StopHow, Text,
};
use stackvm_host::protocol::{Command, RecordingAction};
use stackvm_machine::{ConsoleId, Instant};
use tokio::sync::OwnedSemaphorePermit;

use super::{About, Fleet, MachinesError, Reserved, TRANSIT_FOLDER, Transit};
use crate::access::random_name;
use crate::problem::Problem;
use crate::searches::Turn;
use tokio::task::spawn_blocking;

/// Readers of recordings at once.
pub(super) const READERS_MAX: usize = 2;
/// Pictures and texts of recordings that are kept in memory.
const ABOUT_MAX: usize = 64;
/// Longest text of what a recording's terminals showed.
const TRANSCRIPT_BYTES_MAX: usize = 128 << 10;
/// What a machine showed is written at most so often for whoever drags.
const WRITTEN_EVERY: Duration = Duration::from_millis(250);

/// What of that which a machine shows has to be in its recording before that is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    UntilNow,
    /// All but the last moment: who names an instant learned of it from an answer that had all of
    /// it, and many of them are asked for in a row.
    Lately,
}

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
        let turn = self.reader().await?;
        let read = move |machines: &Machines, id: &str| machines.picture(id, console, at);
        self.read(id, turn, Shown::Lately, read).await
    }

    /// The last lines that a machine showed from an instant on and that have a text in them.
    pub(crate) async fn printed(
        &self,
        id: &str,
        from: Instant,
        text: String,
        lines_max: usize,
        turn: Turn,
    ) -> Result<Vec<Printed>, Problem> {
        let read = move |machines: &Machines, id: &str| {
            machines.printed(id, from, &text, lines_max, &|| turn.is_wanted())
        };
        // If it is given up, nobody is told.
        Ok(self.read(id, (), Shown::UntilNow, read).await?.unwrap_or_default())
    }

    /// What a terminal showed at an instant and printed from then on: the last lines.
    pub(crate) async fn text(
        &self,
        id: &str,
        console: ConsoleId,
        from: Instant,
        lines_max: usize,
        turn: Turn,
    ) -> Result<Text, Problem> {
        let read = move |machines: &Machines, id: &str| {
            machines.text(id, console, from, lines_max, &|| turn.is_wanted())
        };
        Ok(self.read(id, (), Shown::UntilNow, read).await?.unwrap_or_default())
    }

    /// A row of what a terminal showed at an instant, and how it came there, if that was at `from` or
    /// later.
    pub(crate) async fn line(
        &self,
        id: &str,
        console: ConsoleId,
        at: Instant,
        row: usize,
        from: Instant,
    ) -> Result<Option<Line>, Problem> {
        self.read_past(id, move |machines, id| machines.line(id, console, at, row, from)).await
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

    /// Makes a recording of a file from somebody else; returns its name.
    pub(crate) async fn import(
        &self,
        file: Transit,
        label: Option<String>,
    ) -> Result<String, Problem> {
        let name = self.free_folder(label.as_deref()).await?;
        let label = label.filter(|label| *label != name);
        let reserved = self.hold(Machines::import_spec(&file.path, &name, label))?;
        let spec = reserved.spec().clone();
        // The file stays until this has ended, also when whoever sent it has left.
        self.blocking(move |machines| {
            let _file = file;
            machines.import(&spec)
        })
        .await?;
        Ok(name)
    }

    /// A file for a recording that comes or goes, which nobody else on this computer reads.
    pub(crate) async fn transit(&self) -> Result<(File, Transit), Problem> {
        self.check_room(None).await?;
        let name = random_name().map_err(|error| Problem::unavailable(&error))?;
        let folder = self.data_dir.join(TRANSIT_FOLDER);
        let transit = Transit { path: folder.join(format!("{name}.vmcast")) };
        let path = transit.path.clone();
        let made = spawn_blocking(move || {
            fs::create_dir_all(&folder)?;
            File::options().write(true).create_new(true).mode(0o600).open(&path)
        });
        let made = made.await.map_err(|panic| Problem::unavailable(&panic))?;
        Ok((made.map_err(|error| Problem::unavailable(&error))?, transit))
    }

    /// What goes out with a machine's recording, and where in it a text is.
    pub(crate) async fn outgoing(
        &self,
        id: &str,
        text: Option<String>,
    ) -> Result<Outgoing, Problem> {
        self.read_past(id, move |machines, id| machines.outgoing(id, text.as_deref())).await
    }

    /// A machine's recording as a file, at its beginning.
    pub(crate) async fn export(&self, id: &str) -> Result<File, Problem> {
        self.written(id, |machines, id, path| machines.export(id, path)).await
    }

    /// What a machine's first terminal showed as a file, at its beginning: an asciicast.
    pub(crate) async fn asciicast(&self, id: &str) -> Result<File, Problem> {
        self.written(id, |machines, id, path| {
            let title = machines.get(id)?.spec.label.unwrap_or_else(|| id.to_owned());
            machines.asciicast(id, &title, path)
        })
        .await
    }

    /// A file that is made of a machine's recording for whoever asks, at its beginning.
    async fn written(
        &self,
        id: &str,
        write: impl Fn(&Machines, &str, &Path) -> Result<(), MachinesError> + Send + 'static,
    ) -> Result<File, Problem> {
        let (_, transit) = self.transit().await?;
        self.read_past(id, move |machines, id| {
            let path = &transit.path;
            write(machines, id, path)?;
            // Whoever has it open reads it when it has no name any more.
            File::open(path).map_err(|error| MachinesError::Io {
                what: "open",
                path: path.clone(),
                error,
            })
        })
        .await
    }

    /// What a recording's terminals showed, as text.
    pub(crate) async fn transcript(&self, id: &str) -> Result<String, Problem> {
        let make = |machines: &Machines, id: &str| machines.transcript(id, TRANSCRIPT_BYTES_MAX);
        self.about(id, About::Transcript, make).await
    }

    /// A recording as a picture that moves, called `title`.
    pub(crate) async fn poster(&self, id: &str, title: String) -> Result<String, Problem> {
        let make = {
            let title = title.clone();
            move |machines: &Machines, id: &str| machines.poster(id, &title)
        };
        self.about(id, About::Poster(title), make).await
    }

    /// What is made of a recording, once: it does not change, and anybody may ask for it.
    async fn about(
        &self,
        id: &str,
        what: About,
        make: impl Fn(&Machines, &str) -> Result<String, MachinesError> + Send + 'static,
    ) -> Result<String, Problem> {
        let made = self.get(id).await?.spec.created_unix_s;
        let key = (id.to_owned(), made, what);
        if let Some(text) = self.lock().about.get(&key) {
            return Ok(text.clone());
        }
        let text = self.read_past(id, make).await?;
        let mut inner = self.lock();
        if inner.about.len() >= ABOUT_MAX {
            inner.about.clear();
        }
        inner.about.insert(key, text.clone());
        Ok(text)
    }

    /// The machines that go on from one, each with the instant at which it leaves; the newest first.
    pub(crate) async fn branches(&self, id: &str) -> Result<Vec<(Instant, Listed)>, Problem> {
        let of = self.get(id).await?.spec;
        let branch = |machine: Listed| Some((machine.spec.leaves(&of)?, machine));
        let mut branches: Vec<_> = self.list().await?.into_iter().filter_map(branch).collect();
        branches.sort_by_key(|(_, machine)| Reverse(machine.spec.created_unix_s));
        Ok(branches)
    }

    /// The last line that somebody entered at a machine from an instant on.
    pub(crate) async fn last_entered(
        &self,
        id: &str,
        from: Instant,
    ) -> Result<Option<String>, Problem> {
        if self.lock().coming.contains_key(id) {
            return Ok(None);
        }
        self.read_past(id, move |machines, id| machines.last_entered(id, from)).await
    }

    /// Starts a machine that holds a moment in memory; returns its name.
    pub(crate) async fn hold_moment(&self, moment: &str) -> Result<String, Problem> {
        let given = self.give_name().await?;
        let (held, moment) = (given.name().to_owned(), moment.to_owned());
        self.blocking(move |machines| machines.hold(&moment, &held)).await?;
        Ok(given.name().to_owned())
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

    /// Forks a visitor's machine from one that holds a moment; returns its process.
    pub(crate) async fn visit(
        &self,
        held: &str,
        name: &str,
        cpu_percent: u8,
        made_unix_s: u64,
    ) -> Result<u32, Problem> {
        let memory_bytes =
            self.with(held, |machines, held| machines.get(held)).await?.spec.memory_bytes;
        self.check_room(memory_bytes).await?;
        let name = name.to_owned();
        self.with(held, move |machines, held| {
            machines.visit(held, &name, cpu_percent, made_unix_s).map(|started| started.pid)
        })
        .await
    }

    /// The process of a machine that runs.
    pub(crate) async fn process(&self, id: &str) -> Result<u32, Problem> {
        Ok(self.with(id, |machines, id| machines.info(id)).await?.pid)
    }

    /// Ends a visitor's machine that was made then; one that is gone already is ended, and one of its
    /// name that was made at another time is somebody else's.
    pub(crate) async fn end_visit(&self, id: &str, made_unix_s: u64) -> Result<(), Problem> {
        self.with(id, move |machines, id| match machines.get(id) {
            Ok(other) if other.spec.created_unix_s != made_unix_s => Ok(()),
            _ => kill(machines, id),
        })
        .await
    }

    /// Ends a machine that holds a moment; one that is gone already is ended.
    pub(crate) async fn let_go(&self, held: &str) -> Result<(), Problem> {
        self.with(held, kill).await
    }

    /// Reads a machine's recording with everything in it that was shown before this was called.
    pub(super) async fn read_past<T: Send + 'static>(
        &self,
        id: &str,
        read: impl Fn(&Machines, &str) -> Result<T, MachinesError> + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.reader().await?;
        self.read(id, turn, Shown::UntilNow, read).await
    }

    /// Waits for a turn to read something that is quickly read.
    async fn reader(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let turn = self.readers.clone().acquire_owned().await;
        turn.map_err(|closed| Problem::unavailable(&closed))
    }

    /// Reads a machine's recording, and keeps a turn for as long as that takes.
    async fn read<T: Send + 'static>(
        &self,
        id: &str,
        turn: impl Send + 'static,
        shown: Shown,
        read: impl Fn(&Machines, &str) -> Result<T, MachinesError> + Send + 'static,
    ) -> Result<T, Problem> {
        let is_written = self.is_written(id) && shown == Shown::Lately;
        self.with(id, move |machines, id| {
            let _turn = turn;
            if !is_written {
                machines.write_shown(id)?;
            }
            match read(machines, id) {
                Err(error) if error.is_of_a_moment() => read(machines, id),
                done => done,
            }
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

fn kill(machines: &Machines, id: &str) -> Result<(), MachinesError> {
    match machines.stop(id, StopHow::Kill) {
        Err(MachinesError::NotRunning(_) | MachinesError::Unknown { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}
