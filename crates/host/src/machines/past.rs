//! A kept machine's past: what it showed, names of instants, and machines that go on from them. All
//! only read its journal, which may grow meanwhile: what is durable counts.

use std::path::Path;
use std::time::{Duration, Instant as WallInstant};

use stackvm_machine::{ConsoleId, Instant};
use stackvm_timeline::note::Words;
use stackvm_timeline::timeline::Activity;
pub use stackvm_timeline::timeline::Bin;
use stackvm_timeline::{BranchId, Timeline};

use super::Status;
use super::{
    IMPORT_FOLDER, JOURNAL_FOLDER, Lifetime, MachineSpec, Machines, MachinesError, Network,
    SPEC_FILE, Source, StartFrom, Started, io_error,
};
use crate::protocol::{Command, ForkKind, RecordingAction};

/// How long a lab may take to write a state that it has computed, and how often that is looked at.
const FREEZE_LIMIT: Duration = Duration::from_secs(120);
const FREEZE_LOOK: Duration = Duration::from_millis(5);

/// A name that somebody gave an instant of a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marker {
    /// The name.
    pub name: String,
    /// Who gave it.
    pub author: String,
    /// The instant.
    pub at: Instant,
}

/// When a machine did something, and who typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Happened {
    /// When.
    pub activity: Activity,
    /// Names, by [`stackvm_timeline::ActorId`].
    pub actors: Vec<String>,
}

impl Happened {
    /// Who typed last in a bin.
    pub fn typist(&self, bin: &Bin) -> Option<&str> {
        bin.typist.map(|actor| self.actors.get(usize::from(actor.0)).map_or("", String::as_str))
    }
}

/// Something that people did at a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deed {
    /// When.
    pub at: Instant,
    /// Who.
    pub who: String,
    /// What.
    pub what: Done,
}

/// What somebody did.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Done {
    /// They ended a line with Enter.
    Entered {
        /// On which terminal.
        console: ConsoleId,
        /// The line as it was shown, what a shell asks with included.
        line: String,
    },
    /// They gave the instant a name.
    Marked {
        /// The name.
        name: String,
    },
}

/// What a terminal showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// When: the instant nearest to the one asked for.
    pub at: Instant,
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// Control sequences that draw it on an empty terminal of this size, whatever the guest wrote.
    pub draw: String,
    /// The same as text, without the blanks at the lines' ends.
    pub text: Vec<String>,
}

impl Machines {
    /// Has a machine that runs write what it showed so far, so that it can be looked at. One that
    /// does not run has written everything.
    ///
    /// # Errors
    /// [`MachinesError::Unknown`], and those of its control socket.
    pub fn write_shown(&self, id: &str) -> Result<(), MachinesError> {
        let (journal, lab) = (self.journal(id), self.connect(id));
        if matches!(journal, Err(MachinesError::NoPast(_)))
            || matches!(lab, Err(MachinesError::NotRunning(_)))
        {
            return Ok(());
        }
        let (journal, mut lab) = (journal?, lab?);
        lab.call(Command::Recording { journal, action: RecordingAction::Flush })?;
        Ok(())
    }

