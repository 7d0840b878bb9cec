//! What the player has drawn on this terminal: only lines that have changed are drawn again.

use std::fmt::Write;

use super::picture::Drawn;

/// To the alternate screen.
pub(crate) const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[0m\x1b[2J";
/// Back from it.
pub(crate) const LEAVE: &str = "\x1b[0m\x1b[?25h\x1b[?1049l";

/// The terminal as it was drawn last.
#[derive(Default)]
pub(crate) struct Canvas {
    columns: usize,
    lines: Vec<String>,
    cursor: Option<(usize, usize)>,
}

/// Lines over a picture.
pub(crate) struct Overlay<'a> {
    /// Its lines, without control characters.
    pub(crate) lines: &'a [&'a str],
}

impl Canvas {
    /// Nothing of what was drawn is there any more.
    pub(crate) fn forget(&mut self) {
        self.lines.clear();
        self.columns = 0;
    }

    /// Control sequences that draw `picture`, and `status` below it, on a terminal of so many
    /// columns; empty if nothing has changed.
    pub(crate) fn draw(
        &mut self,
        mut picture: Drawn,
        status: &str,
        columns: usize,
        overlay: Option<&Overlay<'_>>,
    ) -> String {
        if let Some(overlay) = overlay {
            cover(&mut picture, overlay, columns);
        }
        let Drawn { mut lines, cursor } = picture;
        lines.push(format!("\x1b[7m{status}\x1b[0m"));
        let mut text = String::new();
        if columns != self.columns || lines.len() != self.lines.len() {
            self.lines = vec![String::new(); lines.len()];
            self.columns = columns;
            text += "\x1b[0m\x1b[2J";
        }
        for (number, (new, old)) in lines.iter().zip(&self.lines).enumerate() {
            if new != old {
                let _ = write!(text, "\x1b[{};1H{new}\x1b[K", number + 1);
            }
        }
        if text.is_empty() && cursor == self.cursor {
            return text;
        }
        // All at once, where terminals can; with the cursor out of the way meanwhile.
        let mut whole = format!("\x1b[?2026h\x1b[?25l{text}");
        if let Some((column, row)) = cursor {
            let _ = write!(whole, "\x1b[{};{}H\x1b[?25h", row + 1, column + 1);
        }
        whole += "\x1b[?2026l";
        (self.lines, self.cursor) = (lines, cursor);
        whole
    }
}

/// Puts a box of lines in the middle of a picture.
fn cover(picture: &mut Drawn, overlay: &Overlay<'_>, columns: usize) {
    let widest = overlay.lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let width = (widest + 4).min(columns);
    let rows = picture.lines.len();
    let top = rows.saturating_sub(overlay.lines.len() + 2) / 2;
    let left = (columns - width) / 2;
    let blank = [""];
    let lines = blank.iter().chain(overlay.lines).chain(&blank);
    for (line, place) in lines.zip(picture.lines.iter_mut().skip(top)) {
        let text: String = line.chars().take(width.saturating_sub(4)).collect();
        *place = format!("{}\x1b[7m  {text:<inner$}  \x1b[0m", " ".repeat(left), inner = width - 4);
    }
    picture.cursor = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(lines: &[&str]) -> Drawn {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        Drawn { lines, cursor: Some((1, 0)) }
    }

    #[test]
    fn only_what_has_changed_is_drawn() {
        let mut canvas = Canvas::default();
        let first = canvas.draw(drawn(&["one", "two"]), "s", 10, None);
        assert!(first.contains("\x1b[2J"), "{first:?}");
        assert!(first.contains("\x1b[1;1Hone\x1b[K"), "{first:?}");
        assert_eq!(canvas.draw(drawn(&["one", "two"]), "s", 10, None), "");
        let second = canvas.draw(drawn(&["one", "2"]), "s", 10, None);
        assert!(second.contains("\x1b[2;1H2\x1b[K"), "{second:?}");
        assert!(!second.contains("one") && !second.contains("\x1b[2J"), "{second:?}");
        let wider = canvas.draw(drawn(&["one", "2"]), "s", 20, None);
        assert!(wider.contains("one"), "{wider:?}");
        canvas.forget();
        assert!(canvas.draw(drawn(&["one", "2"]), "s", 20, None).contains("one"));
    }

    #[test]
    fn an_overlay_fits_into_any_window() {
        let overlay = Overlay { lines: &["first", "second line"] };
        for columns in [4, 10, 80] {
            for rows in 0..6 {
                let mut canvas = Canvas::default();
                let lines = vec!["x"; rows];
                let text = canvas.draw(drawn(&lines), "s", columns, Some(&overlay));
                assert!(text.contains("s"));
                if rows >= 4 && columns >= 80 {
                    assert!(text.contains("first  ") && text.contains("second line"), "{text:?}");
                }
            }
        }
    }
}
