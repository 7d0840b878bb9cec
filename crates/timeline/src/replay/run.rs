//! Forward: the machine runs, and what was put in is put in again.

use std::sync::Arc;

use stackvm_machine::instant::Ticks;
use stackvm_machine::{Instant, Output, Stop};

use super::kept::{Kept, Place, State};
use super::{Reached, Replay, ReplayError, verify};
use crate::event::Event;

/// Work between two states that are kept in memory, in instructions: about 0.2 s of a core.
const KEEP_EVERY: u64 = 20_000_000;

/// Where to run to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Goal {
    until: Instant,
    /// Part of the path, and how many of its entries are put in. `None` is all until then.
    entries: Option<(usize, u64)>,
}

/// Who is interested in what happens on the way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pace {
    /// Somebody watches: outputs come in slices of a millisecond, keyframes are compared.
    Watched,
    /// Nobody.
    Blind,
}

impl Pace {
    fn slice(self) -> Ticks {
        match self {
            Pace::Watched => Ticks::from_ns(1_000_000),
            Pace::Blind => Ticks::from_ns(50_000_000),
        }
    }
}

impl Goal {
    /// An instant, with all entries at or before it.
    pub(super) fn all_until(until: Instant) -> Goal {
        Goal { until, entries: None }
    }

    /// An instant with so many entries of a part of the path.
    pub(super) fn with_entries(until: Instant, part: usize, entries: u64) -> Goal {
        Goal { until, entries: Some((part, entries)) }
    }

    /// Right behind the next entry; `None` if there are no more.
    pub(super) fn next_entry(replay: &mut Replay) -> Result<Option<Goal>, ReplayError> {
        let (mut part, mut entries) = replay.path.step();
        while part + 1 < replay.path.parts().len() && entries >= replay.path.limit(part) {
            (part, entries) = (part + 1, 0);
        }
        if entries >= replay.path.limit(part) {
            return Ok(None);
        }
        Ok(Some(Goal::with_entries(Instant::ZERO, part, entries + 1)))
    }

    /// Behind the next instruction, or at the next event when every hart waits.
    pub(super) fn next_instruction(replay: &mut Replay) -> Result<Goal, ReplayError> {
        let next = replay.machine.now() + Ticks::new(1);
        let Some(event) = replay.machine.idle_until() else { return Ok(Goal::all_until(next)) };
        let end = replay.path.part_end();
        let entry = replay.path.peek()?.map_or(end, |entry| entry.at);
        Ok(Goal::all_until(event.min(entry).max(next)))
    }

    /// Whether the entry after `(part, entries)`, which is at `at`, belongs before the goal.
    fn includes(&self, (part, entries): (usize, u64), at: Instant) -> bool {
        match self.entries {
            Some((last_part, last)) => (part, entries) < (last_part, last),
            None => at <= self.until,
        }
    }

    /// Whether entries of an earlier part or of this one are still missing.
    fn misses(&self, step: (usize, u64)) -> bool {
        self.entries.is_some_and(|goal| step < goal)
    }
}

/// Runs to the goal or to the end of the path.
pub(super) fn run(
    replay: &mut Replay,
    goal: Goal,
    pace: Pace,
    outputs: &mut dyn FnMut(Instant, &Output),
) -> Result<Reached, ReplayError> {
    loop {
        if let Some(reached) = advance(replay, goal, pace, outputs)? {
            return Ok(reached);
        }
    }
}

/// Comes nearer to the goal, by a slice or an entry; `None` if it is further still.
pub(super) fn advance(
    replay: &mut Replay,
    goal: Goal,
    pace: Pace,
    outputs: &mut dyn FnMut(Instant, &Output),
) -> Result<Option<Reached>, ReplayError> {
    let now = replay.machine.now();
    if pace == Pace::Watched {
        verify::check_here(replay)?;
    }
    replay.path.cross_forks(now);
    let step = replay.path.step();
    let end = replay.path.part_end();
    let entry = replay.path.peek()?.map(|entry| entry.at);
    if let Some(at) = entry
        && goal.includes(step, at)
        && at <= now
    {
        put_in(replay, outputs)?;
        return Ok(None);
    }
    let more = entry.is_some_and(|at| goal.includes(step, at)) || goal.misses(step);
    if now >= goal.until && !more {
        return Ok(Some(Reached::Until));
    }
    if now >= end && entry.is_none() {
        // At the end of the last part; the others are left above.
        assert!(replay.path.is_last(), "forks are crossed where they are");
        return Ok(Some(Reached::End));
    }
    if entry.is_some_and(|at| at <= now) {
        return Ok(Some(Reached::Until));
    }
    let next = entry.unwrap_or(end);
    let stop = if more { next } else { next.min(goal.until) };
    Ok(match run_slice(replay, stop, pace, outputs)? {
        Slice::Off if entry.is_none() => Some(Reached::End),
        Slice::Done | Slice::Off => None,
        Slice::Watched => Some(Reached::Until),
    })
}

