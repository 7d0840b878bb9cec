//! States kept in memory, so that later seeks near them are quick. Owns which to keep: as evenly
//! spread over the work between them as fits the budget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use stackvm_machine::memory::PAGE_BYTES;
use stackvm_machine::{Frozen, Instant};

use crate::branch::BranchId;
use crate::screen::Derived;

/// Most states.
const STATES_MAX: usize = 256;
/// Most bytes of RAM pages, unless it is said otherwise.
const BYTES_MAX: u64 = 1 << 30;

/// Where a state is: on one branch they are in the order of time.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place {
    pub(super) branch: BranchId,
    pub(super) at: Instant,
    pub(super) entries: u64,
}

/// A state in memory.
#[derive(Clone)]
pub(super) struct State {
    pub(super) place: Place,
    pub(super) frozen: Frozen,
    pub(super) derived: Arc<Derived>,
    /// The timeline's keyframe that it is, if it is one, by index.
    pub(super) keyframe: Option<usize>,
    /// The last keyframe at which the replay was known to be right.
    pub(super) fine_until: Instant,
}

/// The states in memory.
pub(super) struct KeptStates {
    states: BTreeMap<Place, State>,
    bytes_max: u64,
}

impl Default for KeptStates {
    fn default() -> KeptStates {
        KeptStates { states: BTreeMap::new(), bytes_max: BYTES_MAX }
    }
}

/// What keeping a state did.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// It is there.
    Fine,
    /// The budget was spent and most were let go; the machine itself should give back memory.
    Spent,
}

impl KeptStates {
    pub(super) fn keep_at_most(&mut self, bytes: u64) {
        self.bytes_max = bytes;
    }

    pub(super) fn insert(&mut self, state: State) -> Kept {
        self.states.insert(state.place, state);
        while self.states.len() > STATES_MAX {
            self.drop_the_least_useful();
        }
        if self.bytes() <= self.bytes_max {
            return Kept::Fine;
        }
        // States share the segments of memory that their pages are in, so dropping a few frees
        // little: only those that were read stay.
        self.states.retain(|_, state| state.keyframe.is_some());
        if self.bytes() > self.bytes_max {
            self.states.clear();
        }
        Kept::Spent
    }

    /// The last state on a branch that is not after a place.
    pub(super) fn last_before(&self, place: Place) -> Option<&State> {
        let from = Place { branch: place.branch, at: Instant::ZERO, entries: 0 };
        self.states.range(from..=place).next_back().map(|(_, state)| state)
    }

    /// The state read from the keyframe that is nearest to one, by index.
    pub(super) fn nearest_keyframe(&self, keyframe: usize) -> Option<&State> {
        let read = self.states.values().filter(|state| state.keyframe.is_some());
        read.min_by_key(|state| state.keyframe.expect("filtered").abs_diff(keyframe))
    }

    /// Forgets what was computed and not read: on the way to a state that was not recorded.
    pub(super) fn forget_computed_after(&mut self, fine_until: Instant) {
        self.states.retain(|place, state| state.keyframe.is_some() || place.at <= fine_until);
    }

    /// Bytes of the segments of memory that any of them refers to.
    fn bytes(&self) -> u64 {
        let segments: BTreeMap<*const _, usize> = self
            .states
            .values()
            .flat_map(|state| state.frozen.ram().segments())
            .map(|segment| (Arc::as_ptr(segment), segment.pages()))
            .collect();
        segments.values().map(|&pages| (pages * PAGE_BYTES) as u64).sum()
    }

    /// Drops the one that leaves the smallest gap of work between its neighbours.
    fn drop_the_least_useful(&mut self) {
        let places: Vec<(Place, u64)> =
            self.states.values().map(|state| (state.place, state.frozen.retired())).collect();
        let branches: BTreeSet<BranchId> = places.iter().map(|(place, _)| place.branch).collect();
        let gap = |at: usize| {
            let (place, _) = places[at];
            let (before, after) = (at.checked_sub(1).map(|at| places[at]), places.get(at + 1));
            match (before, after) {
                (Some((first, start)), Some(&(last, end)))
                    if first.branch == place.branch && last.branch == place.branch =>
                {
                    // A reset between them counts anew: then they are far from each other.
                    end.checked_sub(start).unwrap_or(u64::MAX / 2)
                }
                _ => u64::MAX,
            }
        };
        let least = (0..places.len()).min_by_key(|&at| gap(at)).expect("there are too many");
        debug_assert!(!branches.is_empty());
        self.states.remove(&places[least].0);
    }
}
