//! To any place: from the best state before it, then forward.

use std::sync::Arc;

use stackvm_machine::Machine;
use stackvm_machine::persist::StateTrees;

use super::config::Configuration;
use super::kept::{KeptStates, Place, State};
use super::path::Path;
use super::run::{Goal, Pace, advance, keep};
use super::{Replay, ReplayError, Sought};
use crate::keyframe::{self, KeyframeError, Near};
use crate::position::Position;
use crate::screen::Screens;
use crate::timeline::{OpenError, Timeline};

/// Work that is rather done than a state in memory begun from, in instructions.
const THAW_WORK: u64 = 1_000_000;
/// Work that is rather done than a keyframe read.
const READ_WORK: u64 = 20_000_000;

/// See [`Replay::seek_while`].
pub(super) fn seek(
    replay: &mut Replay,
    to: Position,
    is_wanted: &mut dyn FnMut() -> bool,
) -> Result<Sought, ReplayError> {
    let path = Path::new(replay.timeline.clone(), to.branch);
    // Nothing is before the recording.
    let to = Position { at: to.at.max(replay.timeline.begin(to.branch)), ..to };
    let goal = Target::new(&path, to);
    let here = replay.position();
    // A place on the old path is one on the new path if the branches are.
    let here = Place { branch: here.branch, at: here.at, entries: here.entries.unwrap_or(0) };
    replay.path = path;
    let stay = goal.reaches(&replay.path, here);
    loop {
        match best_start(replay, &goal, stay.then_some(here)) {
            Start::Here => {
                replay.path.go_to(here.branch, here.entries);
                break;
            }
            Start::Kept(place) => {
                let state = replay.kept.last_before(place).expect("just found").clone();
                begin_from(replay, &state);
                break;
            }
            Start::Keyframe(index) => {
                let first = replay.path.first_keyframe()?;
                let Replay { timeline, configuration, trees, kept, .. } = replay;
                match load(timeline, configuration, trees, kept, index) {
                    Ok(state) => {
                        begin_from(replay, &state);
                        break;
                    }
                    // All but the first ones are a cache: an earlier one will do.
                    Err(_) if index != first => replay.distrusted.push(index),
                    Err(error) => return Err(error),
                }
            }
        }
    }
    while advance(replay, goal.goal(), Pace::Blind, &mut |_, _| {})?.is_none() {
        if !is_wanted() {
            // Whoever comes back for it finds this much done.
            keep(replay);
            return Ok(Sought::GivenUp);
        }
    }
    Ok(Sought::There)
}

/// The state of the last keyframe before a place that can be read, and those after it, by index,
/// that cannot.
pub(super) fn first_state(
    path: &Path,
    timeline: &Timeline,
    configuration: &Configuration,
    trees: &mut StateTrees,
    kept: &mut KeptStates,
    to: Position,
) -> Result<(State, Vec<usize>), ReplayError> {
    let to = Position { at: to.at.max(timeline.begin(to.branch)), ..to };
    let goal = Target::new(path, to);
    let first = path.first_keyframe()?;
    let mut distrusted = Vec::new();
    loop {
        let best = last_keyframe(path, timeline, &goal, &distrusted);
        let index = best.map_or(first, |(index, _)| index);
        match load(timeline, configuration, trees, kept, index) {
            Ok(state) => return Ok((state, distrusted)),
            // All but the first ones are a cache: an earlier one will do.
            Err(_) if index != first => distrusted.push(index),
            Err(error) => return Err(error),
        }
    }
}

/// The last keyframe that is on the way to a target, by index.
fn last_keyframe<'a>(
    path: &Path,
    timeline: &'a Timeline,
    target: &Target,
    distrusted: &[usize],
) -> Option<(usize, &'a keyframe::Keyframe)> {
    let keyframes = timeline.keyframes().iter().enumerate();
    let usable = keyframes.filter(|(index, keyframe)| {
        !distrusted.contains(index) && target.reaches(path, place_of(keyframe))
    });
    usable.max_by_key(|(_, keyframe)| order(path, place_of(keyframe)))
}

/// Places of a path in the order in which a replay comes to them.
fn order(path: &Path, place: Place) -> (Option<usize>, stackvm_machine::Instant, u64) {
    (path.part_of(place.branch), place.at, place.entries)
}

/// Where a seek begins.
enum Start {
    Here,
    Kept(Place),
    Keyframe(usize),
}

/// The place to go to, on its path.
struct Target {
    to: Position,
    part: usize,
    /// Of the part's entries; `None` is all until then.
    entries: Option<u64>,
}

impl Target {
    fn new(path: &Path, to: Position) -> Target {
        let parts = path.parts();
        let last = parts.len() - 1;
        // Before its fork point a branch is its ancestors.
        let part = (0..last).find(|&part| to.at < parts[part].at).unwrap_or(last);
        let entries = to.entries.filter(|_| part == last).map(|n| n.min(path.limit(last)));
        Target { to, part, entries }
    }

