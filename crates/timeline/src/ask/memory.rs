//! Who stored to an address, and when.

use std::ops::Range;

use stackvm_machine::{Instant, WatchedStore};

use crate::branch::BranchId;
use crate::position::Position;
use crate::replay::{Replay, ReplayError};

/// A store to the range that was asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Store {
    /// The first place at which it is done.
    pub at: Position,
    /// By whom, where, from what to what.
    pub store: WatchedStore,
}

/// Replays a branch's path and tells `visit` of every store into `range` of the physical
/// addresses, in order; it may say stop. `progress` is told how far it is now and then. `replay`
/// is somewhere else afterwards.
///
/// # Errors
/// See [`ReplayError`].
pub fn stores(
    replay: &mut Replay,
    branch: BranchId,
    range: Range<u64>,
    visit: &mut dyn FnMut(Store) -> bool,
    progress: &mut dyn FnMut(Instant) -> bool,
) -> Result<(), ReplayError> {
    let begin = replay.timeline().begin(branch);
    replay.seek(Position { branch, at: begin, entries: None })?;
    replay.watch(range);
    let result = watch_to_end(replay, visit, progress);
    replay.watch(0..0);
    result
}

fn watch_to_end(
    replay: &mut Replay,
    visit: &mut dyn FnMut(Store) -> bool,
    progress: &mut dyn FnMut(Instant) -> bool,
) -> Result<(), ReplayError> {
    loop {
        let stores = replay.run_watched()?;
        if stores.is_empty() {
            return Ok(());
        }
        let at = replay.position();
        for store in stores {
            if !visit(Store { at, store }) {
                return Ok(());
            }
        }
        if !progress(at.at) {
            return Ok(());
        }
    }
}
