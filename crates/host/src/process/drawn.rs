//! What terminals showed before this lab began: lines above the screen, titles, modes, drawn once
//! more from the output that the machine's recording kept.
//!
//! A recording is read as from an attacker, since a lab that was hijacked may have written it: what
//! is read is bounded, and only drawn. Nothing here touches the machine.

use std::collections::{BTreeMap, VecDeque};

use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Input, Instant};
use stackvm_timeline::replay::{Replay, ReplayError};
use stackvm_timeline::track::{TrackEvent, TrackItem};
use stackvm_timeline::{Event, Keyframe, Position, Timeline};

use crate::lab::Terminal;
use crate::protocol::Size;

/// Most bytes of a recording's output that are drawn again: some ten times what history can have.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// How much too late a track may say that an output was: a replay made it.
const SLICE: Ticks = Ticks::from_ns(1_000_000);

/// Terminals as they were drawn up to `end`, where the replay is afterwards.
///
/// The track has everything up to the last keyframe, and the replay makes the rest: it comes past
/// that on its way to the end anyhow. `redone` is told what belongs into the track there.
pub(super) fn until(
    replay: &mut Replay,
    end: Position,
    redone: &mut dyn FnMut(&TrackItem),
) -> Result<BTreeMap<ConsoleId, Terminal>, ReplayError> {
    let timeline = replay.timeline().clone();
    let keyframes = timeline.keyframes_of(end.branch);
    let last = keyframes.iter().rev().find(|keyframe| keyframe.at <= end.at);
    let mut drawn = Drawn::default();
    let until = last.map_or(end.at, |keyframe| keyframe.at);
    let items = timeline.track_end(end.branch, OUTPUT_BYTES_MAX);
    // What cannot be read is not drawn.
    let items = items.map_while(Result::ok).take_while(|item| item.at <= until);
    items.for_each(|item| drawn.draw(&item));
    if let Some(last) = last {
        let (branch, at, entries) = (last.branch, last.at, Some(last.entries));
        replay.seek(Position { branch, at, entries })?;
        let mut sizes = sizes(&timeline, last, end.at);
        let mut redo = |item: &TrackItem| {
            drawn.draw(item);
            redone(item);
        };
        replay.run(end.at, &mut |at, output| {
            while let Some(item) = sizes.pop_front_if(|item| item.at < at) {
                redo(&item);
            }
            TrackItem::of_output(at, output).iter().for_each(&mut redo);
        })?;
        sizes.iter().for_each(redo);
    }
    replay.seek(end)?;
    Ok(drawn.terminals)
}

/// The sizes that terminals got after a keyframe.
fn sizes(timeline: &Timeline, after: &Keyframe, end: Instant) -> VecDeque<TrackItem> {
    let entries = timeline.entries(after.branch, after.entries).map_while(Result::ok);
    let until = entries.take_while(|entry| entry.at <= end);
    let sizes = until.filter_map(|entry| match entry.event {
        Event::Input(Input::Resize { console, columns, rows }) => {
            let event = TrackEvent::Resize { columns, rows };
            Some(TrackItem { at: entry.at, console, event })
        }
        _ => None,
    });
    sizes.collect()
}

#[derive(Default)]
struct Drawn {
    terminals: BTreeMap<ConsoleId, Terminal>,
}

impl Drawn {
    fn draw(&mut self, item: &TrackItem) {
        let terminal = self.terminals.entry(item.console).or_default();
        match &item.event {
            TrackEvent::Output(bytes) => {
                // Nobody may see a line for being said to be newer than it is. What is asked in
                // there was answered.
                let at = Instant::from_ticks(item.at.ticks().saturating_sub(SLICE.get()));
                terminal.write(bytes, at);
            }
            &TrackEvent::Resize { columns, rows } => terminal.resize(Size { columns, rows }),
        }
    }
}
