//! Follows the DEC private modes (`ESC [ ? n h`) and attributes in a guest's output, so that a
//! session that ends in the middle of a full-screen program leaves a usable terminal.

use std::collections::BTreeSet;

/// Shown cursor and automatic wrapping: the modes that are normally on.
const NORMALLY_ON: [u16; 2] = [7, 25];
/// Most numbers looked at in one sequence, and modes remembered.
const NUMBERS_MAX: usize = 64;

/// What differs from a fresh terminal.
#[derive(Default)]
pub(crate) struct Modes {
    changed: BTreeSet<u16>,
    coloured: bool,
    state: State,
}

#[derive(Default)]
enum State {
    #[default]
    Text,
    Escape,
    Sequence {
        private: bool,
        numbers: Vec<u16>,
    },
}

impl Modes {
    /// Reads output; sequences may be cut anywhere.
    pub(crate) fn note(&mut self, output: &[u8]) {
        for byte in output {
            self.state = match (std::mem::take(&mut self.state), byte) {
                (_, 0x1b) => State::Escape,
                (State::Escape, b'[') => State::Sequence { private: false, numbers: vec![0] },
                (State::Sequence { numbers, .. }, b'?') => {
                    State::Sequence { private: true, numbers }
                }
                (State::Sequence { private, mut numbers }, b'0'..=b'9') => {
                    if let Some(number) = numbers.last_mut() {
                        *number = number.saturating_mul(10).saturating_add(u16::from(byte - b'0'));
                    }
                    State::Sequence { private, numbers }
                }
                (State::Sequence { private, mut numbers }, b';') => {
                    if numbers.len() < NUMBERS_MAX {
                        numbers.push(0);
                    }
                    State::Sequence { private, numbers }
                }
                (State::Sequence { private, numbers }, letter) => {
                    self.sequence(private, &numbers, *letter);
                    State::Text
                }
                _ => State::Text,
            };
        }
    }

    /// What to write so that the terminal is as before; empty if nothing is needed.
    pub(crate) fn reset(&self) -> Vec<u8> {
        let mut text = String::new();
        for mode in &self.changed {
            let end = if NORMALLY_ON.contains(mode) { 'h' } else { 'l' };
            text += &format!("\x1b[?{mode}{end}");
        }
        if self.coloured {
            text += "\x1b[0m";
        }
        text.into_bytes()
    }

    fn sequence(&mut self, private: bool, numbers: &[u16], letter: u8) {
        match letter {
            b'h' | b'l' if private => {
                for mode in numbers {
                    if (letter == b'h') == NORMALLY_ON.contains(mode) {
                        self.changed.remove(mode);
                    } else if self.changed.len() < NUMBERS_MAX {
                        self.changed.insert(*mode);
                    }
                }
            }
            b'm' if !private => self.coloured = numbers != [0],
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(output: &str, reset: &str) {
        for piece in [1, 3, 1000] {
            let mut modes = Modes::default();
            output.as_bytes().chunks(piece).for_each(|bytes| modes.note(bytes));
            assert_eq!(String::from_utf8(modes.reset()).unwrap(), reset, "{output:?}");
        }
    }

    #[test]
    fn only_what_is_left_on_is_reset() {
        check("plain\r\n", "");
        check("\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l");
        check("\x1b[?1049h\x1b[?1049l", "");
        check("\x1b[?25l\x1b[?25h", "");
        check("\x1b[?1000;1006h", "\x1b[?1000l\x1b[?1006l");
        check("\x1b[31mred", "\x1b[0m");
        check("\x1b[31mred\x1b[0m", "");
        check("\x1b[31mred\x1b[m", "");
        check("\x1b[4h\x1b[2J\x1b[99999999999999h", "");
    }
}
