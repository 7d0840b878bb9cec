use super::*;
use crate::screen::Written;

const SERIAL: ConsoleId = ConsoleId::Serial;

/// A screen of 10 by 3 after these, each 1 ns after the one before, beginning with 1 ns.
fn screen(writes: &[&str]) -> Scrolled {
    let mut shown = Scrolled::new(Screen::new(10, 3));
    for (ns, text) in writes.iter().enumerate() {
        shown.feed(text.as_bytes(), Instant::from_ns(ns as u64 + 1));
    }
    shown
}

/// The history from the write of this number on.
fn lines(shown: &Scrolled, from: u64) -> String {
    let since = Instant::from_ns(from.saturating_sub(1));
    let bytes = shown.history(since, HISTORY_LINES_MAX, usize::MAX);
    String::from_utf8(bytes).expect("text").replace("\r\n", "|")
}

#[test]
fn lines_go_up_into_the_history() {
    let check = |writes: &[&str], expected: &str| {
        let shown = screen(writes);
        assert_eq!(lines(&shown, 0), expected, "{writes:?}");
        assert_eq!(lines(&shown.twin(), 0), expected, "{writes:?}");
    };
    check(&["one\r\ntwo\r\nthree"], "");
    check(&["1\r\n2\r\n3\r\n4\r\n5"], "1|2|");
    check(&["1\r\n2\r\n3", "\x1b[2S"], "1|2|");
    check(&["abcdefghijklm\r\n2\r\n3"], "abcdefghij|");
    check(&["\x1b[31mred\x1b[0m!\r\n\r\n\r\n"], "\x1b[0;31mred\x1b[0m!|");
    check(&["\x1b[1;38;5;200;48;2;1;2;3mx\r\n\n\n"], "\x1b[0;1;38;5;200;48;2;1;2;3mx\x1b[0m|");
    check(&["\x1b[97;104mx\x1b[m\r\n\n\n"], "\x1b[0;97;104mx\x1b[0m|");
    // What is erased as a whole goes up, too, but not what the saved lines are erased with.
    check(&["1\r\n2", "\x1b[H\x1b[2J"], "1|2|");
    check(&["1\r\n2", "\x1b[H\x1b[2J\x1b[3J"], "");
    check(&["1\r\n2\r\n3\r\n4\x1bc"], "");
    // A full-screen program leaves nothing.
    check(&["1\r\n2\x1b[?1049h\x1b[H", "a\r\nb\r\nc\r\nd\r\ne", "\x1b[?1049l"], "");
    check(&["\u{4e2d}\u{6587}\r\n\r\n\r\n"], "\u{4e2d}\u{6587}|");
}

#[test]
fn a_line_is_as_old_as_its_last_change() {
    let check = |writes: &[&str], since: u64, expected: &str| {
        assert_eq!(lines(&screen(writes), since), expected, "{writes:?} since {since}");
    };
    let three = ["1\r\n2\r\n3", "\r\n\r\n\r\n"];
    check(&three, 1, "1|2|3|");
    // They were written before, whenever they scrolled off.
    check(&three, 2, "");
    let mixed = ["old\r\nold\r\n", "new\r\nnew", "\x1b[2S"];
    check(&mixed, 1, "old|old|new|");
    check(&mixed, 2, "new|");
    check(&mixed, 3, "");
    // Somebody has changed an old line.
    check(&["old\r\nold", "\x1b[1;5H+", "\x1b[3S"], 2, "old +|");
    // Lines move within a region, down and up.
    check(&["1\r\n2\r\n3", "\x1b[H\x1b[L", "\x1b[3S"], 2, "|");
    check(&["1\r\n2\r\n3", "\x1b[1;1H\x1b[M", "\x1b[3S"], 2, "|");
    check(&["abcdefghij", "klm", "\r\n\n\n\n"], 2, "klm|");
    // What a full-screen program did is nothing that happened to them.
    check(&["1\r\n2", "\x1b[?1049h\x1b[Hx\r\ny\x1b[?1049l", "\r\n\n\n\n"], 2, "");
    check(&["1\r\n2", "\x1b[2J"], 2, "");
}

