//! What guests ask terminals, and what this one says of itself.
//!
//! It is what xterm.js and most others are: a VT220 with colours. Whatever would make a terminal
//! type is a query, known here or not; those that are not answered are taken out all the same.

use super::modes::{Kind, Modes, Turn};

/// VT220 with colours.
const ATTRIBUTES: &[u8] = b"\x1b[?62;22c";
/// A version that programs expect modern abilities of.
const SECONDARY_ATTRIBUTES: &[u8] = b"\x1b[>0;276;0c";
const UNIT: &[u8] = b"\x1bP!|00000000\x1b\\";
const VERSION: &[u8] = b"\x1bP>|stackvm\x1b\\";
/// What is set cannot be asked for, says the answer.
const NO_SETTING: &[u8] = b"\x1bP0$r\x1b\\";
const NO_CAPABILITY: &[u8] = b"\x1bP0+r\x1b\\";
/// Colours of text, background and cursor: of the pages' dark terminal.
const COLOURS: [&str; 3] = ["eeee/ebeb/e3e3", "1414/1313/1111", "eeee/ebeb/e3e3"];
/// Height and width of a character in pixels: nobody knows, and it is about this.
pub(super) const CELL_PIXELS: (u32, u32) = (16, 8);

/// Something that a guest asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Query {
    /// Something that has this answer.
    Fixed(Vec<u8>),
    /// Where the cursor is, for ANSI.
    Cursor,
    /// Where the cursor is, for DEC.
    PrivateCursor,
    /// The size in pixels.
    Pixels,
    /// The size in characters, answered by this number.
    Characters(u8),
}

/// What something is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Found {
    Query(Query),
    /// A query that has no answer.
    Unanswered,
    /// No query.
    Other,
}

/// Who asks what kind of terminal this is.
pub(super) fn attributes() -> Query {
    Query::Fixed(ATTRIBUTES.to_vec())
}

/// A whole control sequence, without its introducer.
pub(super) fn sequence(bytes: &[u8], modes: &mut Modes) -> Found {
    let Some((&last, rest)) = bytes.split_last() else { return Found::Other };
    let (prefix, rest) = match rest.split_first() {
        Some((&mark @ b'<'..=b'?', rest)) => (mark, rest),
        _ => (0, rest),
    };
    let parameters = rest.iter().position(|byte| *byte < 0x30).unwrap_or(rest.len());
    let (parameters, intermediates) = rest.split_at(parameters);
    let first = numbers(parameters).next().unwrap_or(0);
    let fixed = |bytes: &[u8]| Found::Query(Query::Fixed(bytes.to_vec()));
    match (prefix, intermediates, last) {
        (0, b"", b'n') => match first {
            5 => fixed(b"\x1b[0n"),
            6 => Found::Query(Query::Cursor),
            _ => Found::Unanswered,
        },
        (b'?', b"", b'n') if first == 6 => Found::Query(Query::PrivateCursor),
        (b'?', b"", b'n') => Found::Unanswered,
        // A guest that echoes the answer must not get another.
        (0 | b'>' | b'=', b"", b'c') if !matches!(parameters, b"" | b"0") => Found::Unanswered,
        (0, b"", b'c') => fixed(ATTRIBUTES),
        (b'>', b"", b'c') => fixed(SECONDARY_ATTRIBUTES),
        (b'=', b"", b'c') => fixed(UNIT),
        (b'>', b"", b'q') => fixed(VERSION),
        (0, b"$", b'p') => fixed(&modes.report(Kind::Ansi, first)),
        (b'?', b"$", b'p') => fixed(&modes.report(Kind::Private, first)),
        (0, b"", b't') => window(first),
        // Keyboard, graphics, terminal parameters, presentation, checksums.
        (b'?', b"", b'u' | b'm' | b'S') | (0, b"", b'x') => Found::Unanswered,
        (0, b"$", b'w' | b'u') | (0, b"*", b'y') => Found::Unanswered,
        _ => {
            setting(prefix, parameters, intermediates, last, modes);
            Found::Other
        }
    }
}

