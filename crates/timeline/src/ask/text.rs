//! Finding text in what a terminal was sent: bytes with control sequences between them.

/// Whether capitals matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Case {
    /// They do.
    Matters,
    /// They do not.
    Ignored,
}

/// What to look for: a text within a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    text: Vec<char>,
    case: Case,
}

/// Characters of a line that are remembered: of a longer one the end.
const LINE_CHARS_MAX: usize = 16 << 10;
/// Characters around a match that are shown.
const SHOWN_CHARS_MAX: usize = 400;

impl Pattern {
    /// Looks for `text`; `None` if it is empty or of more than one line.
    pub fn new(text: &str, case: Case) -> Option<Pattern> {
        if text.is_empty() || text.contains(['\n', '\r']) {
            return None;
        }
        Some(Pattern { text: text.chars().map(|c| folded(c, case)).collect(), case })
    }

    /// Every line in which anything is.
    pub fn any() -> Pattern {
        Pattern { text: Vec::new(), case: Case::Matters }
    }

    /// Whether it is at the end of a line.
    fn ends(&self, line: &[char]) -> bool {
        line.len() >= self.text.len() && {
            let end = &line[line.len() - self.text.len()..];
            end.iter().zip(&self.text).all(|(&c, &wanted)| folded(c, self.case) == wanted)
        }
    }
}

fn folded(c: char, case: Case) -> char {
    match case {
        Case::Matters => c,
        Case::Ignored if c.is_ascii() => c.to_ascii_lowercase(),
        // One for one: what has several lower-case letters is compared by the first.
        Case::Ignored => c.to_lowercase().next().unwrap_or(c),
    }
}

/// Where the reader of a terminal's bytes is in a control sequence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Text,
    Escape,
    /// After ESC and an intermediate byte: one more.
    EscapeMore,
    Csi,
    /// OSC, DCS and the like: up to BEL or ST.
    String,
    StringEscape,
}

/// Reads what one terminal was sent and tells lines that have the pattern.
#[derive(Debug)]
pub(super) struct LineFinder {
    pattern: Pattern,
    state: State,
    partial: Vec<u8>,
    line: Vec<char>,
    /// Whatever the caller said of the byte that completed the line's first match.
    matched: Option<u64>,
}

/// A line with a match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Line {
    /// What it says, as far as it is near the match.
    pub(super) text: String,
    /// Index of the byte that completed the first match, of all that were read.
    pub(super) byte: u64,
}

impl LineFinder {
    pub(super) fn new(pattern: Pattern) -> LineFinder {
        let (state, partial, line) = (State::Text, Vec::new(), Vec::new());
        LineFinder { pattern, state, partial, line, matched: None }
    }

    /// Reads a byte, the `index`-th; a line that ends with it and has a match is returned.
    pub(super) fn read(&mut self, byte: u8, index: u64) -> Option<Line> {
        match (self.state, byte) {
            (State::String, 0x07) | (State::StringEscape, b'\\') => self.state = State::Text,
            (State::String, 0x1b) => self.state = State::StringEscape,
            (State::StringEscape, _) => self.state = State::String,
            (State::String, _) => {}
            (_, 0x1b) => self.state = State::Escape,
            (_, b'\n' | b'\r') => {
                self.state = State::Text;
                return self.end();
            }
            (State::Escape, b'[') => self.state = State::Csi,
            (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => self.state = State::String,
            (State::Escape, 0x20..=0x2f) => self.state = State::EscapeMore,
            // What is drawn elsewhere on the screen is another line (CUP, HVP, VPA).
            (State::Csi, b'H' | b'f' | b'd') => {
                self.state = State::Text;
                return self.end();
            }
            (State::Escape | State::EscapeMore, _) | (State::Csi, 0x40..=0x7e) => {
                self.state = State::Text;
            }
            (State::Csi, _) => {}
            // What is typed is corrected like this.
            (State::Text, 0x08) => _ = self.line.pop(),
            (State::Text, 0x00..=0x1f | 0x7f) => {}
            (State::Text, _) => self.text(byte, index),
        }
        None
    }

    /// The line that has not ended yet, if it has a match.
    pub(super) fn end(&mut self) -> Option<Line> {
        let line = std::mem::take(&mut self.line);
        self.partial.clear();
        let byte = self.matched.take()?;
        let text: String = line.iter().take(SHOWN_CHARS_MAX).collect();
        Some(Line { text: text.trim_end().to_owned(), byte })
    }

    fn text(&mut self, byte: u8, index: u64) {
        // Nearly all of it.
        if byte.is_ascii() && self.partial.is_empty() {
            return self.character(char::from(byte), index);
        }
        self.partial.push(byte);
        let c = match std::str::from_utf8(&self.partial) {
            Ok(text) => text.chars().next().expect("a byte was pushed"),
            Err(error) if error.error_len().is_none() => return,
            Err(_) => char::REPLACEMENT_CHARACTER,
        };
        self.partial.clear();
        self.character(c, index);
    }

    fn character(&mut self, c: char, index: u64) {
        if self.line.len() == LINE_CHARS_MAX {
            self.line.drain(..LINE_CHARS_MAX / 2);
        }
        self.line.push(c);
        if self.matched.is_none() && self.pattern.ends(&self.line) {
            self.matched = Some(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with a match, each with the text up to the byte that completed it.
    #[track_caller]
    fn check(sent: &str, pattern: &str, case: Case, expected: &[(&str, &str)]) {
        let mut finder = LineFinder::new(Pattern::new(pattern, case).expect("a pattern"));
        let mut lines = Vec::new();
        for (index, byte) in sent.bytes().enumerate() {
            lines.extend(finder.read(byte, index as u64));
        }
        lines.extend(finder.end());
        let found: Vec<(&str, &str)> =
            lines.iter().map(|line| (line.text.as_str(), &sent[..=line.byte as usize])).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn text_is_found_between_control_sequences() {
        let plain = |sent, pattern, expected: &[_]| check(sent, pattern, Case::Matters, expected);
        plain("an error\r\nno\n", "error", &[("an error", "an error")]);
        plain("error error\n", "error", &[("error error", "error")]);
        plain("er\x1b[31mr\x1b[0mor\n", "error", &[("error", "er\x1b[31mr\x1b[0mor")]);
        plain("\x1b]0;error\x07fine\n", "error", &[]);
        plain("\x1bP1;error\x1b\\fine\n", "error", &[]);
        plain("\x1b(Berror", "error", &[("error", "\x1b(Berror")]);
        // Corrected while typing, and what never was on a line of its own.
        plain("erx\x08ror\n", "error", &[("error", "erx\x08ror")]);
        plain("er\r\nror\n", "error", &[]);
        plain("10%\r20%\r", "0%", &[("10%", "10%"), ("20%", "10%\r20%")]);
        plain("gr\u{fc}n\n", "\u{fc}n", &[("gr\u{fc}n", "gr\u{fc}n")]);
        plain("Error\n", "error", &[]);
        check("ERROR\n", "eRRor", Case::Ignored, &[("ERROR", "ERROR")]);
    }

    #[test]
    fn patterns_are_within_a_line() {
        assert_eq!(Pattern::new("", Case::Matters), None);
        assert_eq!(Pattern::new("a\nb", Case::Matters), None);
    }
}
