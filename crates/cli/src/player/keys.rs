//! The player's keys: bytes as terminals send them, told apart. No I/O, no state of the player.

/// What a key asks the player for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Key {
    /// Leave.
    Quit,
    /// Pause or go on.
    Pause,
    /// Five seconds back.
    Back,
    /// Five seconds ahead.
    Ahead,
    /// A tenth of the whole back.
    FarBack,
    /// A tenth of the whole ahead.
    FarAhead,
    /// To so many tenths of the whole.
    Tenths(u8),
    /// To the end.
    End,
    /// To the mark before.
    PreviousMark,
    /// To the mark after.
    NextMark,
    /// One step back.
    StepBack,
    /// One step ahead.
    Step,
    /// Steps are inputs, or instructions.
    Unit,
    /// Half as fast.
    Slower,
    /// Twice as fast.
    Faster,
    /// Pass over quiet times, or not.
    Idle,
    /// Show the machine's next console.
    Console,
    /// Play the next branch.
    Branch,
    /// Take the keyboard, as the same machine.
    BreakIn,
    /// Take the keyboard, as a machine of its own.
    BreakInFresh,
    /// Show the keys, or no longer.
    Help,
    /// Ctrl-Z.
    Suspend,
}

/// The help, a line for each group of keys.
pub(crate) const HELP: [&str; 15] = [
    "space      pause, go on",
    "← →        5 seconds back, ahead",
    "shift ← →  a tenth of the whole back, ahead",
    "0 … 9      to so many tenths; Home, End",
    "[ ]        to the mark before, after",
    ", .        one step back, ahead",
    "i          steps are inputs, or instructions",
    "< >        half, twice as fast",
    "t          pass over quiet times, or not",
    "v          the machine's next console",
    "n          play the next branch",
    "b          break in: the keyboard is the machine's",
    "B          break in, with a new identity",
    "?          this help",
    "q          quit",
];

/// Most bytes of an escape sequence: longer ones are none of ours.
const SEQUENCE_BYTES_MAX: usize = 16;

/// Tells keys apart; an escape sequence may come in pieces.
#[derive(Default)]
pub(crate) struct Keys {
    sequence: Vec<u8>,
}

impl Keys {
    /// The keys in `bytes`, as typed.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        bytes.iter().filter_map(|byte| self.byte(*byte)).collect()
    }

    fn byte(&mut self, byte: u8) -> Option<Key> {
        match (self.sequence.as_slice(), byte) {
            // Also after a lone Escape, which means nothing.
            (_, 0x1b) => self.sequence = vec![byte],
            ([], _) => return plain(byte),
            ([0x1b], b'[' | b'O') => self.sequence.push(byte),
            ([0x1b], _) => {
                self.sequence.clear();
                return plain(byte);
            }
            (_, b'@'..=b'~') => {
                self.sequence.push(byte);
                let sequence = std::mem::take(&mut self.sequence);
                return special(&sequence);
            }
            // Its end is still to come, and is no key either.
            (sequence, _) if sequence.len() >= SEQUENCE_BYTES_MAX => {}
            _ => self.sequence.push(byte),
        }
        None
    }
}

fn plain(byte: u8) -> Option<Key> {
    Some(match byte {
        b'q' | b'Q' | 0x03 | 0x04 => Key::Quit,
        b' ' | b'p' => Key::Pause,
        b'0'..=b'9' => Key::Tenths(byte - b'0'),
        b'[' => Key::PreviousMark,
        b']' => Key::NextMark,
        b',' => Key::StepBack,
        b'.' => Key::Step,
        b'i' => Key::Unit,
        b'<' => Key::Slower,
        b'>' => Key::Faster,
        b't' => Key::Idle,
        b'v' => Key::Console,
        b'n' => Key::Branch,
        b'b' => Key::BreakIn,
        b'B' => Key::BreakInFresh,
        b'?' | b'h' => Key::Help,
        0x1a => Key::Suspend,
        _ => return None,
    })
}

fn special(sequence: &[u8]) -> Option<Key> {
    Some(match &sequence[2..] {
        b"D" => Key::Back,
        b"C" => Key::Ahead,
        // Shift, and what terminals that keep shift for themselves still pass on.
        b"1;2D" | b"1;5D" | b"d" => Key::FarBack,
        b"1;2C" | b"1;5C" | b"c" => Key::FarAhead,
        b"H" | b"1~" | b"7~" => Key::Tenths(0),
        b"F" | b"4~" | b"8~" => Key::End,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(typed: &str, expected: &[Key]) {
        for piece in [1, 2, 100] {
            let mut keys = Keys::default();
            let seen: Vec<Key> =
                typed.as_bytes().chunks(piece).flat_map(|bytes| keys.read(bytes)).collect();
            assert_eq!(seen, expected, "{typed:?} in pieces of {piece}");
        }
    }

    #[test]
    fn keys_are_as_in_other_players() {
        check(" q", &[Key::Pause, Key::Quit]);
        check("\x1b[C\x1b[D", &[Key::Ahead, Key::Back]);
        check("\x1bOC\x1bOD", &[Key::Ahead, Key::Back]);
        check("\x1b[1;2C\x1b[1;2D", &[Key::FarAhead, Key::FarBack]);
        check("07", &[Key::Tenths(0), Key::Tenths(7)]);
        check("\x1b[H\x1b[F", &[Key::Tenths(0), Key::End]);
        check("[],.", &[Key::PreviousMark, Key::NextMark, Key::StepBack, Key::Step]);
        check("<>", &[Key::Slower, Key::Faster]);
        check("bB", &[Key::BreakIn, Key::BreakInFresh]);
        check("\x03", &[Key::Quit]);
    }

    #[test]
    fn what_is_no_key_does_nothing_and_swallows_nothing() {
        check("xyz\r\n", &[]);
        check("\x1b\x1b[C", &[Key::Ahead]);
        check("\x1bq", &[Key::Quit]);
        check("\x1b[200~q", &[Key::Quit]);
        check("\x1b[?1;2cq", &[Key::Quit]);
        check(&format!("\x1b[{}q ", "1".repeat(40)), &[Key::Pause]);
    }
}
