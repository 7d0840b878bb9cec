//! The recent output of one screen, addressed by position, so that each viewer only needs a number
//! to know what it has seen. Bounded; what falls out is noticed by whoever had not seen it.

use std::collections::VecDeque;

/// Bytes kept of each screen.
pub(crate) const SCROLLBACK_BYTES: usize = 256 << 10;
/// How far a replay looks for the start of a line.
const LINE_SEARCH_BYTES: usize = 4 << 10;

/// Recent output and the position of its first byte.
#[derive(Debug, Default)]
pub(crate) struct Scrollback {
    start: u64,
    bytes: VecDeque<u8>,
    /// Whether bytes before `start` were dropped, so that `start` may lie within a line or an
    /// escape sequence.
    trimmed: bool,
}

/// A piece of output.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Piece {
    /// Position of the first byte.
    pub(crate) position: u64,
    /// The bytes; at least one.
    pub(crate) bytes: Vec<u8>,
    /// Whether it does not follow what the asker had seen.
    pub(crate) gap: bool,
}

impl Scrollback {
    /// Position after the last byte.
    pub(crate) fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    /// Adds output.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(SCROLLBACK_BYTES);
        if excess > 0 {
            self.bytes.drain(..excess);
            self.start += excess as u64;
            self.trimmed = true;
        }
    }

    /// Forgets everything; whoever was up to date meets a gap.
    pub(crate) fn clear(&mut self) {
        self.start = self.end() + 1;
        self.bytes.clear();
        self.trimmed = false;
    }

    /// Whether somebody who has seen everything before `seen` has seen everything.
    pub(crate) fn is_current(&self, seen: u64) -> bool {
        seen == self.end() || (self.bytes.is_empty() && seen == 0)
    }

    /// The next at most `bytes_max` bytes for somebody who has seen everything before `seen`.
    /// A clear with nothing after it is a gap with no bytes.
    pub(crate) fn since(&self, seen: u64, bytes_max: usize) -> Option<Piece> {
        if self.is_current(seen) {
            return None;
        }
        let known = (self.start..=self.end()).contains(&seen);
        let offset = if known { (seen - self.start) as usize } else { self.first_line() };
        let length = bytes_max.min(self.bytes.len() - offset);
        let bytes = self.bytes.range(offset..offset + length).copied().collect();
        // Somebody new has seen nothing, so there is nothing to clear.
        let gap = !known && seen != 0;
        Some(Piece { position: self.start + offset as u64, bytes, gap })
    }

    /// Where a replay begins: at a line, as half an escape sequence would show as rubbish.
    fn first_line(&self) -> usize {
        if !self.trimmed {
            return 0;
        }
        let newline = self.bytes.iter().take(LINE_SEARCH_BYTES).position(|&byte| byte == b'\n');
        newline.map_or(0, |at| at + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(position: u64, bytes: &[u8], gap: bool) -> Option<Piece> {
        Some(Piece { position, bytes: bytes.to_vec(), gap })
    }

    #[test]
    fn each_asker_gets_what_it_has_not_seen() {
        let mut scrollback = Scrollback::default();
        assert_eq!(scrollback.since(0, 10), None);
        scrollback.push(b"hello");
        assert_eq!(scrollback.since(0, 3), piece(0, b"hel", false));
        assert_eq!(scrollback.since(3, 10), piece(3, b"lo", false));
        assert_eq!(scrollback.since(5, 10), None);
        // A position from another run lies in the future.
        assert_eq!(scrollback.since(99, 10), piece(0, b"hello", true));
    }

    #[test]
    fn who_is_too_slow_meets_a_gap_and_goes_on_at_a_line() {
        let mut scrollback = Scrollback::default();
        scrollback.push(b"a line that falls out\r\n");
        scrollback.push(b"\x1b[31mhalf of this falls out\r\nkept\r\n");
        scrollback.push(&vec![b'x'; SCROLLBACK_BYTES - 20]);
        assert_eq!(scrollback.bytes.len(), SCROLLBACK_BYTES);
        let seen = 23;
        let found = scrollback.since(seen, 6).unwrap();
        assert!(found.gap && found.position > seen);
        assert_eq!(found.bytes, b"kept\r\n");
        // Somebody new gets the same, without a gap.
        assert!(!scrollback.since(0, 6).unwrap().gap);
    }

    #[test]
    fn a_clear_is_a_gap_for_everybody_but_the_new() {
        let mut scrollback = Scrollback::default();
        scrollback.push(b"old");
        scrollback.clear();
        let found = scrollback.since(3, 10).unwrap();
        assert_eq!(found, Piece { position: 4, bytes: vec![], gap: true });
        assert_eq!(scrollback.since(4, 10), None);
        assert_eq!(scrollback.since(0, 10), None);
        scrollback.push(b"new");
        assert_eq!(scrollback.since(3, 10), piece(4, b"new", true));
        assert_eq!(scrollback.since(0, 10), piece(4, b"new", false));
    }
}