#[test]
fn what_was_written_by_then_is_before() {
    let shown = screen(&["old\r\n\n\n", "new\r\n\n\n\n"]);
    let history = |since| {
        let bytes = shown.history(since, HISTORY_LINES_MAX, usize::MAX);
        String::from_utf8(bytes).expect("text").contains("old")
    };
    // Whoever comes in at an instant comes after what was written by then, to a nanosecond.
    assert!(history(Instant::ZERO));
    assert!(!history(Instant::from_ns(1)));
    assert!(!history(Instant::from_ticks(17)));
}

#[test]
fn what_is_drawn_again_is_remembered() {
    let writes = ["one\r\ntwo\r\nsix\r\n", "ten\r\nbig"];
    let check = |drawn: Scrolled, expected: &str| {
        let mut shown = Scrolled::new(Screen::restore(&screen(&writes).screen.save(SERIAL)));
        assert_eq!(lines(&shown, 0), "");
        shown.remember(drawn);
        assert_eq!(lines(&shown, 0), "one|two|");
        shown.feed(b"\x1b[3S", Instant::from_ns(9));
        assert_eq!(lines(&shown, 0), "one|two|six|ten|big|");
        assert_eq!(lines(&shown, 2), expected);
    };
    check(screen(&writes), "ten|big|");
    // What shows something else does not know when these lines were written.
    check(screen(&["one\r\ntwo\r\nsix\r\n", "ten\r\nBIG"]), "");
}

#[test]
fn another_size_makes_nothing_newer() {
    let mut shown = screen(&["1\r\n2\r\n", "3"]);
    shown.resize(5, 1);
    assert_eq!(lines(&shown, 1), "1|2|");
    assert_eq!(lines(&shown, 2), "");
    shown.feed(b"\r\n\r\n", Instant::from_ns(9));
    assert_eq!(lines(&shown, 2), "|");
    assert_eq!(shown.screen().size(), (5, 1));
    assert_eq!(shown.screen().written(), Written::Once);
}

#[test]
fn history_is_bounded() {
    let mut shown = screen(&[]);
    for line in 0..HISTORY_LINES_MAX + 10 {
        shown.feed(format!("{line}\r\n").as_bytes(), Instant::from_ns(1));
    }
    assert_eq!(shown.history.lines.len(), HISTORY_LINES_MAX);
    let take = |lines_max, bytes_max| {
        String::from_utf8(shown.history(Instant::ZERO, lines_max, bytes_max)).expect("text")
    };
    assert_eq!(take(2, usize::MAX), "1006\r\n1007\r\n");
    assert_eq!(take(usize::MAX, 13), "1006\r\n1007\r\n");
    assert_eq!(take(usize::MAX, 5), "");
    let mut wide = Scrolled::new(Screen::new(60_000, 1));
    let line = "x".repeat(60_000);
    for _ in 0..20 {
        wide.feed(format!("{line}\r\n").as_bytes(), Instant::from_ns(1));
    }
    assert!(wide.history.bytes <= HISTORY_BYTES_MAX);
    assert_eq!(wide.history.lines.len(), HISTORY_BYTES_MAX / 60_000);
}

#[test]
fn a_screen_flows() {
    let check = |text: &str, expected: &str| {
        let shown = screen(&[text]);
        assert_eq!(shown.screen().flowing(), expected, "{text:?}");
    };
    check("", "");
    check("# ", "# ");
    check("a\r\n# ", "a\r\n# ");
    check("ab\r", "ab\r");
    check("a\r\nb\r\nc\x1b[1;2H", "a\r\nb\r\nc\r\x1b[2A\x1b[1C");
    check("\x1b[?1h\x1b[?25lx", "x\x1b[?1h\x1b[?25l");
}
