//! A screen with the lines that have scrolled off it, and when each was last written.
//!
//! Whoever may see only what happened since some instant must not find an older line in the history:
//! so a line's instant is that of the last change to it, wherever on the screen it went since.
//! Nothing of this is saved: a restored screen has no lines above it, and its own are older than
//! anything, until it remembers what was drawn from a recording's output track.

use std::collections::VecDeque;
use std::ops::Range;

use avt::parser::{EdScope, Function};
use avt::{Observation, Observer, Operation};
use stackvm_machine::{ConsoleId, Instant};

use super::{DEFAULT_SIZE, Line, Screen, ScreenKind, ScreenState, draw};
use crate::limits::{HISTORY_BYTES_MAX, HISTORY_LINES_MAX};

/// A screen with its history.
#[derive(Debug)]
pub struct Scrolled {
    screen: Screen,
    /// When each row of the primary screen was last written.
    rows: Vec<Instant>,
    history: History,
}

#[derive(Clone, Debug, Default)]
struct History {
    lines: VecDeque<Drawn>,
    bytes: usize,
}

/// A line that has scrolled off, as what draws it.
#[derive(Clone, Debug)]
struct Drawn {
    written: Instant,
    text: Box<str>,
}

impl Default for Scrolled {
    fn default() -> Scrolled {
        let (columns, rows) = DEFAULT_SIZE;
        Scrolled::new(Screen::new(columns, rows))
    }
}

impl Scrolled {
    /// A screen without history, on which everything is old.
    pub fn new(screen: Screen) -> Scrolled {
        let rows = vec![Instant::ZERO; screen.lines().len()];
        Scrolled { screen, rows, history: History::default() }
    }

    /// The same once more.
    #[must_use]
    pub fn twin(&self) -> Scrolled {
        // Which terminal it is does not matter here.
        let state: ScreenState = self.screen.save(ConsoleId::Serial);
        Scrolled {
            screen: Screen::restore(&state),
            rows: self.rows.clone(),
            history: self.history.clone(),
        }
    }

    /// Takes over the lines above from a model that was drawn from what the guest wrote; if that
    /// shows the same, also when each of the screen's lines was written. Else those stay old.
    pub fn remember(&mut self, drawn: Scrolled) {
        if drawn.screen.size() == self.screen.size() && drawn.screen.dump() == self.screen.dump() {
            self.rows = drawn.rows;
        }
        self.history = drawn.history;
    }

    /// The screen.
    pub fn screen(&self) -> &Screen {
        &self.screen
    }

    /// When a row, counted from 0, was last written; `None` while a full-screen program shows its own
    /// screen, and for a row that there is not.
    pub fn written(&self, row: usize) -> Option<Instant> {
        match self.screen.kind() {
            ScreenKind::Primary => self.rows.get(row).copied(),
            ScreenKind::Alternate => None,
        }
    }

    /// Draws what the guest wrote by `at`.
    pub fn feed(&mut self, bytes: &[u8], at: Instant) {
        let Scrolled { screen, rows, history } = self;
        let mut watch = Watch::new(rows, history, at);
        screen.feed_with(bytes, &mut watch);
    }