    fn goal(&self) -> Goal {
        match self.entries {
            Some(entries) => Goal::with_entries(self.to.at, self.part, entries),
            None => Goal::all_until(self.to.at),
        }
    }

    /// Whether the target is reached by going forward from a place.
    fn reaches(&self, path: &Path, from: Place) -> bool {
        let Some(part) = path.part_of(from.branch) else { return false };
        let in_path = from.at <= path.parts()[part].at && from.entries <= path.limit(part);
        let before = part < self.part
            || part == self.part && self.entries.is_none_or(|entries| from.entries <= entries);
        in_path && before && from.at <= self.to.at
    }
}

fn best_start(replay: &Replay, target: &Target, here: Option<Place>) -> Start {
    let path = &replay.path;
    let order = |place: Place| order(path, place);
    let keyframe = last_keyframe(path, &replay.timeline, target, &replay.distrusted);
    let kept = (0..=target.part)
        .rev()
        .filter_map(|part| {
            let Position { branch, at, .. } = path.parts()[part];
            let limit = path.limit(part);
            let entries = if part == target.part { target.entries.unwrap_or(limit) } else { limit };
            // At the last instant some may have too many entries.
            let mut place = Place { branch, at: at.min(target.to.at), entries };
            loop {
                let state = replay.kept.last_before(place)?;
                if target.reaches(path, state.place) {
                    return Some(state);
                }
                place = before(state.place)?;
            }
        })
        .next();
    let retired = replay.machine.retired();
    let ahead = |work_until: u64, worth: u64| {
        // After a reset instructions count anew: then nobody knows how far it is.
        here.is_none() || work_until.checked_sub(retired).is_none_or(|work| work > worth)
    };
    let here_order = here.map(order);
    let kept = kept.filter(|state| {
        Some(order(state.place)) > here_order && ahead(state.frozen.retired(), THAW_WORK)
    });
    let keyframe = keyframe.filter(|(_, keyframe)| match &kept {
        Some(state) => {
            let work = keyframe.retired.checked_sub(state.frozen.retired());
            let is_later = order(place_of(keyframe)) > order(state.place);
            is_later && work.is_none_or(|work| work > READ_WORK)
        }
        None => Some(order(place_of(keyframe))) > here_order && ahead(keyframe.retired, READ_WORK),
    });
    match (keyframe, kept) {
        (Some((index, _)), _) => Start::Keyframe(index),
        (None, Some(state)) => Start::Kept(state.place),
        (None, None) => {
            assert!(here.is_some(), "the first keyframe is before every place");
            Start::Here
        }
    }
}

/// The place right before another one of the same branch, in their order.
fn before(place: Place) -> Option<Place> {
    match place.entries.checked_sub(1) {
        Some(entries) => Some(Place { entries, ..place }),
        None => {
            let at = place.at.ticks().checked_sub(1)?;
            let at = stackvm_machine::Instant::from_ticks(at);
            Some(Place { at, entries: u64::MAX, ..place })
        }
    }
}

fn place_of(keyframe: &keyframe::Keyframe) -> Place {
    Place { branch: keyframe.branch, at: keyframe.at, entries: keyframe.entries }
}

pub(super) fn begin_from(replay: &mut Replay, state: &State) {
    replay.machine = Machine::thaw(&state.frozen);
    replay.machine.watch(replay.watching.clone());
    replay.screens = Screens::from_derived(&state.derived);
    replay.path.go_to(state.place.branch, state.place.entries);
    replay.fine_until = state.fine_until;
    replay.unkept_work = 0;
}

/// Reads a keyframe, by index, and keeps its state.
pub(super) fn load(
    timeline: &Timeline,
    configuration: &Configuration,
    trees: &mut StateTrees,
    kept: &mut KeptStates,
    index: usize,
) -> Result<State, ReplayError> {
    let keyframes = timeline.keyframes();
    let keyframe = &keyframes[index];
    let near = kept.nearest_keyframe(index).cloned();
    let near = near.as_ref().map(|state| Near {
        keyframe: &keyframes[state.keyframe.expect("it was read")],
        frozen: &state.frozen,
    });
    let chunks = timeline.chunks();
    let loaded = keyframe::load(configuration.shape(), chunks.as_ref(), keyframe, near, trees);
    let (frozen, derived) = loaded.map_err(|error| match error {
        KeyframeError::Chunks(error) => ReplayError::Open(OpenError::Chunks(error)),
        error => ReplayError::Keyframe { at: keyframe.at, error },
    })?;
    let state = State {
        place: place_of(keyframe),
        fine_until: frozen.instant(),
        frozen,
        derived: Arc::new(derived),
        keyframe: Some(index),
    };
    kept.insert(state.clone());
    Ok(state)
}