/// How a slice ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Slice {
    /// As long as it was to be, or shorter for no reason that matters.
    Done,
    /// The machine is off.
    Off,
    /// Something was stored to where somebody watches.
    Watched,
}

/// Runs at most to `stop`.
fn run_slice(
    replay: &mut Replay,
    stop: Instant,
    pace: Pace,
    outputs: &mut dyn FnMut(Instant, &Output),
) -> Result<Slice, ReplayError> {
    let machine = &mut replay.machine;
    let (now, retired) = (machine.now(), machine.retired());
    // Waiting costs nothing, so a slice begins when there is something to do.
    let busy_from = machine.idle_until().unwrap_or(now).max(now);
    let mut until = stop.min(busy_from + pace.slice());
    if pace == Pace::Watched
        && let Some(keyframe) = verify::next_check(replay)
    {
        until = until.min(keyframe);
    }
    let stopped = replay.machine.run(until);
    replay.unkept_work += replay.machine.retired() - retired;
    drain(replay, outputs);
    match &stopped {
        Stop::Until | Stop::Outputs | Stop::Watched => {}
        Stop::PowerOff { .. } | Stop::Reset => {
            let now = replay.machine.now();
            // An entry here switches it on anew; one that comes later cannot be, because a
            // machine that is off gets no older.
            if let Some(at) = replay.path.peek()?.map(|entry| entry.at)
                && at != now
            {
                let component = format!("power: the machine is off and gets an input at {at}");
                return Err(diverged(replay, now, component));
            }
            return Ok(Slice::Off);
        }
        Stop::Stalled { reason } => return Err(ReplayError::Stalled(reason.clone())),
    }
    let now = replay.machine.now();
    if let Some(at) = replay.path.peek()?.map(|entry| entry.at)
        && now > at
    {
        let component = format!("the clock: an input at {at} falls between two instructions");
        return Err(diverged(replay, now, component));
    }
    if replay.unkept_work >= KEEP_EVERY {
        keep(replay);
    }
    Ok(if stopped == Stop::Watched { Slice::Watched } else { Slice::Done })
}

pub(super) fn diverged(replay: &mut Replay, at: Instant, component: String) -> ReplayError {
    let fine_until = replay.fine_until;
    replay.kept.forget_computed_after(fine_until);
    ReplayError::Diverged { at, fine_until, component }
}

/// Puts the next entry in.
fn put_in(
    replay: &mut Replay,
    outputs: &mut dyn FnMut(Instant, &Output),
) -> Result<(), ReplayError> {
    let now = replay.machine.now();
    let entry = replay.path.take();
    if entry.at < now {
        let component = format!("the clock: an input at {} comes too late", entry.at);
        return Err(diverged(replay, now, component));
    }
    replay.screens.event(&entry.event);
    match entry.event {
        Event::Input(input) => replay.machine.input(input),
        Event::Reset { seed, rtc_ns } => {
            let boot = replay.configuration.boot()?;
            let config = stackvm_machine::MachineConfig { seed, rtc_ns, ..boot.clone() };
            let reset = replay.machine.reset(&config);
            reset.map_err(|error| ReplayError::Reset { at: now, error })?;
            replay.machine.watch(replay.watching.clone());
        }
    }
    drain(replay, outputs);
    Ok(())
}

fn drain(replay: &mut Replay, outputs: &mut dyn FnMut(Instant, &Output)) {
    let now = replay.machine.now();
    for output in replay.machine.take_outputs() {
        replay.screens.output(&output);
        outputs(now, &output);
    }
}

/// Keeps the state here in memory.
pub(super) fn keep(replay: &mut Replay) {
    let (branch, entries) = replay.path.place();
    let frozen = replay.machine.freeze();
    let place = Place { branch, at: frozen.instant(), entries };
    let derived = Arc::new(replay.screens.derived());
    let fine_until = replay.fine_until;
    let state = State { place, frozen, derived, keyframe: None, fine_until };
    if replay.kept.insert(state) == Kept::Spent {
        replay.machine.give_back_when_due();
    }
    replay.unkept_work = 0;
}
