//! What terminals showed, derived from outputs; outside the machine's digest.
//!
//! Owns a screen model per terminal and which ports are open. What a viewer is shown is drawn from
//! the model, never the guest's own bytes, so a recording cannot send control sequences to the
//! terminal of whoever plays it. [`scrolled`] has the lines above a screen too. Where and when to
//! draw is the player's business.

mod draw;
pub mod scrolled;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use avt::{Cell, Color, Cursor, Line, Pen, Rgb, ScreenKind};
use avt::{Observer, Terminal};
use serde::{Deserialize, Serialize};
use stackvm_machine::{ConsoleId, Input, Output, PortId};

use crate::event::Event;
use crate::limits::{SCREEN_CELLS_MAX, SCREEN_DUMP_BYTES_MAX, SCREENS_MAX};

/// Columns and rows of a terminal whose size nobody has told.
pub const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// What is derived from a machine's outputs and saved with keyframes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Derived {
    /// Each terminal's screen.
    pub screens: Vec<ScreenState>,
    /// Ports whose guest end is open.
    pub open_ports: BTreeSet<PortId>,
}

/// A terminal's screen, as bytes that draw it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScreenState {
    /// Which terminal.
    pub console: ConsoleId,
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// Control sequences that draw it on an empty terminal of this size.
    pub dump: String,
    /// The beginning of a UTF-8 character whose rest has not come yet.
    pub partial: Vec<u8>,
    /// Whether the guest ever wrote to it.
    pub written: Written,
}

/// Whether a guest ever wrote to a terminal.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum Written {
    /// Nothing yet.
    #[default]
    Never,
    /// Something.
    Once,
}

/// The screens of a machine's terminals, drawn from its outputs.
#[derive(Debug, Default)]
pub struct Screens {
    screens: BTreeMap<ConsoleId, Screen>,
    open_ports: BTreeSet<PortId>,
}

/// What one terminal shows.
pub struct Screen {
    terminal: Terminal,
    partial: Vec<u8>,
    written: Written,
}

impl Screens {
    /// The screens of a machine that has not done anything.
    pub fn new() -> Screens {
        Screens::default()
    }

    /// Screens as they were saved. What is beyond [`crate::limits`] is left out or made smaller:
    /// pictures are not worth refusing a recording for.
    pub fn from_derived(derived: &Derived) -> Screens {
        let mut screens = BTreeMap::new();
        for state in derived.screens.iter().take(SCREENS_MAX) {
            screens.insert(state.console, Screen::restore(state));
        }
        Screens { screens, open_ports: derived.open_ports.clone() }
    }

    /// What is saved of them.
    pub fn derived(&self) -> Derived {
        let screens = self.screens.iter().map(|(&console, screen)| screen.save(console)).collect();
        Derived { screens, open_ports: self.open_ports.clone() }
    }

    /// Draws what left the machine.
    pub fn output(&mut self, output: &Output) {
        match output {
            Output::Console { console, bytes } => {
                if let Some(screen) = self.screen_mut(*console) {
                    screen.feed(bytes);
                }
            }
            Output::PortOpened { port } => {
                self.open_ports.insert(*port);
            }
            Output::PortClosed { port } => {
                self.open_ports.remove(port);
            }
            Output::Port { .. } | Output::Frame { .. } => {}
        }
    }

    /// Takes notice of what happens to the machine: a terminal's new size, a reset. To be told
    /// when the machine is.
    pub fn event(&mut self, event: &Event) {
        match event {
            Event::Input(Input::Resize { console, columns, rows }) => {
                if let Some(screen) = self.screen_mut(*console) {
                    screen.resize(*columns, *rows);
                }
            }
            Event::Input(_) => {}
            // The terminal is another device than the machine: it keeps its picture.
            Event::Reset { .. } => self.open_ports.clear(),
        }
    }

    /// A terminal's screen; `None` until something happened to it.
    pub fn get(&self, console: ConsoleId) -> Option<&Screen> {
        self.screens.get(&console)
    }

    /// All terminals to which something happened.
    pub fn consoles(&self) -> impl Iterator<Item = (ConsoleId, &Screen)> {
        self.screens.iter().map(|(&console, screen)| (console, screen))
    }

    /// The terminal to show when there is room for one: the login shell's if the guest ever wrote
    /// to it, else the serial line.
    pub fn main_console(&self) -> ConsoleId {
        const SHELL: ConsoleId = ConsoleId::Hvc(0);
        match self.screens.get(&SHELL) {
            Some(screen) if screen.written == Written::Once => SHELL,
            _ => ConsoleId::Serial,
        }
    }

    /// Ports whose guest end is open.
    pub fn open_ports(&self) -> &BTreeSet<PortId> {
        &self.open_ports
    }

