//! The one model of a terminal: what it shows, and what it answers.
//!
//! Everything that is attached to a terminal draws the same stream, from which queries were taken
//! out ([`scanner`]); they are answered here, once, whoever is attached. So the guest hears the same
//! from any number of viewers, and without any. Putting answers into the machine is the lab's
//! business: they are inputs like others, so that a replay has them from its log.
//!
//! History, title, and modes that the screen model does not keep (mouse, paste, focus) are not saved
//! with the machine: its next lab has them from what the recording kept of the guest's output.

use stackvm_machine::{ConsoleId, Instant};
use stackvm_timeline::screen::scrolled::Scrolled;
use stackvm_timeline::screen::{DEFAULT_SIZE, Screen, ScreenKind, ScreenState, Written};

use crate::protocol::{PICTURE_BYTES_MAX, Picture, Size};

mod modes;
mod queries;
mod scanner;

use queries::{CELL_PIXELS, Query};
use scanner::{Scanned, Scanner};

/// A terminal of a machine.
#[derive(Debug, Default)]
pub struct Terminal {
    scanner: Scanner,
    shown: Scrolled,
    /// The size last set, if any.
    size: Option<Size>,
}

/// What became of something that a guest wrote.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard {
    /// What is shown, for whoever draws it, too.
    pub shown: Vec<u8>,
    /// What the terminal answers, in order.
    pub answers: Vec<Vec<u8>>,
}

impl Terminal {
    /// A terminal that shows what a recording says.
    pub(crate) fn restored(state: &ScreenState) -> Terminal {
        let &ScreenState { columns, rows, .. } = state;
        let size = ((columns, rows) != DEFAULT_SIZE).then_some(Size { columns, rows });
        let shown = Scrolled::new(Screen::restore(state));
        Terminal { shown, size, ..Terminal::default() }
    }

    /// Takes over what its screen does not tell from a terminal that was drawn from what the guest
    /// wrote, perhaps not from the beginning: lines above, title, modes.
    pub(crate) fn remember(&mut self, drawn: Terminal) {
        self.scanner = drawn.scanner;
        self.shown.remember(drawn.shown);
    }

    /// The same once more.
    pub(crate) fn twin(&self) -> Terminal {
        Terminal { scanner: self.scanner.clone(), shown: self.shown.twin(), size: self.size }
    }

    /// What a recording keeps of it.
    pub(crate) fn save(&self, console: ConsoleId) -> ScreenState {
        self.shown.screen().save(console)
    }

    /// The size last set, if any.
    pub fn size(&self) -> Option<Size> {
        self.size
    }

    /// Its screen.
    pub fn screen(&self) -> &Screen {
        self.shown.screen()
    }

    /// What the guest calls its window: text, at most 256 bytes.
    pub fn title(&self) -> &str {
        self.scanner.modes.window_title()
    }

    /// Takes what the guest wrote by `at`.
    pub fn write(&mut self, bytes: &[u8], at: Instant) -> Heard {
        let mut heard = Heard::default();
        for piece in self.scanner.scan(bytes) {
            match piece {
                Scanned::Text(text) => {
                    self.shown.feed(&text, at);
                    heard.shown.extend(text);
                }
                Scanned::Query(query) => heard.answers.push(self.answer(query)),
            }
        }
        heard
    }

    /// Gives it a size.
    pub fn resize(&mut self, size: Size) {
        self.size = Some(size);
        self.shown.resize(size.columns, size.rows);
    }

    /// What it shows, with the lines above that were not written by `since` (0 is before
    /// everything), at most
    /// `lines_max`. The machine is at `now`.
    pub fn picture(&self, since: Instant, lines_max: u32, now: Instant) -> Picture {
        let screen = self.draw();
        let left = PICTURE_BYTES_MAX.saturating_sub(screen.len());
        let history = self.shown.history(since, lines_max as usize, left);
        Picture { size: self.drawn_size(), history, screen, instant_ticks: now.ticks() }
    }

    /// The screen's lines as text, and where the cursor is if it is visible.
    pub fn text(&self) -> (Vec<String>, Option<(u16, u16)>) {
        let plain = |line: String| line.chars().filter(|letter| !letter.is_control()).collect();
        let (screen, cursor) = (self.screen(), self.screen().cursor());
        let place = (cursor.row as u16, cursor.col as u16);
        (screen.text().into_iter().map(plain).collect(), cursor.visible.then_some(place))
    }

    fn drawn_size(&self) -> Size {
        let (columns, rows) = self.screen().size();
        Size { columns, rows }
    }

    /// What draws the screen below whatever lines are there.
    fn draw(&self) -> Vec<u8> {
        let screen = self.screen();
        if screen.written() == Written::Never {
            return Vec::new();
        }
        let modes = self.scanner.modes.draw();
        // Lines that are there go up and out, however few they are.
        let begin = format!("\r{}\x1b[H", "\n".repeat(usize::from(screen.size().1) - 1));
        let room = PICTURE_BYTES_MAX.saturating_sub(begin.len() + modes.len());
        let mut dump = screen.dump();
        if dump.len() > room {
            dump = plain(screen, room);
        }
        [begin, dump, modes].concat().into_bytes()
    }

    fn answer(&self, query: Query) -> Vec<u8> {
        let screen = self.screen();
        let (columns, rows) = screen.size();
        let cursor = screen.cursor();
        // After a line's last character the cursor is still on it.
        let (row, column) = (cursor.row + 1, cursor.col.min(usize::from(columns) - 1) + 1);
        let (height, width) = CELL_PIXELS;
        let text = match query {
            Query::Fixed(bytes) => return bytes,
            Query::Cursor => format!("\x1b[{row};{column}R"),
            Query::PrivateCursor => format!("\x1b[?{row};{column}R"),
            Query::Characters(number) => format!("\x1b[{number};{rows};{columns}t"),
            Query::Pixels => {
                format!("\x1b[4;{};{}t", u32::from(rows) * height, u32::from(columns) * width)
            }
        };
        text.into_bytes()
    }
}

/// What draws a picture on a terminal of any size: its lines as text that flows on from where the
/// cursor is, but for a full-screen program's, which takes the whole terminal. Nothing if the guest
/// never wrote.
pub fn flowing(picture: &Picture) -> Vec<u8> {
    if picture.screen.is_empty() {
        return Vec::new();
    }
    let Size { columns, rows } = picture.size;
    let mut terminal = Terminal::default();
    terminal.resize(Size { columns, rows });
    terminal.write(&picture.screen, Instant::ZERO);
    let modes = &terminal.scanner.modes;
    let text = [terminal.screen().flowing(), modes.draw()].concat();
    match terminal.screen().kind() {
        // What is above such a screen is of before it.
        ScreenKind::Alternate => text.into_bytes(),
        ScreenKind::Primary => [&picture.history, text.as_bytes()].concat(),
    }
}

/// What draws a screen in `room` bytes at the cost of its colours, and of its last lines if need be.
fn plain(screen: &Screen, room: usize) -> String {
    let cursor = screen.cursor();
    let place = format!("\x1b[{};{}H", cursor.row + 1, cursor.col + 1);
    let begin = match screen.kind() {
        ScreenKind::Alternate => "\x1b[?1049h\x1b[H",
        ScreenKind::Primary => "",
    };
    let mut text = begin.to_owned();
    for (row, line) in screen.text().iter().enumerate() {
        if text.len() + line.len() + place.len() + 2 > room {
            break;
        }
        text += if row > 0 { "\r\n" } else { "" };
        text.extend(line.chars().filter(|letter| !letter.is_control()));
    }
    text + &place
}

#[cfg(test)]
mod tests;
