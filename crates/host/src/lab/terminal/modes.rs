//! Modes, title and looks of a terminal that its screen model does not keep.

use std::collections::BTreeSet;
use std::fmt::Write;

/// Longest title that is kept, in bytes.
const TITLE_BYTES_MAX: usize = 256;
/// Private modes that are known: whoever asks for another hears that there is none.
const KNOWN: [u16; 19] = [
    1, 6, 7, 9, 25, 1000, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016, 1047, 1048, 1049, 2004,
    7727,
];
/// Those of them that the screen model draws itself.
const OF_SCREEN: [u16; 7] = [1, 6, 7, 25, 1047, 1048, 1049];
/// Those that are on at first.
const ON_AT_FIRST: [u16; 2] = [7, 25];
/// Modes of ANSI that are known: insert, new line. The screen model draws both.
const KNOWN_ANSI: [u16; 2] = [4, 20];

/// Whose numbers a mode's is among.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Ansi,
    Private,
}

/// What becomes of a mode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    On,
    Off,
}

/// Everything that is kept.
#[derive(Clone, Debug, Default)]
pub(super) struct Modes {
    /// Private modes that are not as at first.
    changed: BTreeSet<u16>,
    ansi: BTreeSet<u16>,
    application_keypad: bool,
    cursor_style: u16,
    title: String,
}

impl Modes {
    pub(super) fn turn(&mut self, kind: Kind, mode: u16, turn: Turn) {
        let (set, known, differs) = match kind {
            Kind::Ansi => (&mut self.ansi, KNOWN_ANSI.contains(&mode), turn == Turn::On),
            Kind::Private => {
                let at_first = ON_AT_FIRST.contains(&mode);
                (&mut self.changed, KNOWN.contains(&mode), (turn == Turn::On) != at_first)
            }
        };
        if known && differs {
            set.insert(mode);
        } else {
            set.remove(&mode);
        }
    }

    pub(super) fn keypad(&mut self, turn: Turn) {
        self.application_keypad = turn == Turn::On;
    }

    pub(super) fn cursor_style(&mut self, style: u16) {
        self.cursor_style = if style <= 6 { style } else { 0 };
    }

    /// Text only, whatever the guest wrote.
    pub(super) fn title(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.title.clear();
        for letter in text.chars().filter(|letter| !letter.is_control()) {
            if self.title.len() + letter.len_utf8() > TITLE_BYTES_MAX {
                return;
            }
            self.title.push(letter);
        }
    }

    /// As when the terminal was switched on.
    pub(super) fn reset(&mut self) {
        *self = Modes::default();
    }

    /// The answer to whoever asks for a mode: 0 is not known, 1 on, 2 off.
    pub(super) fn report(&self, kind: Kind, mode: u16) -> Vec<u8> {
        let (mark, known, on) = match kind {
            Kind::Ansi => ("", KNOWN_ANSI.contains(&mode), self.ansi.contains(&mode)),
            Kind::Private => {
                let on = self.changed.contains(&mode) != ON_AT_FIRST.contains(&mode);
                ("?", KNOWN.contains(&mode), on)
            }
        };
        let state = match (known, on) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        };
        format!("\x1b[{mark}{mode};{state}$y").into_bytes()
    }

    /// What the guest calls its window.
    pub(super) fn window_title(&self) -> &str {
        &self.title
    }

    /// Control sequences that bring a terminal which was just drawn to these.
    pub(super) fn draw(&self) -> String {
        let mut text = String::new();
        for mode in self.changed.iter().filter(|mode| !OF_SCREEN.contains(mode)) {
            // Of those none is on at first.
            let _ = write!(text, "\x1b[?{mode}h");
        }
        if self.application_keypad {
            text.push_str("\x1b=");
        }
        if self.cursor_style > 0 {
            let _ = write!(text, "\x1b[{} q", self.cursor_style);
        }
        if !self.title.is_empty() {
            let _ = write!(text, "\x1b]2;{}\x1b\\", self.title);
        }
        text
    }
}
