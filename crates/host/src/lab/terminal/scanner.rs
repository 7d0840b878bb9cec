//! Finds what a guest asks its terminal, in the middle of what it writes.
//!
//! A terminal answers such queries by typing. Several would answer several times, so none may see
//! them: they are taken out of the stream here, whoever is attached. Sequences are held back until
//! they are whole, so queries are found however the stream is cut; what is not whole when something
//! else begins never had an effect and is dropped. The guest is hostile: a sequence that is too long
//! to be looked at as a whole is dropped if it could be a query, and nothing grows without limit.

use super::modes::{Modes, Turn};
use super::queries::{self, Query};

/// Longest control sequence: a longer one is dropped.
const SEQUENCE_BYTES_MAX: usize = 1024;
/// Bytes of a string (a title, a colour, an image) after which it is passed on as it comes.
const STRING_BYTES_MAX: usize = 4096;

const BEL: u8 = 0x07;
const CAN: u8 = 0x18;
const SUB: u8 = 0x1a;
const ESC: u8 = 0x1b;
const ENQ: u8 = 0x05;
/// Begins a C1 control in UTF-8, whose second byte is the control.
const LEAD: u8 = 0xc2;
/// What ends a string.
const TERMINATOR: &[u8] = b"\x1b\\";

/// A piece of what was scanned.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Scanned {
    /// To be shown.
    Text(Vec<u8>),
    /// A query at this point of the stream.
    Query(Query),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Ground,
    /// After [`LEAD`].
    Lead,
    /// After ESC; `held` has it and what followed.
    Escape,
    /// In a control sequence, which `held` has.
    Sequence,
    /// In the head of a device control string, which `held` has.
    Head,
    /// In a string.
    String(Fate),
    /// In a string, after [`LEAD`].
    StringLead(Fate),
}

/// What becomes of a string.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// `held` has it: an operating system command that is looked at when it is whole.
    Held,
    /// It is passed on.
    Passed,
    /// It goes nowhere.
    Dropped,
}

/// Reads what a guest writes.
#[derive(Clone, Debug, Default)]
pub(super) struct Scanner {
    state: State,
    held: Vec<u8>,
    /// `held` lacks something, because it would be too long.
    cut: bool,
    /// What answers the device control string that is being dropped.
    answer: Option<&'static [u8]>,
    /// A string was just ended, so that the rest of its terminator does nothing.
    ended: bool,
    pub(super) modes: Modes,
}

