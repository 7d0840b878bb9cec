//! The recent output of one terminal, addressed by position, so that each page only needs a number
//! to know what it has seen. Bounded: whoever needs what has fallen out needs a picture instead.
//!
//! Sizes stand in it where they took effect, so that output is drawn at the size it was made for.

use std::collections::VecDeque;

use stackvm_host::protocol::Size;

/// Bytes kept of each terminal.
pub(super) const STREAM_BYTES: usize = 256 << 10;
/// Changes of size that are kept; who has missed more needs a picture.
const SIZES_MAX: usize = 64;

/// Counts the changes of a terminal's size, from 1.
pub(super) type SizeNumber = u64;

/// A size, and where it took effect.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Resized {
    number: SizeNumber,
    position: u64,
    size: Size,
}

/// Recent output and the position of its first byte.
#[derive(Debug, Default)]
pub(super) struct Stream {
    start: u64,
    bytes: VecDeque<u8>,
    sizes: VecDeque<Resized>,
    sizes_count: SizeNumber,
}

/// How far a page has seen a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Seen {
    /// The position after the last byte.
    pub(super) position: u64,
    /// The last change of size.
    pub(super) size: SizeNumber,
}

/// What comes next for a page.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Next {
    /// It has seen everything.
    Current,
    /// These bytes.
    Bytes(Vec<u8>),
    /// The terminal has this size from here on.
    Size(SizeNumber, Size),
    /// What it should see is not kept.
    Lost,
}

impl Stream {
    /// Where somebody is who has seen everything.
    pub(super) fn end(&self) -> Seen {
        let position = self.start + self.bytes.len() as u64;
        Seen { position, size: self.sizes_count }
    }

    /// The size now, if it is known.
    pub(super) fn size(&self) -> Option<Size> {
        self.sizes.back().map(|resized| resized.size)
    }

    /// Adds output.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend(bytes);
        let excess = self.bytes.len().saturating_sub(STREAM_BYTES);
        self.bytes.drain(..excess);
        self.start += excess as u64;
    }

    /// From here on the terminal has this size.
    pub(super) fn resize(&mut self, size: Size) {
        if self.size() == Some(size) {
            return;
        }
        let position = self.end().position;
        self.sizes_count += 1;
        self.sizes.push_back(Resized { number: self.sizes_count, position, size });
        if self.sizes.len() > SIZES_MAX {
            self.sizes.pop_front();
        }
    }

    /// Forgets all output: whoever has seen some needs a picture.
    pub(super) fn clear(&mut self) {
        self.start = self.end().position + 1;
        self.bytes.clear();
    }

    /// Whether somebody who has seen everything before `position` can go on there.
    pub(super) fn has(&self, position: u64) -> bool {
        (self.start..=self.end().position).contains(&position)
    }

    /// Somebody who comes back at `position`, and is told its size again.
    pub(super) fn resume(&self, position: u64) -> Seen {
        let before = self.sizes.iter().rev().find(|resized| resized.position <= position);
        let size = before.map_or(0, |resized| resized.number - 1);
        Seen { position, size }
    }

    /// What follows, at most `bytes_max` bytes of it.
    pub(super) fn next(&self, seen: Seen, bytes_max: usize) -> Next {
        let missed = self.sizes_count.saturating_sub(seen.size);
        if !self.has(seen.position) || missed > self.sizes.len() as u64 {
            return Next::Lost;
        }
        let resized = self.sizes.iter().find(|resized| resized.number > seen.size);
        let mut length = self.end().position - seen.position;
        if let Some(resized) = resized {
            if resized.position <= seen.position {
                return Next::Size(resized.number, resized.size);
            }
            length = length.min(resized.position - seen.position);
        }
        if length == 0 {
            return Next::Current;
        }
        let from = (seen.position - self.start) as usize;
        let length = bytes_max.min(length as usize);
        Next::Bytes(self.bytes.range(from..from + length).copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Size = Size { columns: 80, rows: 24 };
    const LARGE: Size = Size { columns: 132, rows: 43 };

    fn at(position: u64, size: SizeNumber) -> Seen {
        Seen { position, size }
    }

    #[test]
    fn each_asker_gets_what_it_has_not_seen() {
        let mut stream = Stream::default();
        assert_eq!(stream.next(at(0, 0), 10), Next::Current);
        stream.push(b"hello");
        for (seen, expected) in [
            (0, Next::Bytes(b"hel".to_vec())),
            (3, Next::Bytes(b"lo".to_vec())),
            (5, Next::Current),
            // A position of another run lies in the future.
            (99, Next::Lost),
        ] {
            assert_eq!(stream.next(at(seen, 0), 3), expected, "{seen}");
        }
    }

    #[test]
    fn who_is_too_slow_needs_a_picture_and_memory_is_bounded() {
        let mut stream = Stream::default();
        for _ in 0..100 {
            stream.push(&[b'x'; 10_000]);
        }
        assert_eq!(stream.bytes.len(), STREAM_BYTES);
        assert!(stream.bytes.capacity() <= 4 * STREAM_BYTES);
        let oldest = 1_000_000 - STREAM_BYTES as u64;
        assert_eq!(stream.next(at(oldest - 1, 0), 10), Next::Lost);
        assert_eq!(stream.next(at(oldest, 0), 10), Next::Bytes(vec![b'x'; 10]));
    }

    #[test]
    fn after_a_clear_nobody_is_current() {
        let mut stream = Stream::default();
        stream.push(b"old");
        stream.clear();
        for seen in [0, 3] {
            assert_eq!(stream.next(at(seen, 0), 10), Next::Lost);
        }
        assert_eq!(stream.next(stream.end(), 10), Next::Current);
    }

    #[test]
    fn sizes_come_between_the_bytes_they_came_between() {
        let mut stream = Stream::default();
        stream.resize(SMALL);
        stream.push(b"small");
        stream.resize(LARGE);
        stream.resize(LARGE);
        stream.push(b"large");
        let mut seen = Seen::default();
        let mut got = Vec::new();
        loop {
            match stream.next(seen, 100) {
                Next::Bytes(bytes) => {
                    seen.position += bytes.len() as u64;
                    got.push(String::from_utf8(bytes).unwrap());
                }
                Next::Size(number, size) => {
                    seen.size = number;
                    got.push(size.columns.to_string());
                }
                end => {
                    assert_eq!(end, Next::Current);
                    break;
                }
            }
        }
        assert_eq!(got, ["80", "small", "132", "large"]);
        assert_eq!(stream.next(stream.resume(3), 100), Next::Size(1, SMALL));
        assert_eq!(stream.next(stream.resume(8), 100), Next::Size(2, LARGE));
    }

    #[test]
    fn who_has_missed_too_many_sizes_needs_a_picture() {
        let mut stream = Stream::default();
        for n in 0..=SIZES_MAX as u16 {
            stream.resize(Size { columns: 10 + n, rows: 10 });
        }
        assert_eq!(stream.next(at(0, 0), 10), Next::Lost);
        assert!(matches!(stream.next(at(0, 1), 10), Next::Size(2, _)));
    }
}
