//! What a kept machine's terminals showed, line by line: from its output track, without a replay.

use std::collections::VecDeque;

use stackvm_machine::{ConsoleId, Instant};
use stackvm_timeline::ask::{self, Case, Hit, Pattern};
use stackvm_timeline::{BranchId, Timeline};

use super::{Deed, Done, Machines, MachinesError};

/// Of the lines that were entered before one was printed, so many are looked at.
const ENTERED_MAX: usize = 500;

/// A line that a terminal showed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Printed {
    /// When.
    pub at: Instant,
    /// Which terminal.
    pub console: ConsoleId,
    /// The line, without control sequences.
    pub line: String,
}

/// What a terminal printed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Text {
    /// Its last lines, in order, without control sequences.
    pub lines: Vec<String>,
    /// How many lines there were before these.
    pub lines_before: u64,
}

/// A line that a terminal shows, and how it came there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// Its text.
    pub text: String,
    /// When it was printed; `None` for a full-screen program's, and for one that was there before
    /// the instant that whoever asks may know of.
    pub printed: Option<Instant>,
    /// The last line that somebody had entered by then.
    pub entered: Option<Deed>,
}

impl Machines {
    /// The last lines, at most so many, that a kept machine's terminals showed at an instant or
    /// later and that have a text in them, whatever the case of its letters; in order.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn printed(
        &self,
        id: &str,
        from: Instant,
        text: &str,
        lines_max: usize,
    ) -> Result<Vec<Printed>, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let mut last = Last::new(lines_max);
        let Some(pattern) = Pattern::new(text, Case::Ignored) else { return Ok(Vec::new()) };
        ask::shown(&timeline, BranchId::TRUNK, from, &pattern, &mut |hit| {
            last.push(Printed { at: hit.at, console: hit.console, line: hit.line });
            true
        })?;
        Ok(last.items.into())
    }

    /// What a terminal of a kept machine showed at an instant and printed from then on: the last
    /// lines, at most so many.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn text(
        &self,
        id: &str,
        console: ConsoleId,
        from: Instant,
        lines_max: usize,
    ) -> Result<Text, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let mut last = Last::new(lines_max);
        ask::shown(&timeline, BranchId::TRUNK, from, &Pattern::any(), &mut |hit: Hit| {
            if hit.console == console {
                last.push(hit.line);
            }
            true
        })?;
        Ok(Text { lines: last.items.into(), lines_before: last.dropped })
    }

    /// The line in a row, counted from 0, of what a terminal of a kept machine showed at an instant,
    /// and how it came there, as far as that was at `from` or later. `None` if it has no such row.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn line(
        &self,
        id: &str,
        console: ConsoleId,
        at: Instant,
        row: usize,
        from: Instant,
    ) -> Result<Option<Line>, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let end = timeline.branch(BranchId::TRUNK).end;
        let Some(shown) = timeline.line(BranchId::TRUNK, console, at.max(from).min(end), row)?
        else {
            return Ok(None);
        };
        let printed = shown.written.filter(|at| *at >= from);
        let entered = match printed {
            None => None,
            Some(printed) => {
                let entered = timeline.entered(BranchId::TRUNK, from, ENTERED_MAX)?;
                let before =
                    entered.into_iter().rev().find(|it| it.at <= printed && it.console == console);
                before.map(|it| Deed {
                    at: it.at,
                    who: timeline.actor(it.actor).to_owned(),
                    what: Done::Entered { console, line: it.line },
                })
            }
        };
        Ok(Some(Line { text: shown.text, printed, entered }))
    }
}

/// The last ones, at most so many.
struct Last<T> {
    items: VecDeque<T>,
    items_max: usize,
    dropped: u64,
}

impl<T> Last<T> {
    fn new(items_max: usize) -> Last<T> {
        Last { items: VecDeque::new(), items_max, dropped: 0 }
    }

    fn push(&mut self, item: T) {
        if self.items.len() == self.items_max {
            self.items.pop_front();
            self.dropped += 1;
        }
        self.items.push_back(item);
    }
}
