//! A kept machine's past: names of instants, and machines that go on from them. Both only read its
//! journal, which may grow meanwhile: what is durable counts.

use stackvm_machine::Instant;
use stackvm_timeline::note::Words;
use stackvm_timeline::{BranchId, Timeline};

use super::{JOURNAL_FOLDER, Lifetime, MachineSpec, Machines, MachinesError, StartFrom};

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

impl Machines {
    /// The markers of a kept machine, by instant.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn markers(&self, id: &str) -> Result<Vec<Marker>, MachinesError> {
        if self.spec(id)?.lifetime == Lifetime::Ephemeral {
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
            start: StartFrom::Moment { journal, at_ticks: at.ticks() },
            created_unix_s: fresh.created_unix_s,
            ..self.spec(id)?
        })
    }

    fn journal(&self, id: &str) -> Result<std::path::PathBuf, MachinesError> {
        let journal = self.existing_folder(id)?.join(JOURNAL_FOLDER);
        match journal.is_dir() {
            true => Ok(journal),
            false => Err(MachinesError::NoPast(id.to_owned())),
        }
    }
}
