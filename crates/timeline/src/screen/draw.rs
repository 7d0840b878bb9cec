//! Drawing a screen's lines as text with colours: nothing of what the guest wrote but characters
//! and their looks.

use super::{Cell, Color, Line, Pen, Screen, ScreenKind};

impl Screen {
    /// Control sequences that draw this as text which flows on from where a terminal's cursor is,
    /// for a terminal of any size; a full-screen program's screen takes the whole terminal. Nothing
    /// if there is nothing to see.
    pub fn flowing(&self) -> String {
        let cursor = self.cursor();
        let last = self.lines().enumerate().filter(|(_, line)| used(line) > 0).last();
        let last = last.map(|(row, _)| row);
        let (columns, rows) = self.size();
        if self.kind() == ScreenKind::Alternate {
            return format!("{}\x1b[H\x1b[2J{}", "\n".repeat(usize::from(rows)), self.dump());
        }
        if last.is_none() && (cursor.row, cursor.col) == (0, 0) {
            return String::new();
        }
        let last = last.unwrap_or(0).max(cursor.row);
        let mut text = String::new();
        let mut column = 0;
        for (row, drawn) in self.lines().take(last + 1).enumerate() {
            if row > 0 {
                text.push_str("\r\n");
            }
            column = used(drawn);
            if row == cursor.row {
                // What is typed next stands where it would: after the blank of a prompt.
                column = column.max(cursor.col.min(drawn.cells().len()));
            }
            cells(&drawn.cells()[..column], &mut text);
        }
        if (last, column) != (cursor.row, cursor.col) {
            text.push('\r');
            if last > cursor.row {
                text += &format!("\x1b[{}A", last - cursor.row);
            }
            if cursor.col > 0 {
                text += &format!("\x1b[{}C", cursor.col.min(usize::from(columns) - 1));
            }
        }
        if self.has_application_keys() {
            text += "\x1b[?1h";
        }
        if !cursor.visible {
            text += "\x1b[?25l";
        }
        text
    }
}

/// Appends what draws a line, without the blanks at its end, from default colours to default
/// colours.
pub(super) fn line(line: &Line, text: &mut String) {
    cells(&line.cells()[..used(line)], text);
}

fn cells(cells: &[Cell], text: &mut String) {
    let mut pen = Pen::default();
    for cell in cells {
        if cell.width() == 0 {
            continue;
        }
        if *cell.pen() != pen {
            pen = *cell.pen();
            colours(&pen, text);
        }
        text.push(if cell.char().is_control() { ' ' } else { cell.char() });
    }
    if !pen.is_default() {
        text.push_str("\x1b[0m");
    }
}

/// Cells of a line up to the last that is to be seen.
pub(super) fn used(line: &Line) -> usize {
    let seen = |cell: &Cell| cell.char() != ' ' || !cell.pen().is_default();
    line.cells().iter().rposition(seen).map_or(0, |last| last + 1)
}

fn colours(pen: &Pen, text: &mut String) {
    text.push_str("\x1b[0");
    let looks = [
        (pen.is_bold(), ";1"),
        (pen.is_faint(), ";2"),
        (pen.is_italic(), ";3"),
        (pen.is_underline(), ";4"),
        (pen.is_blink(), ";5"),
        (pen.is_inverse(), ";7"),
        (pen.is_strikethrough(), ";9"),
    ];
    looks.iter().filter(|(has, _)| *has).for_each(|(_, code)| text.push_str(code));
    for (colour, base) in [(pen.foreground(), 30), (pen.background(), 40)] {
        match colour {
            None => {}
            Some(Color::Indexed(n @ 0..8)) => *text += &format!(";{}", base + u16::from(n)),
            Some(Color::Indexed(n @ 8..16)) => *text += &format!(";{}", base + 52 + u16::from(n)),
            Some(Color::Indexed(n)) => *text += &format!(";{};5;{n}", base + 8),
            Some(Color::RGB(c)) => *text += &format!(";{};2;{};{};{}", base + 8, c.r, c.g, c.b),
        }
    }
    text.push('m');
}
