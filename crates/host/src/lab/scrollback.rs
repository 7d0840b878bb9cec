//! The recent output of a terminal.

use std::collections::VecDeque;

use stackvm_timeline::screen::ScreenState;

use crate::protocol::{SCROLLBACK_BYTES, Size};

/// The last [`SCROLLBACK_BYTES`] that a terminal wrote, and its size.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Scrollback {
    bytes: VecDeque<u8>,
    /// The size last set, if any.
    pub(crate) size: Option<Size>,
}

impl Scrollback {
    /// Of a terminal that shows what a recording says.
    pub(crate) fn restored(screen: &ScreenState) -> Scrollback {
        let mut scrollback = Scrollback::default();
        scrollback.write(screen.dump.as_bytes());
        scrollback.write(&screen.partial);
        let &ScreenState { columns, rows, .. } = screen;
        scrollback.size = Some(Size { columns, rows });
        scrollback
    }

    /// The size last set, if any.
    pub fn size(&self) -> Option<Size> {
        self.size
    }

    /// The bytes. When older ones are gone it begins after a line's end, if there is one: not in
    /// the middle of a character or control sequence.
    pub fn bytes(&self) -> Vec<u8> {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        if bytes.len() < SCROLLBACK_BYTES {
            return bytes;
        }
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(at) => bytes[at + 1..].to_vec(),
            None => bytes,
        }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(SCROLLBACK_BYTES)..];
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(SCROLLBACK_BYTES);
        self.bytes.drain(..excess);
        self.bytes.extend(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_recent_output_is_kept() {
        let check = |writes: &[&[u8]], expected: &[u8]| {
            let mut scrollback = Scrollback::default();
            writes.iter().for_each(|bytes| scrollback.write(bytes));
            assert_eq!(scrollback.bytes(), expected);
            assert!(scrollback.bytes.len() <= SCROLLBACK_BYTES);
        };
        check(&[b"a", b"", b"b\n"], b"ab\n");
        let long = vec![b'x'; SCROLLBACK_BYTES + 10];
        check(&[&long], &long[10..]);
        check(&[&long, b"\nprompt"], b"prompt");
        check(&[b"first\n", &long[..SCROLLBACK_BYTES - 3]], &long[..SCROLLBACK_BYTES - 3]);
    }
}