/// A sequence that is no query and may set something that is kept.
fn setting(prefix: u8, parameters: &[u8], intermediates: &[u8], last: u8, modes: &mut Modes) {
    let kind = if prefix == b'?' { Kind::Private } else { Kind::Ansi };
    match (prefix, intermediates, last) {
        (0 | b'?', b"", b'h' | b'l') => {
            let turn = if last == b'h' { Turn::On } else { Turn::Off };
            numbers(parameters).for_each(|mode| modes.turn(kind, mode, turn));
        }
        (0, b" ", b'q') => modes.cursor_style(numbers(parameters).next().unwrap_or(0)),
        _ => {}
    }
}

fn window(operation: u16) -> Found {
    let (height, width) = CELL_PIXELS;
    match operation {
        14 => Found::Query(Query::Pixels),
        16 => Found::Query(Query::Fixed(format!("\x1b[6;{height};{width}t").into_bytes())),
        18 => Found::Query(Query::Characters(8)),
        19 => Found::Query(Query::Characters(9)),
        // State, position, titles.
        11 | 13 | 15 | 20 | 21 => Found::Unanswered,
        _ => Found::Other,
    }
}

/// A whole operating system command, without its introducer and terminator.
pub(super) fn command(bytes: &[u8], modes: &mut Modes) -> Found {
    let mut parts = bytes.split(|byte| *byte == b';');
    let number = parts.next().unwrap_or_default();
    match number {
        b"0" | b"1" | b"2" => {
            if let (b"0" | b"2", Some(title)) = (number, bytes.get(2..)) {
                modes.title(title);
            }
            Found::Other
        }
        // What is allowed, with which features.
        b"60" | b"61" => Found::Unanswered,
        b"1337" if parts.next().is_some_and(|part| part.starts_with(b"Re")) => Found::Unanswered,
        _ if !may_ask(bytes) || !parts.clone().any(asks) => Found::Other,
        _ => {
            let answer = colours(number, parts);
            if answer.is_empty() { Found::Unanswered } else { Found::Query(Query::Fixed(answer)) }
        }
    }
}

fn asks(part: &[u8]) -> bool {
    part == b"?" || part.ends_with(b"=?")
}

/// Each `?` after a colour's number asks for the next colour from there on.
fn colours<'a>(number: &[u8], parts: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let Some(first) = numbers(number).next().filter(|first| (10..=12).contains(first)) else {
        return Vec::new();
    };
    let mut answer = String::new();
    for (number, part) in (first..=12).zip(parts) {
        if asks(part) {
            answer += &format!("\x1b]{number};rgb:{}\x1b\\", COLOURS[usize::from(number - 10)]);
        }
    }
    answer.into_bytes()
}

/// Whether an operating system command of this beginning can be a query. Titles, folders, links and
/// prompts may contain anything.
pub(super) fn may_ask(bytes: &[u8]) -> bool {
    let mut parts = bytes.split(|byte| *byte == b';');
    let number = parts.next().unwrap_or_default();
    // What is written to the clipboard may be long, and does not ask.
    let data = parts.nth(1).and_then(<[u8]>::first);
    let copies = number == b"52" && data.is_some_and(|first| *first != b'?');
    let digits = number.iter().all(u8::is_ascii_digit);
    let free = matches!(numbers(number).next().unwrap_or(0), 0..=2 | 7 | 8 | 9 | 133 | 633 | 777);
    digits && !free && !copies
}

/// The answer to a device control string with this head (parameters and what it is about).
pub(super) fn device_control(head: &[u8]) -> Option<&'static [u8]> {
    let about = head.iter().position(|byte| !(0x30..0x40).contains(byte)).unwrap_or(head.len());
    match &head[about..] {
        b"$q" => Some(NO_SETTING),
        b"+q" => Some(NO_CAPABILITY),
        _ => None,
    }
}

/// Numbers between semicolons; of one that is too large, the largest.
fn numbers(parameters: &[u8]) -> impl Iterator<Item = u16> {
    parameters.split(|byte| *byte == b';').map(|part| {
        let digits = part.iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0_u16, |number, digit| {
            number.saturating_mul(10).saturating_add(u16::from(digit - b'0'))
        })
    })
}
