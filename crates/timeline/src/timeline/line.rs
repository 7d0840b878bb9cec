//! When a line on a terminal was printed.

use stackvm_machine::{ConsoleId, Instant};

use super::picture::empty;
use super::{OpenError, Timeline};
use crate::branch::BranchId;
use crate::screen::scrolled::Scrolled;
use crate::track::TrackEvent;

/// A line that a terminal shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineShown {
    /// Its text, without the blanks at its end.
    pub text: String,
    /// When it was last written, wherever on the screen it was then; `None` for a full-screen
    /// program's, which draws as it likes.
    pub written: Option<Instant>,
}

impl Timeline {
    /// The line in a row, counted from 0, of what a terminal showed at an instant of a branch;
    /// `None` if it has no such row. What stood there when the branch began counts as written then.
    ///
    /// # Errors
    /// [`OpenError`] when the track or a keyframe's picture is damaged.
    pub fn line(
        &self,
        branch: BranchId,
        console: ConsoleId,
        at: Instant,
        row: usize,
    ) -> Result<Option<LineShown>, OpenError> {
        let begin = self.begin(branch);
        let keyframes = self.keyframes_of(branch);
        let mut place = keyframes.partition_point(|keyframe| keyframe.at <= at);
        // What the screen of a keyframe shows already is older than that: further back, twice as
        // far each time, so that all of it takes no longer than twice the last look.
        let mut back = 1;
        loop {
            place = place.saturating_sub(back);
            back *= 2;
            let from = if place == 0 { begin } else { keyframes[place].at };
            let drawn = self.drawn_from(branch, console, from.min(at), at)?;
            let screen = drawn.screen();
            let Some(line) = screen.lines().nth(row) else { return Ok(None) };
            let text = line.text().trim_end().to_owned();
            match drawn.written(row) {
                Some(Instant::ZERO) if place > 0 => {}
                Some(Instant::ZERO) => {
                    return Ok(Some(LineShown { text, written: Some(begin) }));
                }
                written => return Ok(Some(LineShown { text, written })),
            }
        }
    }

    /// A terminal at an instant, drawn from the last keyframe before another on.
    fn drawn_from(
        &self,
        branch: BranchId,
        console: ConsoleId,
        from: Instant,
        at: Instant,
    ) -> Result<Scrolled, OpenError> {
        let (mut screens, track) = self.drawn_before(branch, Some(console), from)?;
        let mut drawn = Scrolled::new(screens.remove(&console).unwrap_or_else(empty));
        for item in track {
            let item = item?;
            if item.at > at {
                break;
            }
            match item.event {
                _ if item.console != console => {}
                TrackEvent::Output(bytes) => drawn.feed(&bytes, item.at),
                TrackEvent::Resize { columns, rows } => drawn.resize(columns, rows),
            }
        }
        Ok(drawn)
    }
}

#[cfg(test)]
mod tests;
