//! A recording as a picture that moves: an SVG of what a terminal showed, for pages that show images
//! and run no scripts (a README, a search result).
//!
//! Made from the output track alone. Each line is drawn once for as long as it stood, so that many
//! instants take little room; of what does not fit into [`BYTES_MAX`], instants are left out. Guests
//! are hostile: of what they wrote only characters and the sixteen colours get into the picture, and
//! it loads nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use avt::{Cell, Color, Line};
use stackvm_machine::instant::Ticks;
use stackvm_machine::{ConsoleId, Instant};

use crate::branch::BranchId;
use crate::screen::Screen;
use crate::timeline::{OpenError, Timeline};
use crate::track::{TrackEvent, TrackItem};

/// Most bytes of a picture.
pub const BYTES_MAX: usize = 60_000;
/// Most instants in one.
const FRAMES_MAX: usize = 48;
/// Of a longer track, this much is looked at.
const ITEMS_MAX: usize = 200_000;
/// What is printed within so little time is one instant.
const TOGETHER: Ticks = Ticks::from_ns(40_000_000);
/// How long an instant is shown, at least and at most, and the last one, in milliseconds.
const SHOWN_MS: (u64, u64) = (120, 1_600);
const LAST_MS: u64 = 4_000;
/// Most columns and rows that are shown.
const COLUMNS_MAX: usize = 132;
const ROWS_MAX: usize = 50;
/// A character, in units of the picture.
const CELL: (usize, usize) = (8, 17);
const MARGIN: usize = 12;

/// The colours of a terminal; those of the pages when it is dark.
const COLOURS: [&str; 16] = [
    "#3b4252", "#e06c75", "#7fb785", "#d9b36c", "#6ea8dc", "#c08bd0", "#62b8b8", "#c8ccd4",
    "#727b8c", "#f08d94", "#9ed3a3", "#f0cf8e", "#94c5f0", "#dcaee8", "#8bd6d6", "#ffffff",
];
const PAPER: &str = "#14130f";
const INK: &str = "#e7e3d8";

/// What a terminal showed at an instant, and for how long that is shown.
struct Frame {
    rows: Vec<String>,
    shown_ms: u64,
}

impl Timeline {
    /// The picture of what a terminal showed on a branch, called `title`.
    ///
    /// # Errors
    /// [`OpenError`] when the track or the first keyframe's picture is damaged.
    pub fn poster(
        &self,
        branch: BranchId,
        console: ConsoleId,
        title: &str,
    ) -> Result<String, OpenError> {
        let instants = self.printed_at(branch, console)?;
        let mut count = FRAMES_MAX;
        loop {
            let chosen = spread(&instants, count);
            let (size, frames) = self.frames(branch, console, &chosen)?;
            let svg = draw(size, &frames, title);
            if svg.len() <= BYTES_MAX || count == 1 {
                return Ok(if svg.len() <= BYTES_MAX { svg } else { draw(size, &[], title) });
            }
            count = count * 2 / 3;
        }
    }

    /// When a terminal had printed something, and fell silent for a moment.
    fn printed_at(&self, branch: BranchId, console: ConsoleId) -> Result<Vec<Instant>, OpenError> {
        let mut instants = vec![self.begin(branch)];
        for item in self.track(branch).take(ITEMS_MAX) {
            let TrackItem { at, console: from, event } = item?;
            if from != console || !matches!(event, TrackEvent::Output(_)) {
                continue;
            }
            match instants.last_mut() {
                Some(last) if at.since(*last) < TOGETHER && *last != self.begin(branch) => {
                    *last = at;
                }
                _ => instants.push(at),
            }
        }
        Ok(instants)
    }

