//! Progress on standard error: one line that is rewritten on a terminal, or one line per phase
//! where nobody watches. Standard output is never touched.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use stackvm_images::{Phase, Progress as Report};

use crate::values::show_bytes;

/// How often the line is rewritten.
const REDRAW_INTERVAL: Duration = Duration::from_millis(80);
/// Cells in the bar.
const BAR_CELLS: usize = 24;

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

    /// Shows what is being done, and how far it is where that is known.
    pub(crate) fn update(&mut self, report: &Report) {
        let new_phase = self.phase != report.phase.label();
        if new_phase {
            report.phase.label().clone_into(&mut self.phase);
            if !self.terminal {
                let _ = writeln!(stderr(), "{}: {}", self.phase, report.message);
            }
        }
        let due = self.last.is_none_or(|last| last.elapsed() >= REDRAW_INTERVAL);
        if self.terminal && (new_phase || due) {
            self.last = Some(Instant::now());
            self.redraw(&line(report));
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

fn line(report: &Report) -> String {
    let (phase, message) = (report.phase.label(), &report.message);
    let (Some(percent), Some(done), Some(total)) =
        (report.percent(), report.done_bytes, report.total_bytes)
    else {
        return format!("{phase}  {message}");
    };
    let cells = BAR_CELLS * usize::from(percent) / 100;
    let bar = format!("{}{}", "━".repeat(cells), "─".repeat(BAR_CELLS - cells));
    match report.phase {
        // It counts steps, everything else bytes.
        Phase::Install => format!("{phase}  {bar} {percent}%  {message}"),
        _ => format!(
            "{phase}  {bar} {percent}%  {} of {}  {message}",
            show_bytes(done),
            show_bytes(total)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_phase_percent_and_bytes() {
        let check = |phase, done, total, expected: &str| {
            let message = "linux".to_owned();
            let report = Report { phase, done_bytes: done, total_bytes: total, message };
            let bar = format!("{}{}", "━".repeat(12), "─".repeat(12));
            assert_eq!(line(&report), expected.replace("BAR", &bar));
        };
        let (half, whole) = (Some(26_000_000), Some(52_000_000));
        check(Phase::Download, half, whole, "download  BAR 50%  26.0 MB of 52.0 MB  linux");
        check(Phase::Install, Some(5_000), Some(10_000), "install  BAR 50%  linux");
        check(Phase::Lists, None, None, "package lists  linux");
        check(Phase::Lists, Some(5), None, "package lists  linux");
    }
}
