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
    /// later and that have a text in them, whatever the case of its letters; in order. `None` as soon
    /// as `goes_on` says that nobody wants them any more.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn printed(
        &self,
        id: &str,
        from: Instant,
        text: &str,
        lines_max: usize,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<Vec<Printed>>, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let Some(pattern) = Pattern::new(text, Case::Ignored) else { return Ok(Some(Vec::new())) };
        let trunk = BranchId::TRUNK;
        let hits = ask::last_shown(&timeline, trunk, from, &pattern, lines_max, goes_on)?;
        let printed = |Hit { at, console, line, .. }| Printed { at, console, line };
        Ok(hits.map(|hits| hits.into_iter().map(printed).collect()))
    }

    /// What a terminal of a kept machine showed at an instant and printed from then on: the last
    /// lines, at most so many. `None` as soon as `goes_on` says that nobody wants them any more.
    ///
    /// # Errors
    /// [`MachinesError::NoPast`], [`MachinesError::Journal`], [`MachinesError::Unknown`].
    pub fn text(
        &self,
        id: &str,
        console: ConsoleId,
        from: Instant,
        lines_max: usize,
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Option<Text>, MachinesError> {
        let timeline = Timeline::open(&self.journal(id)?)?;
        let (mut last, mut lines_before) = (VecDeque::new(), 0);
        ask::shown(&timeline, BranchId::TRUNK, from, &Pattern::any(), &mut |hit: Hit| {
            if hit.console == console {
                last.push_back(hit.line);
            }
            if last.len() > lines_max {
                last.pop_front();
                lines_before += 1;
            }
            goes_on()
        })?;
        Ok(goes_on().then(|| Text { lines: last.into(), lines_before }))
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
