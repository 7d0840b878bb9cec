use super::*;

fn at(ns: u64) -> Instant {
    Instant::from_ns(ns)
}

fn sized(columns: u16, rows: u16) -> Terminal {
    let mut terminal = Terminal::default();
    terminal.resize(Size { columns, rows });
    terminal
}

#[test]
fn answers_are_of_where_they_were_asked() {
    #[track_caller]
    fn check(written: &str, shown: &str, answers: &[&str]) {
        let bytes = written.as_bytes();
        for cut in 0..=bytes.len() {
            let mut terminal = sized(10, 4);
            let mut heard = terminal.write(&bytes[..cut], at(1));
            let rest = terminal.write(&bytes[cut..], at(1));
            heard.shown.extend(rest.shown);
            heard.answers.extend(rest.answers);
            assert_eq!(String::from_utf8_lossy(&heard.shown), shown, "{written:?} cut at {cut}");
            let heard = heard.answers.iter().map(|bytes| String::from_utf8_lossy(bytes));
            assert_eq!(heard.collect::<Vec<_>>(), answers, "{written:?} cut at {cut}");
        }
    }
    check("ab\x1b[6nc", "abc", &["\x1b[1;3R"]);
    check("\x1b[6n\r\n\x1b[?6n", "\r\n", &["\x1b[1;1R", "\x1b[?2;1R"]);
    // The cursor waits on the last character of a full line.
    check("0123456789\x1b[6n", "0123456789", &["\x1b[1;10R"]);
    // How programs find out how large the terminal is.
    check("\x1b[999;999H\x1b[6n", "\x1b[999;999H", &["\x1b[4;10R"]);
    check("\x1b[18t\x1b[19t\x1b[14t", "", &["\x1b[8;4;10t", "\x1b[9;4;10t", "\x1b[4;64;80t"]);
}

/// What a viewer's terminal shows that was empty and got a picture.
fn viewed(picture: &Picture) -> Terminal {
    let mut viewer = sized(picture.size.columns, picture.size.rows);
    let answers = viewer.write(&[&picture.history[..], &picture.screen].concat(), at(1)).answers;
    assert!(answers.is_empty(), "a picture asks nothing");
    viewer
}

#[test]
fn a_picture_is_the_terminal_again() {
    let check = |written: &[&str]| {
        let mut terminal = sized(20, 5);
        for text in written {
            terminal.write(text.as_bytes(), at(1));
            let picture = terminal.picture(Instant::ZERO, 1000, at(2));
            assert!(picture.history.len() + picture.screen.len() <= PICTURE_BYTES_MAX);
            let mut viewer = viewed(&picture);
            assert_eq!(viewer.screen().dump(), terminal.screen().dump(), "{written:?}");
            assert_eq!(viewer.screen().cursor(), terminal.screen().cursor(), "{written:?}");
            assert_eq!(viewer.title(), terminal.title());
            let modes = |terminal: &Terminal| terminal.scanner.modes.draw();
            assert_eq!(modes(&viewer), modes(&terminal), "{written:?}");
            let again = viewer.picture(Instant::ZERO, 1000, at(2));
            assert_eq!(again.history, picture.history, "{written:?}");
            // It goes on the same.
            viewer.write(b"more\r\nand more\r\n", at(3));
            let mut twin = terminal.twin();
            twin.write(b"more\r\nand more\r\n", at(3));
            assert_eq!(viewer.screen().dump(), twin.screen().dump(), "{written:?}");
        }
    };
    check(&["# ", "ls\r\na  b\r\n# "]);
    check(&["1\r\n2\r\n3\r\n4\r\n5\r\n6\r\n7", "\x1b[2;3H", "\x1b[31mred"]);
    check(&["shell\r\n\x1b[?1049h\x1b[H\x1b[44mvim\x1b[3;4H", "\x1b[?1049l"]);
    check(&["\x1b[?2004h\x1b[?1002;1006h\x1b]0;top \u{fc}\x07\x1b=\x1b[5 q\x1b[?25l"]);
    check(&["\x1b[2;4rx\x1b[?6h\x1b[1;1H", "\u{4e2d}\u{6587} \u{1f600}", "01234567890123456789"]);
}

