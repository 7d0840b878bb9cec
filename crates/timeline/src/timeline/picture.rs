//! What terminals showed and when something happened: from the output track and the inputs,
//! without a replay. Whoever drags through an hour is shown this; the exact state is a replay's.

use std::collections::{BTreeMap, VecDeque};

use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Input, Instant};
use stackvm_store::tree;

use super::{OpenError, Timeline, blocks};
use crate::branch::BranchId;
use crate::event::{ActorId, Entry, Event};
use crate::keyframe::Keyframe;
use crate::limits::DERIVED_BYTES_MAX;
use crate::screen::{DEFAULT_SIZE, Derived, Screen};
use crate::track::{TrackEvent, TrackItem};

/// Most bins in an [`Activity`].
pub const BINS_MAX: usize = 1000;
/// Most instants in [`Activity::entered`].
pub const ENTERED_MAX: usize = 1000;
/// The shortest bin.
const STEP_MIN: Ticks = Ticks::from_ns(100_000_000);
/// Of a longer log, only its end is looked at: one that many frames came in by is long.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// Of a longer track, blocks count where they begin.
const TRACK_BYTES_MAX: u64 = 16 << 20;

/// When a machine did something, and when somebody typed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Activity {
    /// Where it begins: no earlier than was asked for.
    pub begin: Instant,
    /// How far the machine has come.
    pub end: Instant,
    /// The length of each bin.
    pub step: Ticks,
    /// Those in which something happened, in order.
    pub bins: Vec<Bin>,
    /// When somebody pressed Enter: the last ones, in order.
    pub entered: Vec<Instant>,
}

/// What happened within a [`Activity::step`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bin {
    /// Where it begins.
    pub at: Instant,
    /// Bytes that terminals wrote.
    pub output_bytes: u64,
    /// Bytes that people typed.
    pub typed_bytes: u64,
    /// Who typed last in it.
    pub typist: Option<ActorId>,
}

/// Pictures, and what was sent after them.
pub(crate) type Drawn =
    (BTreeMap<ConsoleId, Screen>, Box<dyn Iterator<Item = Result<TrackItem, OpenError>>>);

impl Timeline {
    /// What a terminal showed at an instant of a branch, drawn from the last keyframe before on.
    /// Outputs that no block of the track has yet are not in it.
    ///
    /// # Errors
    /// [`OpenError`] when the track or the keyframe's picture is damaged.
    pub fn picture(
        &self,
        branch: BranchId,
        console: ConsoleId,
        at: Instant,
    ) -> Result<Screen, OpenError> {
        let mut screens = self.drawn(branch, Some(console), at)?;
        Ok(screens.remove(&console).unwrap_or_else(empty))
    }

    /// What each terminal that was ever written to showed; see [`Timeline::picture`].
    ///
    /// # Errors
    /// As there.
    pub fn pictures(
        &self,
        branch: BranchId,
        at: Instant,
    ) -> Result<BTreeMap<ConsoleId, Screen>, OpenError> {
        self.drawn(branch, None, at)
    }

    fn drawn(
        &self,
        branch: BranchId,
        only: Option<ConsoleId>,
        at: Instant,
    ) -> Result<BTreeMap<ConsoleId, Screen>, OpenError> {
        let (mut screens, track) = self.drawn_before(branch, only, at)?;
        for item in track {
            let item = item?;
            if item.at > at {
                break;
            }
            if only.is_some_and(|only| item.console != only) {
                continue;
            }
            draw(&item, &mut screens);
        }
        Ok(screens)
    }

    /// What terminals showed at the last keyframe up to an instant, and what they were sent since,
    /// to the end of the branch.
    pub(crate) fn drawn_before(
        &self,
        branch: BranchId,
        only: Option<ConsoleId>,
        at: Instant,
    ) -> Result<Drawn, OpenError> {
        let keyframes = self.keyframes_of(branch);
        let before = keyframes.iter().rfind(|keyframe| keyframe.at <= at);
        let screens = self.shown_at(before, only)?;
        Ok((screens, Box::new(self.track_between(branch, before, None))))
    }

    /// What terminals were sent between two keyframes of a branch: without them, from where its
    /// track begins, and to where it ends.
    pub(crate) fn track_between(
        &self,
        branch: BranchId,
        begin: Option<&Keyframe>,
        end: Option<&Keyframe>,
    ) -> impl Iterator<Item = Result<TrackItem, OpenError>> + use<> {
        let start = begin.map_or(0, |begin| begin.track_bytes);
        self.track_within(branch, start, end.map(|end| end.track_bytes.saturating_sub(start)))
    }