    /// A terminal's screen, made if there is none yet; `None` beyond the limit.
    fn screen_mut(&mut self, console: ConsoleId) -> Option<&mut Screen> {
        if self.screens.len() >= SCREENS_MAX && !self.screens.contains_key(&console) {
            return None;
        }
        let (columns, rows) = DEFAULT_SIZE;
        Some(self.screens.entry(console).or_insert_with(|| Screen::new(columns, rows)))
    }
}

impl Screen {
    /// An empty terminal; no larger than [`SCREEN_CELLS_MAX`].
    pub fn new(columns: u16, rows: u16) -> Screen {
        let (columns, rows) = clamp(columns, rows);
        let terminal = Terminal::new(columns, rows).expect("at least one row and column");
        Screen { terminal, partial: Vec::new(), written: Written::Never }
    }

    /// One as it was saved; what is beyond [`crate::limits`] is left out.
    pub fn restore(state: &ScreenState) -> Screen {
        let mut screen = Screen::new(state.columns, state.rows);
        if state.dump.len() <= SCREEN_DUMP_BYTES_MAX {
            screen.terminal.feed(state.dump.as_str());
        }
        // No character is longer than four bytes.
        screen.partial = state.partial.iter().copied().take(3).collect();
        screen.written = state.written;
        screen
    }

    /// What is saved of it, as the terminal `console`.
    pub fn save(&self, console: ConsoleId) -> ScreenState {
        let (columns, rows) = self.size();
        let (dump, partial) = (self.dump(), self.partial.clone());
        ScreenState { console, columns, rows, dump, partial, written: self.written }
    }

    /// Columns and rows.
    pub fn size(&self) -> (u16, u16) {
        let (columns, rows) = self.terminal.size();
        let small = |n: usize| u16::try_from(n).expect("clamped to a u16 before");
        (small(columns), small(rows))
    }

    /// The visible lines from the top, with their cells and styles.
    pub fn lines(&self) -> impl ExactSizeIterator<Item = &Line> {
        self.terminal.screen().visible_lines()
    }

    /// The visible lines' text, without the blanks at their ends.
    pub fn text(&self) -> Vec<String> {
        self.lines().map(|line| line.text().trim_end().to_owned()).collect()
    }

    /// Where the cursor is, counted from 0, and whether it is visible.
    pub fn cursor(&self) -> Cursor {
        self.terminal.cursor()
    }

    /// The beginning of a character whose other bytes the guest has not written yet.
    pub(crate) fn partial(&self) -> &[u8] {
        &self.partial
    }

    /// Whether a full-screen program shows its own screen (vi, less).
    pub fn kind(&self) -> ScreenKind {
        self.terminal.active_screen_kind()
    }

    /// Whether the guest ever wrote to it.
    pub fn written(&self) -> Written {
        self.written
    }

    /// Whether cursor keys are to send application sequences (DECCKM).
    pub fn has_application_keys(&self) -> bool {
        self.terminal.cursor_key_app_mode()
    }

    /// Control sequences that draw this on an empty terminal of the same size, modes included.
    /// They are the model's own, whatever the guest wrote.
    pub fn dump(&self) -> String {
        self.terminal.dump()
    }

    /// Draws what the guest wrote.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.feed_with(bytes, &mut ());
    }

    /// Gives it another size, within limits.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        self.resize_with(columns, rows, &mut ());
    }

    fn feed_with(&mut self, bytes: &[u8], observer: &mut impl Observer) {
        if !bytes.is_empty() {
            self.written = Written::Once;
        }
        let joined;
        let bytes = if self.partial.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.partial).as_slice(), bytes].concat();
            joined.as_slice()
        };
        let mut rest = bytes;
        while !rest.is_empty() {
            match std::str::from_utf8(rest) {
                Ok(text) => {
                    self.terminal.feed_with(text, &mut *observer);
                    return;
                }
                Err(error) => {
                    let (good, bad) = rest.split_at(error.valid_up_to());
                    let good = std::str::from_utf8(good).expect("checked");
                    self.terminal.feed_with(good, &mut *observer);
                    let Some(wrong) = error.error_len() else {
                        self.partial = bad.to_vec();
                        return;
                    };
                    self.terminal.feed_with('\u{fffd}', &mut *observer);
                    rest = &bad[wrong..];
                }
            }
        }
    }

    fn resize_with(&mut self, columns: u16, rows: u16, observer: &mut impl Observer) {
        let (columns, rows) = clamp(columns, rows);
        self.terminal.resize_with(columns, rows, observer);
    }
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("size", &self.size()).finish_non_exhaustive()
    }
}

/// A size that the model can have: the guest is told the real one.
fn clamp(columns: u16, rows: u16) -> (usize, usize) {
    let columns = usize::from(columns.max(1));
    let rows = usize::from(rows.max(1)).min((SCREEN_CELLS_MAX / columns).max(1));
    (columns, rows)
}

#[cfg(test)]
mod tests;