    /// What a terminal showed at these instants, and the largest size that it had.
    fn frames(
        &self,
        branch: BranchId,
        console: ConsoleId,
        instants: &[Instant],
    ) -> Result<((usize, usize), Vec<Frame>), OpenError> {
        let begin = self.begin(branch);
        let mut screen = self.picture(branch, console, begin)?;
        let mut items = self.track(branch).take(ITEMS_MAX).peekable();
        let mut frames: Vec<Frame> = Vec::new();
        let mut size = (1, 1);
        for (number, at) in instants.iter().enumerate() {
            while let Some(item) = items.next_if(|it| it.as_ref().is_ok_and(|it| it.at <= *at)) {
                let item = item?;
                if item.console == console && item.at > begin {
                    match item.event {
                        TrackEvent::Output(bytes) => screen.feed(&bytes),
                        TrackEvent::Resize { columns, rows } => screen.resize(columns, rows),
                    }
                }
            }
            let shown_ms = match instants.get(number + 1) {
                Some(next) => (next.since(*at).ns() / 1_000_000).clamp(SHOWN_MS.0, SHOWN_MS.1),
                None => LAST_MS,
            };
            let (columns, rows) = screen.size();
            size = (size.0.max(columns.into()), size.1.max(rows.into()));
            frames.push(Frame { rows: rows_of(&screen), shown_ms });
        }
        Ok(((size.0.min(COLUMNS_MAX), size.1.min(ROWS_MAX)), frames))
    }
}

/// So many of these, evenly, the first and the last among them.
fn spread(instants: &[Instant], count: usize) -> Vec<Instant> {
    let last = instants.len().saturating_sub(1);
    if instants.len() <= count || count < 2 {
        return instants[last.saturating_sub(count - 1)..].to_vec();
    }
    (0..count).map(|number| instants[number * last / (count - 1)]).collect()
}

/// The screen's rows as content of SVG's `text`; empty for blank ones.
fn rows_of(screen: &Screen) -> Vec<String> {
    screen.lines().take(ROWS_MAX).map(row).collect()
}

fn row(line: &Line) -> String {
    let cells = &line.cells()[..line.cells().len().min(COLUMNS_MAX)];
    let used = cells.iter().rposition(|cell| cell.char() != ' ').map_or(0, |last| last + 1);
    let mut text = String::new();
    let mut column = 0;
    while column < used {
        let look = class(&cells[column]);
        let run = cells[column..used].iter().take_while(|cell| class(cell) == look).count();
        let x = MARGIN + column * CELL.0;
        let mut words = String::new();
        // Behind a wide character is a cell without one.
        let seen = cells[column..column + run].iter().filter(|cell| cell.width() > 0);
        seen.for_each(|cell| push_escaped(&mut words, cell.char()));
        if !words.trim().is_empty() {
            // Where a run begins is said, so that no font puts it elsewhere.
            let _ = match look.as_str() {
                "" => write!(text, "<tspan x=\"{x}\">{words}</tspan>"),
                look => write!(text, "<tspan x=\"{x}\" class=\"{look}\">{words}</tspan>"),
            };
        }
        column += run;
    }
    text
}

/// What makes a cell look as it does: `c1 b`.
fn class(cell: &Cell) -> String {
    let pen = cell.pen();
    let colour = if pen.is_inverse() { pen.background() } else { pen.foreground() };
    let mut class = match colour {
        Some(Color::Indexed(number @ 0..16)) => format!("c{number}"),
        _ => String::new(),
    };
    if pen.is_bold() {
        class.push_str(if class.is_empty() { "b" } else { " b" });
    }
    class
}

/// Puts a character into the text of SVG.
fn push_escaped(text: &mut String, c: char) {
    match c {
        '<' => text.push_str("&lt;"),
        '>' => text.push_str("&gt;"),
        '&' => text.push_str("&amp;"),
        // XML has none of these.
        c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => text.push(' '),
        c => text.push(c),
    }
}