#[test]
fn nothing_was_written_to_a_new_terminal() {
    let picture = Terminal::default().picture(Instant::ZERO, 1000, at(1));
    assert!(
        picture.screen.is_empty() && picture.history.is_empty() && flowing(&picture).is_empty()
    );
    assert_eq!(picture.size, Size { columns: 80, rows: 24 });
}

#[test]
fn older_lines_are_not_shown() {
    let mut terminal = sized(20, 2);
    terminal.write(b"secret\r\n", at(10));
    terminal.write(b"shared\r\n", at(20));
    terminal.write(b"shown\r\nlast", at(30));
    let history = |since, lines_max| {
        String::from_utf8(terminal.picture(at(since), lines_max, at(40)).history).unwrap()
    };
    assert_eq!(history(0, 1000), "secret\r\nshared\r\n");
    assert_eq!(history(9, 1000), "secret\r\nshared\r\n");
    assert_eq!(history(10, 1000), "shared\r\n");
    assert_eq!(history(20, 1000), "");
    assert_eq!(history(0, 1), "shared\r\n");
}

#[test]
fn a_picture_fits_whatever_the_guest_draws() {
    let mut terminal = sized(1000, 100);
    for n in 0..100_000_u32 {
        let (red, green, blue) = (n % 256, n / 256 % 256, n / 7 % 256);
        let text = format!("\x1b[38;2;{red};{green};{blue};48;2;{blue};{red};{green}m\u{4e00}");
        terminal.write(text.as_bytes(), at(1));
    }
    let picture = terminal.picture(Instant::ZERO, 1000, at(1));
    assert!(picture.history.len() + picture.screen.len() <= PICTURE_BYTES_MAX);
    let viewer = viewed(&picture);
    assert_eq!(viewer.text().0[..10], terminal.text().0[..10]);
    let mut tall = sized(1, 65_535);
    tall.write("\u{4e00}\r\n".repeat(70_000).as_bytes(), at(1));
    let picture = tall.picture(Instant::ZERO, 1000, at(1));
    assert!(picture.history.len() + picture.screen.len() <= PICTURE_BYTES_MAX);
}

#[test]
fn titles_are_text() {
    let check = |written: &str, title: &str| {
        let mut terminal = Terminal::default();
        terminal.write(written.as_bytes(), at(1));
        assert_eq!(terminal.title(), title);
    };
    check("\x1b]0;vi notes\x07", "vi notes");
    check("\x1b]1;icon\x07", "");
    check("\x1b]2;a\x01b\x07\x1b]2;c", "ab");
    check(&format!("\x1b]2;{}\x07", "\u{fc}".repeat(200)), &"\u{fc}".repeat(128));
    check("\x1b]2;x\x07\x1bc", "");
}

#[test]
fn text_is_what_is_seen() {
    let mut terminal = sized(10, 3);
    terminal.write(b"\x1b[31mone\x1b[0m  \r\ntwo", at(1));
    assert_eq!(terminal.text(), (vec!["one".into(), "two".into(), "".into()], Some((1, 3))));
    terminal.write(b"\x1b[?25l", at(1));
    assert_eq!(terminal.text().1, None);
}

#[test]
fn a_picture_flows_on_any_terminal() {
    let check = |written: &str, expected: &str| {
        let mut terminal = sized(10, 2);
        terminal.write(written.as_bytes(), at(1));
        let drawn = flowing(&terminal.picture(Instant::ZERO, 1000, at(1)));
        assert_eq!(String::from_utf8(drawn).unwrap(), expected);
    };
    check("# ", "# ");
    check("1\r\n2\r\n\x1b[?2004h# ", "1\r\n2\r\n# \x1b[?2004h");
    // A full-screen program has the whole terminal.
    let mut vi = sized(10, 2);
    vi.write(b"shell\x1b[?1049h\x1b[Hvi", at(1));
    let mut viewer = sized(10, 2);
    viewer.write(b"here\r\nthere", at(1));
    viewer.write(&flowing(&vi.picture(Instant::ZERO, 1000, at(1))), at(1));
    assert_eq!(viewer.text(), vi.text());
    assert_eq!(viewer.screen().kind(), ScreenKind::Alternate);
}
