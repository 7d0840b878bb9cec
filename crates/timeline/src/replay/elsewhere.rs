//! The first keyframe of a timeline that begins where a replay is: another machine's, that goes on
//! from there with a journal of its own. Chunks that are in packs already are not written again.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use stackvm_machine::persist::StateTrees;
use stackvm_store::tree::{self, Descend};
use stackvm_store::{Chunks, Digest, PackError, PackSet, ReadError, Tree};

use super::Replay;
use crate::branch::BranchId;
use crate::keyframe::{Job, Keyframe, KeyframerError, Place, write_alone};

/// More than any writer puts on top of each other.
const DIFFERENCES_MAX: u32 = 64;

/// A keyframe for a new journal.
pub struct FirstKeyframe {
    /// The keyframe.
    pub keyframe: Keyframe,
    /// Packs that have its chunks: that of the replay's timeline, and the new one.
    pub packs: Vec<PathBuf>,
    /// Hashes of its state.
    pub trees: StateTrees,
}

impl Replay {
    /// Writes what the packs in the timeline's folder lack of the state here into a new pack at
    /// `pack`.
    ///
    /// # Errors
    /// See [`KeyframerError`]; nothing is left behind.
    pub fn first_keyframe(&mut self, pack: &Path) -> Result<FirstKeyframe, KeyframerError> {
        let place = Place { branch: BranchId::TRUNK, entries: 0, track_bytes: 0 };
        let (frozen, derived) = (self.machine.freeze(), self.screens.derived());
        let job = Job { frozen, derived, place, pack: pack.to_owned() };
        let used = Used {
            folder: PathBuf::from(self.timeline.place()),
            packs: self.timeline.packs(),
            numbers: Mutex::default(),
        };
        // What the header keeps is in none of the state's trees.
        for tree in self.timeline.header().stored() {
            used.take_all(&tree)?;
        }
        let (finished, trees) = write_alone(&job, self.trees.clone(), &used)?;
        let numbers = used.numbers.into_inner().unwrap_or_else(PoisonError::into_inner);
        let all = used.packs.packs();
        let mut packs: Vec<PathBuf> =
            numbers.into_iter().map(|number| PathBuf::from(all[number].place())).collect();
        packs.push(pack.to_owned());
        Ok(FirstKeyframe { keyframe: finished.keyframe, packs, trees })
    }
}

/// The chunks of packs that are files of their own in a folder, and which of those were used.
#[derive(Debug)]
struct Used {
    folder: PathBuf,
    packs: PackSet,
    numbers: Mutex<BTreeSet<usize>>,
}

impl Used {
    /// Takes all of a tree that the packs have.
    fn take_all(&self, tree: &Tree) -> Result<(), KeyframerError> {
        let taken = tree::visit_nodes(&self.packs, tree, &mut |id| {
            self.take(id, DIFFERENCES_MAX);
            Ok(Descend::Yes)
        });
        taken.map_err(|error| KeyframerError::Write(PackError::Read(error)))
    }

    /// Whether a chunk is there, with all that is needed for reading it: a node may be kept as its
    /// difference from another, and that again, so many times. (The timeline may be an enemy's.)
    fn take(&self, id: &Digest, differences: u32) -> bool {
        let all = self.packs.packs();
        let own = |number: &usize| {
            let place = Path::new(all[*number].place());
            place.parent() == Some(&self.folder) && place.is_file()
        };
        let holders = self.packs.holders(id);
        let holder = {
            let numbers = self.numbers.lock().unwrap_or_else(PoisonError::into_inner);
            let used = holders.iter().find(|number| numbers.contains(number));
            used.or_else(|| holders.iter().find(|number| own(number))).copied()
        };
        let Some(holder) = holder else { return false };
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner).insert(holder);
        let Ok(bases) = self.packs.bases(id) else { return false };
        bases.iter().all(|base| differences > 0 && self.take(base, differences - 1))
    }
}

impl Chunks for Used {
    fn get(&self, id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        self.packs.get(id)
    }

    fn contains(&self, id: &Digest) -> bool {
        self.take(id, DIFFERENCES_MAX)
    }
}
