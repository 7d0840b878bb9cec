//! Which machines go on from which: what their specs say of it, and the last that was done at one.
//! Making such machines is `past`'s, drawing them their readers'.

use stackvm_machine::Instant;

use super::{Done, Lifetime, MachineSpec, Machines, MachinesError, Source, StartFrom};

/// So many things that people did last are looked through for one that says something.
const DEEDS: usize = 10;

impl MachineSpec {
    /// The machine that this one was, and until when, if its past begins in another's.
    pub fn branch_of(&self) -> Option<(String, Instant)> {
        let StartFrom::Moment { journal, at_ticks, .. } = &self.start else { return None };
        if matches!(self.source, Source::Journal { .. }) && self.is_recording() {
            // It came from elsewhere.
            return None;
        }
        let id = journal.parent()?.file_name()?.to_str()?;
        Some((id.to_owned(), Instant::from_ticks(*at_ticks)))
    }

    /// The instant at which it leaves another machine, if its past begins in that one's. What is
    /// older than the other goes on from an earlier machine of that name.
    pub fn leaves(&self, other: &MachineSpec) -> Option<Instant> {
        let (of, at) = self.branch_of()?;
        (of == other.name && self.created_unix_s >= other.created_unix_s).then_some(at)
    }

    /// Whether it is a recording: it never runs, and has a past.
    pub fn is_recording(&self) -> bool {
        self.recorded_until().is_some()
    }

    /// Where it ends, if it is a recording; of one from somebody else its journal says that.
    pub fn recorded_until(&self) -> Option<Instant> {
        let StartFrom::Moment { until_ticks, .. } = &self.start else { return None };
        until_ticks.filter(|_| self.lifetime == Lifetime::Frozen).map(Instant::from_ticks)
    }
}

impl Machines {
    /// The last line that somebody entered at a kept machine from an instant on, as it was shown;
    /// `None` if nobody did lately.
    ///
    /// # Errors
    /// As [`Machines::deeds`].
    pub fn last_entered(&self, id: &str, from: Instant) -> Result<Option<String>, MachinesError> {
        let deeds = self.deeds(id, from, DEEDS)?;
        Ok(deeds.into_iter().rev().find_map(|deed| match deed.what {
            Done::Entered { line, .. } => Some(line),
            Done::Marked { .. } => None,
        }))
    }
}
