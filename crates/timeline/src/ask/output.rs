//! Finding text in everything the terminals printed, with instants.
//!
//! The output track answers quickly; what it lacks is computed again. Both know an output's
//! instant to a slice of about a millisecond; [`exact_instant`] finds the very instruction.

use std::collections::BTreeMap;

use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Instant, Output};

use super::text::{Line, LineFinder, Pattern};
use crate::branch::BranchId;
use crate::position::Position;
use crate::replay::{Replay, ReplayError};
use crate::track::{TrackEvent, TrackItem};

/// Virtual time that is computed at once where the track ends.
const STRETCH: Ticks = Ticks::from_ns(100_000_000);

/// A line that a terminal showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// On which branch of the path.
    pub branch: BranchId,
    /// When the match was complete: to a slice, never early.
    pub at: Instant,
    /// On which terminal.
    pub console: ConsoleId,
    /// The line, without control sequences.
    pub line: String,
    /// The terminal's output before this slice was complete here.
    since: Instant,
    /// The byte that completed the match is the so-manieth after `since`, counted from 1.
    byte: u64,
}

/// One terminal's bytes so far.
struct Stream {
    finder: LineFinder,
    /// Bytes read so far.
    bytes: u64,
    /// Slices whose bytes may still be in a line that has not ended: the branch, the end of the
    /// slice before, its own end, and the number of the first byte.
    slices: Vec<(BranchId, Instant, Instant, u64)>,
}

/// Looks for a pattern in everything that a branch's path printed, on one terminal or on all;
/// `visit` is told every line that has it and may say stop. `replay` is somewhere else afterwards.
///
/// # Errors
/// See [`ReplayError`].
pub fn console(
    replay: &mut Replay,
    branch: BranchId,
    console: Option<ConsoleId>,
    pattern: &Pattern,
    visit: &mut dyn FnMut(Hit) -> bool,
) -> Result<(), ReplayError> {
    let timeline = replay.timeline().clone();
    let begin = timeline.begin(branch);
    let mut reached = begin;
    let part = (timeline.path(branch)[0].branch, begin);
    let mut search = Search::new(console, pattern, part, visit);
    for part in timeline.path(branch) {
        search.begin_part(part.branch, reached);
        // A track that ends early is made again below.
        let track = timeline.track(part.branch).map_while(Result::ok);
        let mut track = track.filter(|item| item.at >= begin);
        reached = reached.max(search.read_items(&mut track, part.at));
        if !search.goes_on {
            return Ok(());
        }
        // What came after the track's end.
        let from = Position { branch: part.branch, at: reached, entries: None };
        replay.seek(from)?;
        while search.goes_on && replay.machine().now() < part.at {
            let until = (replay.machine().now() + STRETCH).min(part.at);
            let mut found = |at: Instant, output: &Output| {
                if let Output::Console { console, bytes } = output {
                    search.read(*console, bytes, at);
                }
            };
            if replay.run(until, &mut found)? == crate::replay::Reached::End {
                break;
            }
        }
        reached = part.at;
    }
    search.finish();
    Ok(())
}

/// Reads what terminals printed, and tells what is found.
pub(super) struct Search<'a> {
    console: Option<ConsoleId>,
    pattern: &'a Pattern,
    /// The branch that outputs are of, and since when.
    part: (BranchId, Instant),
    streams: BTreeMap<ConsoleId, Stream>,
    visit: &'a mut dyn FnMut(Hit) -> bool,
    goes_on: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        console: Option<ConsoleId>,
        pattern: &'a Pattern,
        part: (BranchId, Instant),
        visit: &'a mut dyn FnMut(Hit) -> bool,
    ) -> Search<'a> {
        Search { console, pattern, part, streams: BTreeMap::new(), visit, goes_on: true }
    }

    /// Outputs are those of another branch from now on.
    fn begin_part(&mut self, branch: BranchId, at: Instant) {
        self.part = (branch, at);
        for stream in self.streams.values_mut() {
            stream.slices.push((branch, at, at, stream.bytes));
        }
    }

    /// Reads what is on a track up to an instant; returns how far it goes.
    pub(super) fn read_items(
        &mut self,
        track: &mut dyn Iterator<Item = TrackItem>,
        until: Instant,
    ) -> Instant {
        let mut reached = Instant::default();
        for item in track {
            if item.at > until || !self.goes_on {
                break;
            }
            reached = item.at;
            if let TrackEvent::Output(bytes) = item.event {
                self.read(item.console, &bytes, item.at);
            }
        }
        reached
    }

    pub(super) fn read(&mut self, console: ConsoleId, bytes: &[u8], at: Instant) {
        if self.console.is_some_and(|only| only != console) || !self.goes_on {
            return;
        }
        let (branch, since) = self.part;
        let stream = self.streams.entry(console).or_insert_with(|| Stream {
            finder: LineFinder::new(self.pattern.clone()),
            bytes: 0,
            slices: vec![(branch, since, since, 0)],
        });
        let (.., last, _) = *stream.slices.last().expect("never empty");
        if at > last {
            stream.slices.push((branch, last, at, stream.bytes));
        }
        for &byte in bytes {
            let line = stream.finder.read(byte, stream.bytes);
            stream.bytes += 1;
            if let Some(line) = line {
                self.goes_on &= (self.visit)(stream.hit(console, line));
                if !self.goes_on {
                    return;
                }
            }
            if matches!(byte, b'\n' | b'\r') {
                // Nothing before this is part of a line any more.
                let last = stream.slices.len() - 1;
                stream.slices.drain(..last);
            }
        }
    }

    pub(super) fn finish(&mut self) {
        for (&console, stream) in &mut self.streams {
            if let Some(line) = stream.finder.end()
                && self.goes_on
            {
                self.goes_on &= (self.visit)(stream.hit(console, line));
            }
        }
    }
}

impl Stream {
    fn hit(&self, console: ConsoleId, line: Line) -> Hit {
        let slice = self.slices.partition_point(|(.., first)| *first <= line.byte);
        let (branch, since, at, first) = self.slices[slice.saturating_sub(1)];
        Hit { branch, at, console, line: line.text, since, byte: line.byte + 1 - first }
    }
}

/// The exact instant at which a hit's match was complete: the first one at which its last byte has
/// left the machine. `replay` is there afterwards.
///
/// # Errors
/// See [`ReplayError`].
pub fn exact_instant(replay: &mut Replay, hit: &Hit) -> Result<Instant, ReplayError> {
    let position = |at| Position { branch: hit.branch, at, entries: None };
    let (mut before, mut after) = (hit.since, hit.at);
    replay.seek(position(before))?;
    replay.keep();
    let mut counted = 0;
    while after.since(before).get() > 1 {
        let middle = Instant::from_ticks(before.ticks() + after.since(before).get() / 2);
        let mut bytes = 0;
        replay.run(middle, &mut |_, output| {
            if let Output::Console { console, bytes: sent } = output
                && *console == hit.console
            {
                bytes += sent.len() as u64;
            }
        })?;
        if counted + bytes >= hit.byte {
            after = middle;
            replay.seek(position(before))?;
        } else {
            counted += bytes;
            before = middle;
            replay.keep();
        }
    }
    replay.seek(position(after))?;
    // The first instruction boundary from there on.
    Ok(replay.position().at)
}