    /// Gives the screen another size.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        // Which row goes where is not told, so none counts as newer than the oldest.
        let written = self.screen.lines().zip(&self.rows);
        let oldest = written.filter(|(line, _)| draw::used(line) > 0).map(|(_, at)| *at).min();
        let oldest = oldest.unwrap_or_default();
        self.rows.fill(oldest);
        let mut watch = Watch::new(&mut self.rows, &mut self.history, oldest);
        self.screen.resize_with(columns, rows, &mut watch);
        self.rows = vec![oldest; self.screen.lines().len()];
    }

    /// The lines above the screen, the oldest first, each ended by `\r\n`: the newest ones, at most
    /// `lines_max` in at most `bytes_max`, and none that was written by `since`, to a nanosecond:
    /// that is when somebody came in. Instant 0 is before everything.
    pub fn history(&self, since: Instant, lines_max: usize, bytes_max: usize) -> Vec<u8> {
        let mut left = bytes_max;
        let is_newer = |at: Instant| since == Instant::ZERO || at.ns() > since.ns();
        let newest = self.history.lines.iter().rev().filter(|line| is_newer(line.written));
        let fitting: Vec<&Drawn> = newest
            .take(lines_max)
            .take_while(|line| {
                let rest = left.checked_sub(line.text.len() + 2);
                left = rest.unwrap_or(left);
                rest.is_some()
            })
            .collect();
        let mut bytes = Vec::with_capacity(bytes_max - left);
        for line in fitting.iter().rev() {
            bytes.extend_from_slice(line.text.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }
}

impl History {
    fn push(&mut self, line: &Line, written: Instant) {
        let mut text = String::new();
        draw::line(line, &mut text);
        self.bytes += text.len();
        self.lines.push_back(Drawn { written, text: text.into() });
        while self.lines.len() > HISTORY_LINES_MAX || self.bytes > HISTORY_BYTES_MAX {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= oldest.text.len();
        }
    }

    fn clear(&mut self) {
        *self = History::default();
    }
}

/// What the operation that is being done does to rows of which all are said to change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Motion {
    /// They are written anew.
    Written,
    /// They move up by so many, if it is more than one row.
    Up(usize),
    /// They move down by so many.
    Down(usize),
    /// They stay.
    Stay,
}

/// Follows the rows of the primary screen while something is drawn.
struct Watch<'a> {
    rows: &'a mut Vec<Instant>,
    history: &'a mut History,
    at: Instant,
    motion: Motion,
    /// Instants of the rows that went off at the top, of which lines follow.
    gone: VecDeque<Instant>,
}

impl<'a> Watch<'a> {
    fn new(rows: &'a mut Vec<Instant>, history: &'a mut History, at: Instant) -> Watch<'a> {
        Watch { rows, history, at, motion: Motion::Stay, gone: VecDeque::new() }
    }
}

impl Observer for Watch<'_> {
    type Output = ();

    fn before(&mut self, context: &mut Observation<'_>, operation: &Operation) {
        self.gone.clear();
        self.motion = match operation {
            _ if context.terminal().active_screen_kind() == ScreenKind::Alternate => Motion::Stay,
            Operation::Resize { .. } => Motion::Stay,
            Operation::Function(function) => motion(function),
        };
        if matches!(
            operation,
            Operation::Function(Function::Ed(EdScope::SavedLines) | Function::Ris)
        ) {
            self.history.clear();
        }
    }

    fn dirty(&mut self, range: Range<usize>) {
        let top = range.start == 0;
        let Some(rows) = self.rows.get_mut(range).filter(|rows| !rows.is_empty()) else { return };
        match self.motion {
            Motion::Stay => {}
            Motion::Written => {
                if top {
                    // Erasing all moves what was there into the history.
                    self.gone.extend(rows.iter());
                }
                rows.fill(self.at);
            }
            Motion::Up(count) => {
                let count = count.min(rows.len());
                if top {
                    self.gone.extend(&rows[..count]);
                }
                rows.rotate_left(count);
                let kept = rows.len() - count;
                rows[kept..].fill(self.at);
            }
            Motion::Down(count) => {
                let count = count.min(rows.len());
                rows.rotate_right(count);
                rows[..count].fill(self.at);
            }
        }
    }

    fn evicted(&mut self, _: &mut Observation<'_>, line: &Line) {
        let written = self.gone.pop_front().unwrap_or(self.at);
        self.history.push(line, written);
    }

    fn end(&mut self, _: &mut Observation<'_>) {}
}

fn motion(function: &Function) -> Motion {
    let times = |n: u16| usize::from(n.max(1));
    match function {
        Function::Lf | Function::Nel => Motion::Up(1),
        Function::Print(_) | Function::Rep(_) => Motion::Up(1),
        Function::Su(n) | Function::Dl(n) => Motion::Up(times(*n)),
        Function::Ri => Motion::Down(1),
        Function::Sd(n) | Function::Il(n) => Motion::Down(times(*n)),
        Function::Decset(_) | Function::Decrst(_) => Motion::Stay,
        _ => Motion::Written,
    }
}

#[cfg(test)]
mod tests;