    /// When something happened on a branch, from an instant on.
    ///
    /// # Errors
    /// [`OpenError`] when the log or the track is damaged.
    pub fn activity(&self, branch: BranchId, from: Instant) -> Result<Activity, OpenError> {
        let (begin, end) = (self.begin(branch).max(from), self.branch(branch).end);
        let mut bins = Bins { step: STEP_MIN, bins: BTreeMap::new() };
        let mut entered = VecDeque::new();
        for (at, bytes) in self.written(branch)? {
            if at >= begin {
                bins.at(at).output_bytes += bytes;
            }
        }
        for entry in blocks::last_entries(&self.parts.logs[branch.0 as usize], LOG_BYTES_MAX) {
            let Entry { at, actor, event } = entry?;
            if let Event::Input(Input::Console { bytes, .. }) = event
                && at >= begin
                && actor != ActorId::HOST
            {
                let bin = bins.at(at);
                bin.typed_bytes += bytes.len() as u64;
                bin.typist = Some(actor);
                if bytes.contains(&b'\r') || bytes.contains(&b'\n') {
                    entered.push_back(at);
                }
                if entered.len() > ENTERED_MAX {
                    entered.pop_front();
                }
            }
        }
        let (step, bins, entered) = (bins.step, bins.in_order(), entered.into());
        Ok(Activity { begin, end: end.max(begin), step, bins, entered })
    }

    /// What terminals showed at a keyframe; nothing where there is none.
    pub(crate) fn shown_at(
        &self,
        keyframe: Option<&Keyframe>,
        only: Option<ConsoleId>,
    ) -> Result<BTreeMap<ConsoleId, Screen>, OpenError> {
        let Some(keyframe) = keyframe else { return Ok(BTreeMap::new()) };
        let bytes = tree::read_blob(&*self.chunks(), &keyframe.derived, DERIVED_BYTES_MAX)?;
        let derived: Derived = postcard::from_bytes(&bytes).map_err(|error| {
            let problem = format!("what terminals showed at {}: {error}", keyframe.at);
            OpenError::Damaged { place: self.place().to_owned(), problem }
        })?;
        let states = derived.screens.iter();
        let wanted = states.filter(|state| only.is_none_or(|only| state.console == only));
        Ok(wanted.map(|state| (state.console, Screen::restore(state))).collect())
    }

    /// How many bytes terminals wrote, and when.
    fn written(&self, branch: BranchId) -> Result<Vec<(Instant, u64)>, OpenError> {
        let parts = &self.parts.tracks[branch.0 as usize];
        if parts.iter().map(|part| part.end - part.start).sum::<u64>() > TRACK_BYTES_MAX {
            return blocks::track_blocks(parts);
        }
        let mut written = Vec::new();
        for item in blocks::track(parts.clone()) {
            let item = item?;
            if let TrackEvent::Output(bytes) = item.event {
                written.push((item.at, bytes.len() as u64));
            }
        }
        Ok(written)
    }
}

/// Shows on its terminal what a track says of it.
pub(crate) fn draw(item: &TrackItem, screens: &mut BTreeMap<ConsoleId, Screen>) {
    let screen = screens.entry(item.console).or_insert_with(empty);
    match &item.event {
        TrackEvent::Output(bytes) => screen.feed(bytes),
        TrackEvent::Resize { columns, rows } => screen.resize(*columns, *rows),
    }
}

pub(super) fn empty() -> Screen {
    Screen::new(DEFAULT_SIZE.0, DEFAULT_SIZE.1)
}

/// Bins by number; when there are too many, each becomes twice as long.
struct Bins {
    step: Ticks,
    bins: BTreeMap<u64, Bin>,
}

impl Bins {
    fn at(&mut self, at: Instant) -> &mut Bin {
        if self.bins.len() >= BINS_MAX {
            self.widen();
        }
        let number = at.ticks() / self.step.get();
        let at = Instant::from_ticks(number * self.step.get());
        self.bins.entry(number).or_insert(Bin { at, ..Bin::default() })
    }

    fn widen(&mut self) {
        self.step = Ticks::new(self.step.get() * 2);
        for (number, bin) in std::mem::take(&mut self.bins) {
            let number = number / 2;
            let at = Instant::from_ticks(number * self.step.get());
            let wide = self.bins.entry(number).or_insert(Bin { at, ..Bin::default() });
            wide.output_bytes += bin.output_bytes;
            wide.typed_bytes += bin.typed_bytes;
            wide.typist = bin.typist.or(wide.typist);
        }
    }

    fn in_order(self) -> Vec<Bin> {
        self.bins.into_values().collect()
    }
}

#[cfg(test)]
mod tests;
