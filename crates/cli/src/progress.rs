//! Progress on standard error: one line that is rewritten on a terminal, or one line per phase
//! where nobody watches. Standard output is never touched.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use crate::values::show_bytes;

/// How often the line is rewritten.
const REDRAW_INTERVAL: Duration = Duration::from_millis(80);
/// Cells in the bar.
const BAR_CELLS: u64 = 24;

/// A line of progress. Dropping it erases the line.
pub(crate) struct Progress {
    terminal: bool,
    phase: String,
    drawn: bool,
    last: Option<Instant>,
}

impl Progress {
    /// Shows nothing yet.
    pub(crate) fn new() -> Progress {
        let terminal = stderr().is_terminal();
        Progress { terminal, phase: String::new(), drawn: false, last: None }
    }

    /// Shows `phase`, and how far it is when `total` is known. What is counted are bytes.
    pub(crate) fn update(&mut self, phase: &str, done: u64, total: Option<u64>) {
        let new_phase = self.phase != phase;
        if new_phase {
            phase.clone_into(&mut self.phase);
            if !self.terminal {
                let _ = writeln!(stderr(), "{phase}");
            }
        }
        let due = self.last.is_none_or(|last| last.elapsed() >= REDRAW_INTERVAL);
        if self.terminal && (new_phase || due) {
            self.last = Some(Instant::now());
            self.redraw(&line(phase, done, total));
        }
    }

    /// Shows a line of any text; nothing where nobody watches.
    pub(crate) fn redraw(&mut self, text: &str) {
        if self.terminal {
            self.drawn = true;
            let _ = write!(stderr(), "\r\x1b[K{text}");
            let _ = stderr().flush();
        }
    }

    /// Removes the line, so that other text can be written.
    pub(crate) fn erase(&mut self) {
        if self.drawn {
            self.drawn = false;
            let _ = write!(stderr(), "\r\x1b[K");
            let _ = stderr().flush();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}

fn line(phase: &str, done: u64, total: Option<u64>) -> String {
    match total {
        Some(total) if total > 0 => {
            let done = done.min(total);
            let cells = u128::from(done) * u128::from(BAR_CELLS) / u128::from(total);
            let cells = usize::try_from(cells).unwrap_or(0);
            let percent = u128::from(done) * 100 / u128::from(total);
            format!(
                "{phase}  {}{} {percent}%  {} of {}",
                "━".repeat(cells),
                "─".repeat(BAR_CELLS as usize - cells),
                show_bytes(done),
                show_bytes(total)
            )
        }
        _ if done > 0 => format!("{phase}  {}", show_bytes(done)),
        _ => format!("{phase} …"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_phase_percent_and_bytes() {
        let half = line("downloading", 26_000_000, Some(52_000_000));
        assert_eq!(half, format!("downloading  {}{} 50%  26.0 MB of 52.0 MB", "━".repeat(12), "─".repeat(12)));
        assert!(line("x", 9, Some(3)).contains("100%"));
        assert_eq!(line("x", 0, Some(0)), "x …");
        assert_eq!(line("x", 1500, None), "x  1 kB");
        assert!(line("x", u64::MAX, Some(u64::MAX)).contains("100%"));
    }
}
