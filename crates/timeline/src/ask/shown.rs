//! Finding text in what terminals showed: in the output track alone, without a replay.

use std::collections::{BTreeMap, VecDeque};

use avt::Cursor;
use stackvm_machine::{ConsoleId, Instant};

use super::output::{Hit, Search};
use super::text::Pattern;
use crate::branch::BranchId;
use crate::keyframe::Keyframe;
use crate::screen::Screen;
use crate::timeline::{OpenError, Timeline, draw};
use crate::track::{TrackEvent, TrackItem};

/// Of the ends of lines so much is remembered: who prints more and never ends a line prints nothing
/// that anybody reads.
const ENDS_BYTES_MAX: usize = 1 << 20;

/// Looks for a pattern in what a branch showed at an instant and printed from then on, as far as
/// its output track goes. `visit` is told every line that has it and may say stop.
///
/// # Errors
/// [`OpenError`] when a keyframe's picture is damaged.
pub fn shown(
    timeline: &Timeline,
    branch: BranchId,
    from: Instant,
    pattern: &Pattern,
    visit: &mut dyn FnMut(Hit) -> bool,
) -> Result<(), OpenError> {
    let (first, _) = stretches(timeline, branch, from);
    let whole = Stretch { end: None, ..first };
    whole.read(timeline, pattern, LineEnds::default(), &|| true, visit).map(|_| ())
}

/// As [`shown`], but only the last lines, at most so many, each terminal's in order. Whoever looks
/// for something in a long past mostly means a short while ago: the track is read from its end back,
/// keyframe by keyframe, until there are enough. `None` as soon as `goes_on`, which is asked all the
/// time, says no.
///
/// # Errors
/// As there.
pub fn last_shown(
    timeline: &Timeline,
    branch: BranchId,
    from: Instant,
    pattern: &Pattern,
    hits_max: usize,
    goes_on: &dyn Fn() -> bool,
) -> Result<Option<Vec<Hit>>, OpenError> {
    let (first, later) = stretches(timeline, branch, from);
    let mut found = VecDeque::new();
    let mut ends = LineEnds::default();
    for stretch in [first].into_iter().chain(later).rev() {
        let mut here = VecDeque::new();
        ends = stretch.read(timeline, pattern, ends, goes_on, &mut |hit| {
            here.push_back(hit);
            if here.len() + found.len() > hits_max {
                here.pop_front();
            }
            true
        })?;
        if !goes_on() {
            return Ok(None);
        }
        here.append(&mut found);
        found = here;
        if found.len() >= hits_max {
            break;
        }
    }
    Ok(Some(found.into()))
}

/// A part of a branch's track: the lines that begin in it.
struct Stretch<'a> {
    branch: BranchId,
    /// The keyframe from which on it is read; else from where the track begins.
    begin: Option<&'a Keyframe>,
    /// If it is the first one: from where on there is something to find.
    from: Option<Instant>,
    /// The keyframe at which it ends; else it is the last one.
    end: Option<&'a Keyframe>,
}

/// A branch's track from an instant on up to the next keyframe, and behind each one that is later.
fn stretches(
    timeline: &Timeline,
    branch: BranchId,
    from: Instant,
) -> (Stretch<'_>, Vec<Stretch<'_>>) {
    let from = from.max(timeline.begin(branch));
    let keyframes = timeline.keyframes_of(branch);
    let (before, later) =
        keyframes.split_at(keyframes.partition_point(|keyframe| keyframe.at <= from));
    let first = Stretch { branch, begin: before.last(), from: Some(from), end: later.first() };
    let behind = |number| {
        let (begin, end) = (later.get(number), later.get(number + 1));
        Stretch { branch, begin, from: None, end }
    };
    (first, (0..later.len()).map(behind).collect())
}

impl Stretch<'_> {
    /// Reads the lines that begin in it, the last of which have their ends in the stretch behind it.
    /// Returns the ends of those that began before it.
    fn read(
        &self,
        timeline: &Timeline,
        pattern: &Pattern,
        ends: LineEnds,
        goes_on: &dyn Fn() -> bool,
        visit: &mut dyn FnMut(Hit) -> bool,
    ) -> Result<LineEnds, OpenError> {
        let (branch_end, mut before) = (timeline.branch(self.branch).end, LineEnds::default());
        // A track that is damaged ends there: it is not the recording.
        let track = timeline.track_between(self.branch, self.begin, self.end);
        let track = track.map_while(Result::ok).take_while(|item| item.at <= branch_end);
        let mut track = track.take_while(|_| goes_on()).peekable();
        let begin = self.from.or(self.begin.map(|keyframe| keyframe.at)).unwrap_or_default();
        let mut search = Search::new(None, pattern, (self.branch, begin), visit);
        if let Some(from) = self.from {
            let mut screens = timeline.shown_at(self.begin, None)?;
            while let Some(item) = track.next_if(|item| item.at <= from) {
                draw(&item, &mut screens);
            }
            for (console, screen) in screens {
                search.read(console, &as_printed(&screen), from);
            }
            search.read_items(&mut track, branch_end);
        } else {
            search.read_items(&mut track.filter_map(|item| before.cut(item)), branch_end);
        }
        for (console, end) in ends.of {
            for (at, bytes) in end.pieces {
                if self.from.is_none() && !before.is_whole(console) {
                    before.keep(console, at, &bytes);
                } else {
                    search.read(console, &bytes, at);
                }
            }
        }
        search.finish();
        Ok(before)
    }
}

/// The ends of lines that began earlier, one for each terminal.
#[derive(Default)]
struct LineEnds {
    of: BTreeMap<ConsoleId, LineEnd>,
    bytes: usize,
}

/// What was printed and when, as far as is known.
#[derive(Default)]
struct LineEnd {
    pieces: Vec<(Instant, Vec<u8>)>,
    is_whole: bool,
}

impl LineEnds {
    /// Keeps what an item has of such a line; returns what is behind it.
    fn cut(&mut self, mut item: TrackItem) -> Option<TrackItem> {
        if self.is_whole(item.console) {
            return Some(item);
        }
        let TrackEvent::Output(bytes) = &mut item.event else { return Some(item) };
        let over = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
        let behind = bytes.split_off(over.map_or(bytes.len(), |last| last + 1));
        self.keep(item.console, item.at, bytes);
        self.of.entry(item.console).or_default().is_whole = over.is_some();
        *bytes = behind;
        Some(item)
    }

    fn keep(&mut self, console: ConsoleId, at: Instant, bytes: &[u8]) {
        let bytes = &bytes[..bytes.len().min(ENDS_BYTES_MAX - self.bytes)];
        self.bytes += bytes.len();
        if !bytes.is_empty() {
            self.of.entry(console).or_default().pieces.push((at, bytes.to_vec()));
        }
    }

    fn is_whole(&self, console: ConsoleId) -> bool {
        self.of.get(&console).is_some_and(|end| end.is_whole)
    }
}

/// What has to be printed to show this, without styles; the cursor's line is not over yet.
fn as_printed(screen: &Screen) -> Vec<u8> {
    let Cursor { col, row, .. } = screen.cursor();
    let mut bytes = Vec::new();
    for (_, text) in screen.text().into_iter().enumerate().filter(|(number, _)| *number != row) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(b'\n');
    }
    let line = screen.lines().nth(row).map(avt::Line::text).unwrap_or_default();
    bytes.extend(line.chars().take(col).collect::<String>().into_bytes());
    bytes.extend_from_slice(screen.partial());
    bytes
}

#[cfg(test)]
mod tests;
