//! What people entered: the lines that stood on a terminal when somebody pressed Enter, as they were
//! shown. What a program does not show, a password say, is in none.

use std::collections::VecDeque;

use stackvm_machine::{ConsoleId, Input, Instant};

use super::picture::empty;
use super::{OpenError, Timeline, blocks};
use crate::branch::BranchId;
use crate::event::{ActorId, Entry, Event};
use crate::screen::Screen;
use crate::track::TrackEvent;

/// Of a longer log, only its end is looked at.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// Longest line, in characters; of a longer one this is the end.
const LINE_CHARS_MAX: usize = 1000;

/// A line that somebody ended with Enter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entered {
    /// When.
    pub at: Instant,
    /// Who.
    pub actor: ActorId,
    /// On which terminal.
    pub console: ConsoleId,
    /// The line as the terminal showed it, what a shell asks with included.
    pub line: String,
}

impl Timeline {
    /// The last lines, at most so many, that people entered on a branch from an instant on; in
    /// order. One that its terminal has not gone on from yet is left out.
    ///
    /// # Errors
    /// [`OpenError`] when the log, the track or a keyframe's picture is damaged.
    pub fn entered(
        &self,
        branch: BranchId,
        from: Instant,
        lines_max: usize,
    ) -> Result<Vec<Entered>, OpenError> {
        let mut waiting = self.enters(branch, from, lines_max)?;
        let mut entered = Vec::new();
        let Some(first) = waiting.front().map(|enter| enter.at) else { return Ok(entered) };
        let before = Instant::from_ticks(first.ticks().saturating_sub(1));
        let (mut screens, track) = self.drawn_before(branch, None, before)?;
        for item in track {
            let item = item?;
            if waiting.is_empty() {
                break;
            }
            let screen = screens.entry(item.console).or_insert_with(empty);
            let bytes = match item.event {
                TrackEvent::Output(bytes) => bytes,
                TrackEvent::Resize { columns, rows } => {
                    screen.resize(columns, rows);
                    continue;
                }
            };
            for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                let (end, line) = part.split_last().map_or((0, part), |(end, rest)| (*end, rest));
                screen.feed(line);
                if end == b'\n'
                    && let Some(enter) = take_last(&mut waiting, item.console, item.at)
                {
                    entered.push(Entered { line: line_at_cursor(screen), ..enter });
                }
                screen.feed(&[end]);
            }
        }
        // Of those on which nothing stood there is nothing to say.
        entered.retain(|entered| !entered.line.is_empty());
        entered.sort_by_key(|entered| entered.at);
        Ok(entered)
    }

    /// When, where and by whom Enter was pressed; the lines are still empty.
    fn enters(
        &self,
        branch: BranchId,
        from: Instant,
        lines_max: usize,
    ) -> Result<VecDeque<Entered>, OpenError> {
        let mut enters = VecDeque::new();
        let from = from.max(self.begin(branch));
        for entry in blocks::last_entries(&self.parts.logs[branch.0 as usize], LOG_BYTES_MAX) {
            let Entry { at, actor, event } = entry?;
            let Event::Input(Input::Console { console, bytes }) = event else { continue };
            let ends = bytes.iter().any(|byte| matches!(byte, b'\r' | b'\n'));
            if at < from || actor == ActorId::HOST || !ends {
                continue;
            }
            // Of lines that were pasted, the first: where the others are among what the first one
            // printed is not to be told.
            enters.push_back(Entered { at, actor, console, line: String::new() });
            if enters.len() > lines_max {
                enters.pop_front();
            }
        }
        Ok(enters)
    }
}

/// Of those that wait for a terminal to go on, the last one by an instant. Those before it were for a
/// program that begins no line at Enter: an editor, say.
fn take_last(waiting: &mut VecDeque<Entered>, console: ConsoleId, at: Instant) -> Option<Entered> {
    let is_due = |enter: &Entered| enter.console == console && enter.at <= at;
    let last = waiting.iter().filter(|enter| is_due(enter)).map(|enter| enter.at).max()?;
    waiting.retain(|enter| enter.console != console || enter.at >= last);
    let first = waiting.iter().position(is_due)?;
    waiting.remove(first)
}

/// The line that the cursor is on, from the row on where it begins: one that is full goes on below.
fn line_at_cursor(screen: &Screen) -> String {
    let (columns, row) = (usize::from(screen.size().0), screen.cursor().row);
    let rows = screen.text();
    let is_full = |row: &String| row.chars().count() >= columns;
    let above = rows[..row.min(rows.len())].iter().rev().take_while(|row| is_full(row)).count();
    let line: String = rows.iter().skip(row - above).take(above + 1).map(String::as_str).collect();
    let line = line.trim_end();
    let skip = line.chars().count().saturating_sub(LINE_CHARS_MAX);
    line.chars().skip(skip).collect()
}

#[cfg(test)]
mod tests;