impl Scanner {
    /// Reads on; pieces come in order.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Vec<Scanned> {
        let mut out = Vec::new();
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            if self.state == State::Ground {
                let plain = |byte: &u8| !matches!(*byte, ESC | ENQ | LEAD);
                let count = rest.iter().position(|byte| !plain(byte)).unwrap_or(rest.len());
                if count > 0 {
                    pass(&mut out, &rest[..count]);
                    self.ended = false;
                    rest = &rest[count..];
                    continue;
                }
            }
            rest = after;
            // A byte that ends one thing may begin another; twice is enough for any.
            for _ in 0..3 {
                if self.byte(byte, &mut out) == Took::It {
                    break;
                }
            }
        }
        out
    }

    fn byte(&mut self, byte: u8, out: &mut Vec<Scanned>) -> Took {
        match self.state {
            State::Ground => self.ground(byte, out),
            State::Lead => self.lead(byte, out),
            State::Escape => self.escape(byte, out),
            State::Sequence => self.sequence(byte, out),
            State::Head => self.head(byte, out),
            State::String(fate) => self.string(fate, byte, out),
            State::StringLead(fate) => self.string_lead(fate, byte, out),
        }
    }

    fn ground(&mut self, byte: u8, out: &mut Vec<Scanned>) -> Took {
        match byte {
            ESC => self.begin(State::Escape, &[ESC]),
            LEAD => self.state = State::Lead,
            ENQ => {}
            byte => pass(out, &[byte]),
        }
        Took::It
    }

    fn lead(&mut self, byte: u8, out: &mut Vec<Scanned>) -> Took {
        self.state = State::Ground;
        if !(0x80..0xa0).contains(&byte) {
            pass(out, &[LEAD]);
            return Took::Nothing;
        }
        // The 7-bit form means the same.
        self.introduce(byte - 0x40, out);
        Took::It
    }

    fn escape(&mut self, byte: u8, out: &mut Vec<Scanned>) -> Took {
        let ended = std::mem::take(&mut self.ended);
        match byte {
            ESC => self.begin(State::Escape, &[ESC]),
            CAN | SUB => self.state = State::Ground,
            ENQ | 0x7f => self.ended = ended,
            // Other controls do what they do at once.
            0..0x20 => {
                pass(out, &[byte]);
                self.ended = ended;
            }
            0x20..0x30 => {
                self.hold(byte);
                self.ended = ended;
            }
            0x80.. => {
                self.state = State::Ground;
                return Took::Nothing;
            }
            b'\\' if ended && self.held.len() == 1 => self.state = State::Ground,
            _ if self.held.len() == 1 => self.introduce(byte, out),
            _ => {
                self.hold(byte);
                self.state = State::Ground;
                if !self.cut {
                    pass(out, &self.held);
                }
            }
        }
        Took::It
    }

    /// ESC and this byte, or their C1 form.
    fn introduce(&mut self, byte: u8, out: &mut Vec<Scanned>) {
        self.state = State::Ground;
        match byte {
            b'[' => return self.begin(State::Sequence, b"\x1b["),
            b']' => return self.begin(State::String(Fate::Held), b"\x1b]"),
            b'P' => return self.begin(State::Head, b"\x1bP"),
            b'X' | b'^' | b'_' => return self.begin(State::String(Fate::Dropped), b""),
            b'Z' => return out.push(Scanned::Query(queries::attributes())),
            b'c' => self.modes.reset(),
            b'=' => self.modes.keypad(Turn::On),
            b'>' => self.modes.keypad(Turn::Off),
            _ => {}
        }
        pass(out, &[ESC, byte]);
    }

    fn sequence(&mut self, byte: u8, out: &mut Vec<Scanned>) -> Took {
        match byte {
            0x20..0x40 => self.hold(byte),
            0x40..0x7f => {
                self.hold(byte);
                self.state = State::Ground;
                if !self.cut {
                    let held = std::mem::take(&mut self.held);
                    match queries::sequence(&held[2..], &mut self.modes) {
                        queries::Found::Query(query) => out.push(Scanned::Query(query)),
                        queries::Found::Unanswered => {}
                        queries::Found::Other => pass(out, &held),
                    }
                    self.held = held;
                }
            }
            CAN | SUB => self.state = State::Ground,
            ENQ | 0x7f => {}
            ESC | 0x80.. => {
                self.state = State::Ground;
                return Took::Nothing;
            }
            0..0x20 => pass(out, &[byte]),
        }
        Took::It
    }

    fn head(&mut self, byte: u8, out: &mut Vec<Scanned>) -> Took {
        match byte {
            0x20..0x40 => self.hold(byte),
            0x40..0x7f => {
                self.hold(byte);
                self.answer = queries::device_control(&self.held[2..]);
                let drops = self.cut || self.answer.is_some();
                if !drops {
                    pass(out, &self.held);
                }
                self.state = State::String(if drops { Fate::Dropped } else { Fate::Passed });
            }
            CAN | SUB => self.state = State::Ground,
            ESC => {
                self.state = State::Ground;
                return Took::Nothing;
            }
            0..0x20 | 0x7f => {}
            0x80.. => {
                self.state = State::String(Fate::Dropped);
                return Took::Nothing;
            }
        }
        Took::It
    }

    fn string(&mut self, fate: Fate, byte: u8, out: &mut Vec<Scanned>) -> Took {
        match byte {
            // A device control string may contain it.
            BEL if fate == Fate::Held || self.held.starts_with(b"\x1b]") => {
                self.end(fate, &[BEL], out);
                self.state = State::Ground;
            }
            CAN | SUB => {
                if fate == Fate::Passed {
                    pass(out, &[byte]);
                }
                self.answer = None;
                self.state = State::Ground;
            }
            ESC => {
                self.end(fate, TERMINATOR, out);
                self.begin(State::Escape, &[ESC]);
                self.ended = true;
            }
            LEAD => self.state = State::StringLead(fate),
            byte => self.text(fate, byte, out),
        }
        Took::It
    }

    fn string_lead(&mut self, fate: Fate, byte: u8, out: &mut Vec<Scanned>) -> Took {
        if (0x80..0xa0).contains(&byte) {
            self.end(fate, TERMINATOR, out);
            self.state = if byte == 0x9c { State::Ground } else { State::Lead };
            return if byte == 0x9c { Took::It } else { Took::Nothing };
        }
        self.state = State::String(fate);
        self.text(fate, LEAD, out);
        Took::Nothing
    }

    /// A byte of a string's text.
    fn text(&mut self, fate: Fate, byte: u8, out: &mut Vec<Scanned>) {
        match fate {
            Fate::Dropped => {}
            Fate::Passed => pass(out, &[byte]),
            Fate::Held if self.held.len() < STRING_BYTES_MAX => self.held.push(byte),
            Fate::Held => {
                let fate = match queries::may_ask(&self.held[2..]) {
                    true => Fate::Dropped,
                    false => Fate::Passed,
                };
                self.state = State::String(fate);
                if fate == Fate::Passed {
                    pass(out, &self.held);
                    pass(out, &[byte]);
                }
            }
        }
    }

    /// A string is whole.
    fn end(&mut self, fate: Fate, terminator: &[u8], out: &mut Vec<Scanned>) {
        match fate {
            Fate::Passed => pass(out, terminator),
            Fate::Dropped => {
                let answer = self.answer.take();
                out.extend(answer.map(|bytes| Scanned::Query(Query::Fixed(bytes.to_vec()))));
            }
            Fate::Held => match queries::command(&self.held[2..], &mut self.modes) {
                queries::Found::Query(query) => out.push(Scanned::Query(query)),
                queries::Found::Unanswered => {}
                queries::Found::Other => {
                    pass(out, &self.held);
                    pass(out, terminator);
                }
            },
        }
    }

    fn begin(&mut self, state: State, held: &[u8]) {
        self.state = state;
        self.held.clear();
        self.held.extend_from_slice(held);
        (self.cut, self.answer) = (false, None);
    }

    fn hold(&mut self, byte: u8) {
        if self.held.len() < SEQUENCE_BYTES_MAX {
            self.held.push(byte);
        } else {
            self.cut = true;
        }
    }
}

/// Whether a byte was taken, or is to be looked at again in the state that it led to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Took {
    It,
    Nothing,
}

fn pass(out: &mut Vec<Scanned>, bytes: &[u8]) {
    match out.last_mut() {
        Some(Scanned::Text(text)) => text.extend_from_slice(bytes),
        _ => out.push(Scanned::Text(bytes.to_vec())),
    }
}

#[cfg(test)]
mod tests;