    /// What a terminal of a kept machine showed at the nearest instant that there is.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn picture(
        &self,
        id: &str,
        console: ConsoleId,
        at: Instant,
    ) -> Result<Picture, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let (begin, end) = (timeline.begin(BranchId::TRUNK), timeline.branch(BranchId::TRUNK).end);
        let at = at.max(begin).min(end);
        let screen = timeline.picture(BranchId::TRUNK, console, at)?;
        let (columns, rows) = screen.size();
        Ok(Picture { at, columns, rows, draw: screen.dump(), text: screen.text() })
    }

    /// When a kept machine did something, from an instant on; `None` for one that was never on.
    ///
    /// # Errors
    /// [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn happened(&self, id: &str, from: Instant) -> Result<Option<Happened>, MachinesError> {
        let journal = match self.journal(id) {
            Err(MachinesError::NoPast(_)) => return Ok(None),
            journal => journal?,
        };
        let timeline = Timeline::open(&journal)?;
        let activity = timeline.activity(BranchId::TRUNK, from)?;
        Ok(Some(Happened { activity, actors: timeline.actors().to_vec() }))
    }

    /// The last things that people did at a kept machine from an instant on, at most so many; in
    /// order. None for one that was never on.
    ///
    /// # Errors
    /// [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn deeds(
        &self,
        id: &str,
        from: Instant,
        deeds_max: usize,
    ) -> Result<Vec<Deed>, MachinesError> {
        let journal = match self.journal(id) {
            Err(MachinesError::NoPast(_)) => return Ok(Vec::new()),
            journal => journal?,
        };
        let timeline = Timeline::open(&journal)?;
        let entered = timeline.entered(BranchId::TRUNK, from, deeds_max)?;
        let entered = entered.into_iter().map(|entered| Deed {
            at: entered.at,
            who: timeline.actor(entered.actor).to_owned(),
            what: Done::Entered { console: entered.console, line: entered.line },
        });
        let marked = self.markers(id)?.into_iter().filter(|marker| marker.at >= from);
        let marked = marked.map(|marker| Deed {
            at: marker.at,
            who: marker.author,
            what: Done::Marked { name: marker.name },
        });
        let mut deeds: Vec<Deed> = entered.chain(marked).collect();
        deeds.sort_by_key(|deed| deed.at);
        deeds.drain(..deeds.len().saturating_sub(deeds_max));
        Ok(deeds)
    }

    /// The markers of a kept machine, by instant.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn markers(&self, id: &str) -> Result<Vec<Marker>, MachinesError> {
        if !self.spec(id)?.lifetime.is_kept() {
            return Err(MachinesError::NoPast(id.to_owned()));
        }
        let journal = self.machine_folder(id).join(JOURNAL_FOLDER);
        if !journal.is_dir() {
            // It has only just begun.
            return Ok(Vec::new());
        }
        let notes = stackvm_timeline::journal::read_notes(&journal)?;
        let marker = |note: stackvm_timeline::note::Note| match note.words {
            Words::Mark(name) => Some(Marker { name, author: note.author, at: note.at }),
            Words::Comment(_) => None,
        };
        let mut markers: Vec<Marker> = notes.into_iter().filter_map(marker).collect();
        markers.sort_by_key(|marker| marker.at);
        Ok(markers)
    }

    /// How far a machine that is kept has come, whether it runs or not; `None` for one that was
    /// never on.
    ///
    /// # Errors
    /// [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn reached(&self, id: &str) -> Result<Option<Instant>, MachinesError> {
        match self.journal(id) {
            Ok(journal) => Ok(Some(Timeline::open(&journal)?.branch(BranchId::TRUNK).end)),
            Err(MachinesError::NoPast(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What a machine called `name` is that goes on from an instant of another's past, as a fresh
    /// fork with a journal of its own; [`Machines::create`] makes and starts it. The other does not
    /// notice.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Never`], [`MachinesError::Journal`],
    /// [`MachinesError::Unknown`].
    pub fn branch_spec(
        &self,
        id: &str,
        at: Instant,
        name: &str,
    ) -> Result<MachineSpec, MachinesError> {
        let journal = self.journal(id)?;
        let timeline = Timeline::open(&journal)?;
        let (begin, end) = (timeline.begin(BranchId::TRUNK), timeline.branch(BranchId::TRUNK).end);
        if at < begin || at > end {
            return Err(MachinesError::Never { id: id.to_owned(), at, begin, end });
        }
        let fresh = MachineSpec::new(name, self.spec(id)?.source);
        Ok(MachineSpec {
            name: fresh.name,
            label: None,
            lifetime: Lifetime::Named,
            // Host ports are the other's.
            forwards: Vec::new(),
            record: None,
            seed: None,
            rtc_ns: None,
            start: StartFrom::Moment { journal, at_ticks: at.ticks(), until_ticks: None },
            created_unix_s: fresh.created_unix_s,
            ..self.spec(id)?
        })
    }

    /// What a machine called `name` is that is a recording of another from one instant until
    /// another; [`Machines::freeze`] makes it. What was printed in the moment in which it begins is
    /// on its first picture.
    ///
    /// # Errors
    /// As [`Machines::branch_spec`].
    pub fn recording_spec(
        &self,
        id: &str,
        from: Instant,
        until: Instant,
        name: &str,
    ) -> Result<MachineSpec, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let begin = timeline.slice_end(from)?;
        let mut spec = self.branch_spec(id, begin, name)?;
        let end = timeline.branch(BranchId::TRUNK).end;
        if until < begin || until > end {
            return Err(MachinesError::Never { id: id.to_owned(), at: until, begin, end });
        }
        if let StartFrom::Moment { until_ticks, .. } = &mut spec.start {
            *until_ticks = Some(until.ticks());
        }
        Ok(spec)
    }

    /// Makes a machine of [`Machines::branch_spec`]'s that stays as it was at that instant, or of
    /// [`Machines::recording_spec`]'s: what is needed of the other's journal is in its own, so the
    /// other may be removed.
    ///
    /// # Errors
    /// As [`Machines::create`].
    pub fn freeze(&self, spec: &MachineSpec) -> Result<(), MachinesError> {
        let spec = MachineSpec {
            lifetime: Lifetime::Frozen,
            // It is nobody's neighbour.
            network: Network::None,
            ..spec.clone()
        };
        // Its lab computes the state, writes it, and ends by itself.
        self.create(&spec)?;
        let end = WallInstant::now() + FREEZE_LIMIT;
        loop {
            match self.get(&spec.name)?.status {
                Status::Saved => return Ok(()),
                Status::Running if WallInstant::now() < end => std::thread::sleep(FREEZE_LOOK),
                status => {
                    let log = std::fs::read_to_string(self.log(&spec.name)).unwrap_or_default();
                    // The error at hand says more than one of cleaning up would.
                    let _ = self.remove(&spec.name);
                    return Err(MachinesError::Died { status: format!("{status:?}"), log });
                }
            }
        }
    }

    /// What a machine called `name` is that is a recording of a `.vmcast` from somebody else;
    /// [`Machines::import`] makes it.
    pub fn import_spec(file: &Path, name: &str, label: Option<String>) -> MachineSpec {
        let source = Source::Journal { label: name.to_owned() };
        let start = StartFrom::Moment {
            journal: file.to_owned(),
            at_ticks: 0,
            until_ticks: Some(u64::MAX),
        };
        MachineSpec { label, lifetime: Lifetime::Frozen, start, ..MachineSpec::new(name, source) }
    }

    /// Makes a machine of [`Machines::import_spec`]'s. The file is believed nothing: its lab is
    /// locked in before it opens it. It is not needed afterwards.
    ///
    /// # Errors
    /// [`MachinesError::Import`] says what is wrong with it; or another of [`MachinesError`].
    pub fn import(&self, spec: &MachineSpec) -> Result<(), MachinesError> {
        self.freeze(spec).map_err(|error| match error {
            MachinesError::Start(words) => MachinesError::Import(words),
            error => error,
        })?;
        let placed = self.place_import(&spec.name).and_then(|()| {
            let timeline = Timeline::open(&self.journal(&spec.name)?)?;
            let header = timeline.header();
            let label = header.label.chars().filter(|c| !c.is_control()).collect();
            let (memory_bytes, harts) = (Some(header.memory_bytes), header.harts);
            let source = Source::Journal { label };
            let spec = MachineSpec { memory_bytes, harts, source, ..spec.clone() };
            self.write_spec(&spec, SPEC_FILE)
        });
        if placed.is_err() {
            // The error at hand says more than one of cleaning up would.
            let _ = self.remove(&spec.name);
        }
        placed
    }

    /// Puts a journal where it belongs that a lab has made, which could write nothing else.
    fn place_import(&self, name: &str) -> Result<(), MachinesError> {
        let folder = self.existing_folder(name)?;
        let (import, journal) = (folder.join(IMPORT_FOLDER), folder.join(JOURNAL_FOLDER));
        let placed = std::fs::rename(import.join(JOURNAL_FOLDER), &journal);
        placed.map_err(io_error("place", &journal))?;
        // What else is there is of no use.
        let _ = std::fs::remove_dir_all(&import);
        Ok(())
    }

    /// Starts a machine called `name` that holds a moment in memory, for [`Machines::visit`].
    ///
    /// # Errors
    /// As [`Machines::branch_spec`] and [`Machines::create`].
    pub fn hold(&self, moment: &str, name: &str) -> Result<(), MachinesError> {
        let at = self.reached(moment)?.ok_or_else(|| MachinesError::NoPast(moment.to_owned()))?;
        let spec = self.branch_spec(moment, at, name)?;
        let (lifetime, network) = (Lifetime::Held, Network::None);
        self.create(&MachineSpec { lifetime, network, ..spec }).map(drop)
    }

    /// Forks a machine that holds a moment: `name` is a machine of its own that vanishes when it
    /// stops, reaches no network, and may use so many hundredths of a core; it counts as made then,
    /// in seconds since 1970.
    ///
    /// # Errors
    /// As [`Machines::fork`].
    pub fn visit(
        &self,
        held: &str,
        name: &str,
        cpu_percent: u8,
        created_unix_s: u64,
    ) -> Result<Started, MachinesError> {
        let spec = MachineSpec {
            name: name.to_owned(),
            lifetime: Lifetime::Ephemeral,
            cpu_percent: Some(cpu_percent),
            start: StartFrom::Cold,
            created_unix_s,
            ..self.spec(held)?
        };
        self.fork(held, &spec, ForkKind::Fresh)
    }

    pub(super) fn journal(&self, id: &str) -> Result<std::path::PathBuf, MachinesError> {
        let journal = self.existing_folder(id)?.join(JOURNAL_FOLDER);
        match journal.is_dir() {
            true => Ok(journal),
            false => Err(MachinesError::NoPast(id.to_owned())),
        }
    }
}