fn draw(size: (usize, usize), frames: &[Frame], title: &str) -> String {
    let (width, height) = (2 * MARGIN + size.0 * CELL.0, 2 * MARGIN + size.1 * CELL.1);
    let total_ms: u64 = frames.iter().map(|frame| frame.shown_ms).sum::<u64>().max(1);
    let mut begins = vec![0];
    for frame in frames {
        begins.push(begins[begins.len() - 1] + frame.shown_ms);
    }
    let (mut text, mut spans) = (String::new(), BTreeMap::new());
    for row in 0..size.1 {
        let content = |frame: usize| {
            frames.get(frame).and_then(|it| it.rows.get(row)).map_or("", String::as_str)
        };
        let mut begin = 0;
        while begin < frames.len() {
            let run = (begin..frames.len()).take_while(|at| content(*at) == content(begin)).count();
            if !content(begin).is_empty() {
                let count = spans.len();
                let span = *spans.entry((begin, begin + run)).or_insert(count);
                let y = MARGIN + (row + 1) * CELL.1 - 4;
                let _ = write!(text, "<text y=\"{y}\" class=\"s{span}\">{}</text>", content(begin));
            }
            begin += run;
        }
    }
    let mut style = format!(
        "text{{font:13.3px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:{INK};\
         white-space:pre}}.b{{font-weight:700}}"
    );
    for (number, colour) in COLOURS.iter().enumerate() {
        if text.contains(&format!("c{number}")) {
            let _ = write!(style, ".c{number}{{fill:{colour}}}");
        }
    }
    let percent = |frame: usize| begins[frame] as f64 * 100.0 / total_ms as f64;
    for ((begin, end), span) in &spans {
        let (from, to, is_last) = (percent(*begin), percent(*end), *end == frames.len());
        if *begin == 0 && is_last {
            continue;
        }
        // Who wants nothing to move sees the last instant.
        let still = if is_last { "visible" } else { "hidden" };
        let _ = write!(
            style,
            ".s{span}{{visibility:{still};animation:s{span} {total_ms}ms step-end infinite}}\
             @keyframes s{span}{{0%{{visibility:{}}}",
            if *begin == 0 { "visible" } else { "hidden" },
        );
        if *begin > 0 {
            let _ = write!(style, "{from:.2}%{{visibility:visible}}");
        }
        if !is_last {
            let _ = write!(style, "{to:.2}%{{visibility:hidden}}");
        }
        style.push('}');
    }
    style.push_str("@media(prefers-reduced-motion:reduce){text{animation:none!important}}");
    let mut name = String::new();
    title.chars().for_each(|c| push_escaped(&mut name, c));
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" role=\"img\"><title>{name}</title>\
         <style>{style}</style><rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{PAPER}\"/>\
         <g xml:space=\"preserve\">{text}</g></svg>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(texts: &[&str]) -> Vec<Frame> {
        let frame = |text: &&str| {
            let mut screen = Screen::new(20, 4);
            screen.feed(text.as_bytes());
            Frame { rows: rows_of(&screen), shown_ms: 500 }
        };
        texts.iter().map(frame).collect()
    }

    #[test]
    fn what_stands_is_drawn_once() {
        let svg = draw((20, 4), &frames(&["ten", "ten\r\ntwo", "ten\r\ntwo\r\nsix"]), "a & b");
        for word in ["ten", "two", "six"] {
            assert_eq!(svg.matches(word).count(), 1, "{word} in {svg}");
        }
        assert!(svg.contains("<title>a &amp; b</title>"), "{svg}");
        assert_eq!(svg.matches("@keyframes").count(), 2, "the first line does not move: {svg}");
        assert!(svg.contains("33.33%{visibility:visible}"), "{svg}");
    }

    #[test]
    fn a_guests_text_stays_text() {
        let nasty = "</text><script>x</script>\r\n\x1b[31;1m\"&'\x1b[0m]]>\u{1}";
        let svg = draw((20, 4), &frames(&[nasty]), "<script>");
        assert!(!svg.contains("<script") && !svg.contains('\u{1}'), "{svg}");
        assert!(svg.contains("class=\"c1 b\">\"&amp;'</tspan>"), "{svg}");
        for link in ["href", "url(", "@import", "http:"] {
            assert_eq!(svg.replace("http://www.w3.org/2000/svg", "").matches(link).count(), 0);
        }
    }

    #[test]
    fn instants_are_spread_from_the_first_to_the_last() {
        let instants: Vec<Instant> = (0..100).map(Instant::from_ns).collect();
        let check = |count, expected: &[u64]| {
            let chosen: Vec<u64> = spread(&instants, count).iter().map(|at| at.ns()).collect();
            assert_eq!(chosen, expected);
        };
        check(1, &[99]);
        check(2, &[0, 99]);
        check(4, &[0, 33, 66, 99]);
        assert_eq!(spread(&instants, 200).len(), 100);
    }
}
