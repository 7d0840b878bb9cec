//! What people are called: names to begin with, and what may stand in one that somebody chose.

use crate::protocol::{NAME_BYTES_MAX, SAID_BYTES_MAX};

/// How many colours there are.
pub(crate) const HUES: u8 = 8;

const FIRST: [&str; 64] = [
    "Amber", "Azure", "Bold", "Brave", "Breezy", "Bright", "Brisk", "Bronze", "Calm", "Candid",
    "Cheery", "Clear", "Clever", "Copper", "Coral", "Cosy", "Crimson", "Curious", "Daring",
    "Dapper", "Eager", "Early", "Ember", "Fair", "Gentle", "Gilded", "Glad", "Golden", "Green",
    "Hazel", "Honest", "Humble", "Indigo", "Ivory", "Jade", "Jolly", "Keen", "Kind", "Lively",
    "Lucky", "Lunar", "Mellow", "Merry", "Mild", "Misty", "Noble", "Olive", "Opal", "Patient",
    "Plucky", "Polite", "Proud", "Quick", "Quiet", "Ruby", "Rustic", "Silver", "Snowy", "Solar",
    "Steady", "Sunny", "Swift", "Tidy", "Warm",
];

const LAST: [&str; 64] = [
    "Badger", "Bear", "Beaver", "Bee", "Bison", "Bittern", "Camel", "Crane", "Cricket", "Curlew",
    "Deer", "Dolphin", "Dove", "Eagle", "Egret", "Elk", "Falcon", "Ferret", "Finch", "Fox", "Frog",
    "Gecko", "Goose", "Hare", "Hawk", "Hedgehog", "Heron", "Ibex", "Ibis", "Jackdaw", "Jay",
    "Kestrel", "Kite", "Koala", "Lark", "Lemur", "Lynx", "Magpie", "Marten", "Mole", "Moose",
    "Newt", "Otter", "Owl", "Panda", "Penguin", "Plover", "Pony", "Puffin", "Quail", "Rabbit",
    "Raven", "Robin", "Seal", "Sparrow", "Squirrel", "Stork", "Swan", "Tern", "Thrush", "Tortoise",
    "Turtle", "Whale", "Wren",
];

/// A name and a colour for somebody new, chosen by `random`.
pub(crate) fn propose(random: u64) -> (String, u8) {
    let [first, last, hue, ..] = random.to_le_bytes();
    let first = FIRST[usize::from(first) % FIRST.len()];
    let last = LAST[usize::from(last) % LAST.len()];
    (format!("{first} {last}"), hue % HUES)
}

/// A name as it is shown: plain text without odd spaces, at most [`NAME_BYTES_MAX`] long; `None` if
/// nothing is left of it.
pub(crate) fn clean_name(name: &str) -> Option<String> {
    let words: Vec<&str> = name.split_whitespace().collect();
    clean(&words.join(" "), NAME_BYTES_MAX)
}

/// Something said, as it is shown: plain text with line ends, at most [`SAID_BYTES_MAX`] long.
pub(super) fn clean_text(text: &str) -> Option<String> {
    clean(text, SAID_BYTES_MAX)
}

/// Takes out what could make a text look like something else; viewers and drivers are who tries.
fn clean(text: &str, bytes_max: usize) -> Option<String> {
    let mut kept = String::new();
    for c in text.chars().filter(|c| is_plain(*c)) {
        if kept.len() + c.len_utf8() > bytes_max {
            break;
        }
        kept.push(c);
    }
    let kept = kept.trim();
    (!kept.is_empty()).then(|| kept.to_owned())
}

/// Whether a character is text: neither a control, nor one that turns the direction of what
/// follows, nor one without width that makes two names look the same.
fn is_plain(c: char) -> bool {
    let turns = matches!(c, '\u{061c}' | '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    // The joiner stays: it makes one emoji of several.
    let hides = matches!(c, '\u{00ad}' | '\u{200b}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{2065}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    c == '\n' || !(c.is_control() || turns || hides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proposals_are_many_and_fit() {
        let mut seen = std::collections::BTreeSet::new();
        for random in 0..=0xffff {
            let (name, hue) = propose(random * 0x0101_0001);
            assert_eq!(clean_name(&name).as_ref(), Some(&name));
            assert!(hue < HUES);
            seen.insert(name);
        }
        assert_eq!(seen.len(), FIRST.len() * LAST.len());
    }

    #[test]
    fn names_are_one_line_of_plain_text() {
        let long = "é".repeat(40);
        let cut = "é".repeat(32);
        for (name, expected) in [
            ("Ada", Some("Ada")),
            ("  Ada \t\r\n Byron ", Some("Ada Byron")),
            ("\u{1b}[31mred", Some("[31mred")),
            ("\u{202e}evil\u{2066}", Some("evil")),
            ("a\u{200b}b", Some("ab")),
            ("<img src=x>", Some("<img src=x>")),
            (&long, Some(cut.as_str())),
            ("", None),
            (" \u{7}\u{200b}\n", None),
        ] {
            assert_eq!(clean_name(name).as_deref(), expected, "{name:?}");
        }
    }

    #[test]
    fn text_keeps_its_lines_and_its_limit() {
        assert_eq!(clean_text("one\ntwo\u{8}\u{0}").as_deref(), Some("one\ntwo"));
        assert_eq!(clean_text(&"x".repeat(5000)).unwrap().len(), SAID_BYTES_MAX);
        assert_eq!(clean_text("\u{1b}\n "), None);
    }
}
