//! A picture of a guest's terminal: what the screen model shows, as lines for this terminal.
//!
//! Everything the guest wrote has gone through the model; what is drawn here are its characters and
//! attributes, never its control sequences. So nothing in a recording can touch the terminal of who
//! plays it.

use std::fmt::Write;

use stackvm_timeline::screen::{Cell, Color, Pen, Screen};

/// What a terminal shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Picture {
    rows: Vec<Vec<Cell>>,
    cursor: Option<(usize, usize)>,
}

/// A picture cut to a window.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Drawn {
    /// As many lines as the window is high, each with its attributes, none wider than the window.
    pub(crate) lines: Vec<String>,
    /// Where the cursor is, counted from 0: column and row; `None` is nowhere.
    pub(crate) cursor: Option<(usize, usize)>,
}

impl Picture {
    /// Of a terminal as it is now.
    pub(crate) fn of(screen: &Screen) -> Picture {
        let rows = screen.lines().map(|line| line.cells().to_vec()).collect();
        Picture { rows, cursor: screen.cursor().position() }
    }

    /// The part that fits into a window, with the cursor in it: the upper left one if that has it.
    pub(crate) fn draw(&self, columns: usize, rows: usize) -> Drawn {
        let (column, row) = self.cursor.unwrap_or((0, 0));
        // Without a cursor there is nothing to follow.
        let top = (row + 1).saturating_sub(rows);
        let left = if column < columns { 0 } else { (column + 1).saturating_sub(columns) };
        let lines = (top..top + rows).map(|n| match self.rows.get(n) {
            Some(cells) => line(cells, left, columns),
            None => String::new(),
        });
        let cursor = self.cursor.map(|(column, row)| (column - left, row - top));
        Drawn {
            lines: lines.collect(),
            cursor: cursor.filter(|(column, row)| *column < columns && *row < rows),
        }
    }
}

/// Cells from `left` on, not more than `columns`, as text with attributes; blanks at the end are
/// left out.
fn line(cells: &[Cell], left: usize, columns: usize) -> String {
    let cells = &cells[left.min(cells.len())..];
    let blank = |cell: &Cell| cell.char() == ' ' && is_plain(cell.pen());
    let used = cells.iter().rposition(|cell| !blank(cell)).map_or(0, |last| last + 1);
    let mut text = String::new();
    let mut attributes = String::new();
    let mut width = 0;
    for cell in &cells[..used] {
        let cell_width = usize::from(cell.width());
        if cell_width == 0 {
            continue;
        }
        if width + cell_width > columns {
            break;
        }
        width += cell_width;
        let wanted = sgr(cell.pen());
        if wanted != attributes {
            let _ = write!(text, "\x1b[0{wanted}m");
            attributes = wanted;
        }
        text.push(printable(cell.char()));
    }
    if !attributes.is_empty() {
        text += "\x1b[0m";
    }
    text
}

/// Characters that do more than stand in their cell stay away from this terminal.
fn printable(c: char) -> char {
    let directs = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}');
    if c.is_control() || directs { '\u{fffd}' } else { c }
}

fn is_plain(pen: &Pen) -> bool {
    sgr(pen).is_empty()
}

/// The parameters of "select graphic rendition" after a reset; each begins with `;`.
fn sgr(pen: &Pen) -> String {
    let mut text = String::new();
    let attributes = [
        (pen.is_bold(), 1),
        (pen.is_faint(), 2),
        (pen.is_italic(), 3),
        (pen.is_underline(), 4),
        (pen.is_blink(), 5),
        (pen.is_inverse(), 7),
        (pen.is_strikethrough(), 9),
    ];
    for (_, number) in attributes.iter().filter(|(on, _)| *on) {
        let _ = write!(text, ";{number}");
    }
    for (color, base) in [(pen.foreground(), 38), (pen.background(), 48)] {
        match color {
            Some(Color::Indexed(index)) => {
                let _ = write!(text, ";{base};5;{index}");
            }
            Some(Color::RGB(rgb)) => {
                let _ = write!(text, ";{base};2;{};{};{}", rgb.r, rgb.g, rgb.b);
            }
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use stackvm_machine::{ConsoleId, Input, Output};
    use stackvm_timeline::Event;
    use stackvm_timeline::screen::Screens;

    use super::*;

    fn picture(columns: u16, rows: u16, text: &str) -> Picture {
        let console = ConsoleId::Hvc(0);
        let mut screens = Screens::new();
        screens.event(&Event::Input(Input::Resize { console, columns, rows }));
        screens.output(&Output::Console { console, bytes: text.into() });
        Picture::of(screens.get(console).expect("a screen"))
    }

    #[test]
    fn attributes_are_kept_and_end_with_the_line() {
        let check = |text: &str, expected: &str| {
            assert_eq!(picture(20, 2, text).draw(20, 2).lines[0], expected, "{text:?}");
        };
        check("plain", "plain");
        check("\x1b[1;31mred\x1b[0m no", "\x1b[0;1;38;5;1mred\x1b[0m no");
        check("\x1b[48;2;1;2;3mx", "\x1b[0;48;2;1;2;3mx\x1b[0m");
        check("\x1b[7m \x1b[0m", "\x1b[0;7m \x1b[0m");
        check("界x", "界x");
        check("end   ", "end");
    }

    #[test]
    fn nothing_hostile_gets_through() {
        let hostile = [
            "\x1b]0;title\x07",
            "\x1b]52;c;aGk=\x07",
            "\x1b[6n",
            "\x1b[c",
            "\x1bP+q544e\x1b\\",
            "\x1b[?1049h",
            "\x1b[?1000h",
            "\x1b[21t",
            "\u{9b}31m",
            "\u{202e}",
            "\u{200f}",
            "\x07",
            "\x1b[8;1;1t",
            "\x1bc",
            "\x1b#8",
            "\x0e",
            "\x1b(0",
        ];
        for text in hostile {
            let lines = picture(20, 2, &format!("a{text}b")).draw(20, 2).lines;
            for line in lines {
                // What remains after our own attributes is printable.
                let rest: String = line
                    .split("\x1b[0")
                    .map(|part| {
                        part.split_once('m')
                            .filter(|(p, _)| p.chars().all(|c| c == ';' || c.is_ascii_digit()))
                            .map_or(part, |(_, rest)| rest)
                    })
                    .collect();
                let bad = rest.chars().find(|c| c.is_control() || *c == '\u{202e}');
                assert_eq!(bad, None, "{text:?}: {line:?}");
            }
        }
    }

    #[test]
    fn a_small_window_follows_the_cursor() {
        let picture = picture(10, 4, "one\r\ntwo\r\nthree\r\nfour");
        let check = |columns, rows, lines: &[&str], cursor| {
            let drawn = picture.draw(columns, rows);
            assert_eq!(
                (drawn.lines, drawn.cursor),
                (lines.iter().map(|line| (*line).to_owned()).collect(), cursor),
                "{columns} × {rows}"
            );
        };
        check(10, 4, &["one", "two", "three", "four"], Some((4, 3)));
        check(12, 5, &["one", "two", "three", "four", ""], Some((4, 3)));
        check(10, 2, &["three", "four"], Some((4, 1)));
        check(3, 1, &["ur"], Some((2, 0)));
    }
}
