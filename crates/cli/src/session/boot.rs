//! What is known of a guest that is booting: its kernel log's end, and whether it has died.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::progress::Progress;

/// Bytes of the serial line that are kept for showing when something goes wrong.
const LOG_BYTES_MAX: usize = 16 << 10;
/// Lines of it that are shown.
const LOG_LINES_MAX: usize = 20;
/// What Linux says when it cannot go on.
const PANIC: &[u8] = b"Kernel panic - not syncing";

/// Watches a boot.
pub(crate) struct Boot {
    log: Vec<u8>,
    start: Instant,
    progress: Option<Progress>,
    name: String,
    hint: &'static str,
}

impl Boot {
    /// A boot of `name` that begins now, with a line of progress; `hint` ends the line.
    pub(crate) fn new(name: &str, hint: &'static str) -> Boot {
        let progress = Some(Progress::new());
        Boot { log: Vec::new(), start: Instant::now(), progress, name: name.to_owned(), hint }
    }

    /// A boot that nobody waits for.
    pub(crate) fn silent() -> Boot {
        Boot { progress: None, ..Boot::new("", "") }
    }

    /// How often [`Boot::tick`] wants to be called while the guest boots.
    pub(crate) const TICK: Duration = Duration::from_millis(100);

    /// Whether the guest has not shown a sign of life yet.
    pub(crate) fn is_waiting(&self) -> bool {
        self.progress.is_some()
    }

    /// Redraws the line.
    pub(crate) fn tick(&mut self) {
        if let Some(progress) = &mut self.progress {
            let tenths = self.start.elapsed().as_millis() / 100;
            let time = format!("{}.{} s", tenths / 10, tenths % 10);
            progress.redraw(&format!("booting {}  {time}  {}", self.name, self.hint));
        }
    }

    /// Makes room for another line; the next tick draws it again.
    pub(crate) fn erase(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.erase();
        }
    }

    /// The guest is up: erases the line.
    pub(crate) fn up(&mut self) {
        self.progress = None;
    }

    /// Reads the serial line; says whether the guest's kernel has just died.
    pub(crate) fn serial(&mut self, bytes: &[u8]) -> bool {
        // Where the new text can first be found together with what came before.
        let from = self.log.len().saturating_sub(PANIC.len() - 1);
        self.log.extend_from_slice(bytes);
        let died = self.log[from..].windows(PANIC.len()).any(|window| window == PANIC);
        if self.log.len() > LOG_BYTES_MAX {
            self.log.drain(..self.log.len() - LOG_BYTES_MAX);
        }
        died
    }

    /// Shows the end of the serial line on standard error.
    pub(crate) fn show_log(&mut self) {
        self.up();
        let text = String::from_utf8_lossy(&self.log);
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        if lines.is_empty() {
            return;
        }
        let mut out = std::io::stderr().lock();
        let _ = writeln!(out, "the end of the guest's kernel log:");
        for line in &lines[lines.len().saturating_sub(LOG_LINES_MAX)..] {
            // Control characters of a dying guest have no business in this terminal.
            let plain: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
            let _ = writeln!(out, "  {plain}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_seen_once_however_it_arrives() {
        for piece in [1, 7, 1000] {
            let mut boot = Boot::new("tiny", "");
            let text = b"[ 1.0] ok\n[ 1.1] Kernel panic - not syncing: no init\n[ 1.2] more\n";
            let seen = text.chunks(piece).filter(|bytes| boot.serial(bytes)).count();
            assert_eq!(seen, 1, "in pieces of {piece}");
        }
        let mut boot = Boot::new("tiny", "");
        assert!(!boot.serial(&[b'x'; LOG_BYTES_MAX * 3]));
        assert!(boot.log.len() <= LOG_BYTES_MAX);
    }
}
