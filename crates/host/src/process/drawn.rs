//! What terminals showed before this lab began: lines above the screen, titles, modes, drawn once
//! more from the output that the machine's recording kept.
//!
//! A recording is read as from an attacker, since a lab that was hijacked may have written it: what
//! is read is bounded, and only drawn. Nothing here touches the machine.

use std::collections::BTreeMap;

use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Instant, Output};
use stackvm_timeline::replay::{Replay, ReplayError};
use stackvm_timeline::track::TrackEvent;
use stackvm_timeline::{BranchId, Position};

use crate::lab::Terminal;
use crate::protocol::Size;

/// Most bytes of a recording's output that are drawn again: some ten times what history can have.
const OUTPUT_BYTES_MAX: u64 = 4 << 20;
/// How much too late a replay may say that an output was.
const SLICE: Ticks = Ticks::from_ns(1_000_000);

/// Terminals as they were drawn up to `end`, where the replay is afterwards.
///
/// The track has everything up to the last keyframe, and the replay makes the rest: it comes past
/// that on its way to the end anyhow.
pub(super) fn until(
    replay: &mut Replay,
    end: Position,
) -> Result<BTreeMap<ConsoleId, Terminal>, ReplayError> {
    let timeline = replay.timeline().clone();
    let keyframes = timeline.keyframes_of(end.branch);
    let last = keyframes.iter().rev().find(|keyframe| keyframe.at <= end.at);
    let mut drawn = Drawn::default();
    drawn.track(replay, end.branch, last.map_or(end.at, |keyframe| keyframe.at));
    if let Some(last) = last {
        let (branch, at, entries) = (last.branch, last.at, Some(last.entries));
        replay.seek(Position { branch, at, entries })?;
        replay.run(end.at, &mut |at, output| {
            if let Output::Console { console, bytes } = output {
                // Nobody may see a line for being said to be newer than it is.
                drawn.wrote(*console, bytes, before(at));
            }
        })?;
    }
    replay.seek(end)?;
    Ok(drawn.terminals)
}

fn before(at: Instant) -> Instant {
    Instant::from_ticks(at.ticks().saturating_sub(SLICE.get()))
}

#[derive(Default)]
struct Drawn {
    terminals: BTreeMap<ConsoleId, Terminal>,
}

impl Drawn {
    /// Draws the end of a branch's track, up to `until`. What cannot be read is not drawn.
    fn track(&mut self, replay: &Replay, branch: BranchId, until: Instant) {
        let items = replay.timeline().track_end(branch, OUTPUT_BYTES_MAX);
        for item in items.map_while(Result::ok).take_while(|item| item.at <= until) {
            match item.event {
                TrackEvent::Output(bytes) => self.wrote(item.console, &bytes, item.at),
                TrackEvent::Resize { columns, rows } => {
                    self.terminal(item.console).resize(Size { columns, rows });
                }
            }
        }
    }

    fn wrote(&mut self, console: ConsoleId, bytes: &[u8], at: Instant) {
        // What is asked in there was answered.
        self.terminal(console).write(bytes, at);
    }

    fn terminal(&mut self, console: ConsoleId) -> &mut Terminal {
        self.terminals.entry(console).or_default()
    }
}
