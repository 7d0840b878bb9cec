use super::*;

/// What is passed on, with a mark where each query was.
fn scan(scanner: &mut Scanner, bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    for piece in scanner.scan(bytes) {
        match piece {
            Scanned::Text(bytes) => text.extend(bytes),
            Scanned::Query(query) => text.extend(format!("<{query:?}>").bytes()),
        }
    }
    text
}

/// Whatever is passed on is the same however it was cut.
#[track_caller]
fn check(input: &str, passed: &str) {
    let bytes = input.as_bytes();
    for cut in 0..=bytes.len() {
        let mut scanner = Scanner::default();
        let mut all = scan(&mut scanner, &bytes[..cut]);
        all.extend(scan(&mut scanner, &bytes[cut..]));
        assert_eq!(String::from_utf8_lossy(&all), passed, "{input:?} cut at {cut}");
    }
    let mut scanner = Scanner::default();
    let all: Vec<u8> = bytes.iter().flat_map(|byte| scan(&mut scanner, &[*byte])).collect();
    assert_eq!(String::from_utf8_lossy(&all), passed, "{input:?} byte by byte");
}

#[test]
fn what_is_no_query_is_passed_on() {
    for text in [
        "plain text\r\n\u{fc}\u{a0}\u{4e2d}\u{1f600}",
        "\x1b[1;31mred\x1b[0m\x1b[H\x1b[2J\x1b[10;20r",
        "\x1b]0;a title?\x07\x1b]2;?\x07",
        "\x1b]8;;http://x/?\x07link\x1b]8;;\x07",
        "\x1b]10;#ffffff\x07\x1b]52;c;aGk=\x07\x1b]133;A\x07",
        "\x1b[?1049h\x1b[?2004h\x1b[4 q\x1b[!p\x1b[22;0t\x1b[>4;1m\x1b[>1u\x1b[?0c",
        "\x1b(B\x1b7\x1b8\x1b=\x1b>\x1bc\x1bM",
        "\x1bPq#0;2;0;0;0\x07sixel\x1b\\after",
        "\x1b]0;title\x1b\\after",
    ] {
        check(text, text);
    }
}

#[test]
fn queries_are_taken_out() {
    check("a\x1b[6nb", "a<Cursor>b");
    check("\x1b[?6n\x1b[18t\x1b[14t", "<PrivateCursor><Characters(8)><Pixels>");
    for gone in [
        "\x05",
        "\x1b[?u",
        "\x1b[?996n",
        "\x1b[21t",
        "\x1b[?4m",
        "\x1b[?1;1;0S",
        "\x1b[x",
        "\x1b[1$w",
        "\x1b[1;1;1;1;1;1*y",
        "\x1b]52;c;?\x07",
        "\x1b]4;1;?\x07",
        "\x1b]50;?\x07",
        "\x1b]61\x07",
        "\x1b]21;foreground=?\x1b\\",
        "\x1b]1337;ReportCellSize\x07",
        "\x1b_Ga=q;x\x1b\\",
        "\x1b^x\x1b\\",
        "\x1bXx\x1b\\",
        "\u{9b}?u",
        "\u{9d}52;c;?\u{9c}",
        "\u{9f}Gq\u{9c}",
    ] {
        check(&format!("a{gone}b"), "ab");
    }
    // A control in the middle does what it does, and the sequence goes on.
    check("\x1b[6\r\nn", "\r\n<Cursor>");
    check("\x1b[\x05\x7f6n", "<Cursor>");
    check("\x1b[00000006;1n", "<Cursor>");
    check("\u{9b}6n", "<Cursor>");
    // What is cut off never had an effect.
    check("\x1b[12\x1b[6n", "<Cursor>");
    check("\x1b[6\x18n", "n");
    check("\x1b[6\u{e4}n", "\u{e4}n");
    check("\x1b]0;x\x1b[6ny", "\x1b]0;x\x1b\\<Cursor>y");
    check("\x1b]0;x\u{9b}6ny", "\x1b]0;x\x1b\\<Cursor>y");
    check("\x1b]10;?\x18x", "x");
}

#[test]
fn fixed_answers_are_right() {
    #[track_caller]
    fn answers(input: &str, expected: &[&str]) {
        let fixed = |piece| match piece {
            Scanned::Query(Query::Fixed(bytes)) => String::from_utf8(bytes).expect("text"),
            other => format!("{other:?}"),
        };
        let mut scanner = Scanner::default();
        let answers: Vec<String> = (scanner.scan(input.as_bytes()).into_iter())
            .filter(|piece| matches!(piece, Scanned::Query(_)))
            .map(fixed)
            .collect();
        assert_eq!(answers, expected, "{input:?}");
    }
    answers("\x1b[5n", &["\x1b[0n"]);
    answers("\x1b[c\x1b[0c\x1bZ", &["\x1b[?62;22c"; 3]);
    answers("\x1b[>c\x1b[>0c", &["\x1b[>0;276;0c"; 2]);
    answers("\x1b[=c", &["\x1bP!|00000000\x1b\\"]);
    answers("\x1b[>q", &["\x1bP>|stackvm\x1b\\"]);
    answers("\x1b[?25$p\x1b[?25l\x1b[?25$p", &["\x1b[?25;1$y", "\x1b[?25;2$y"]);
    answers("\x1b[?1000;2004h\x1b[?2004$p", &["\x1b[?2004;1$y"]);
    answers("\x1b[?2004h\x1bc\x1b[?2004$p", &["\x1b[?2004;2$y"]);
    answers("\x1b[?2026h\x1b[?2026$p", &["\x1b[?2026;0$y"]);
    answers("\x1b[4h\x1b[4$p\x1b[20$p\x1b[3$p", &["\x1b[4;1$y", "\x1b[20;2$y", "\x1b[3;0$y"]);
    let [ink, paper] = ["\x1b]10;rgb:eeee/ebeb/e3e3\x1b\\", "\x1b]11;rgb:1414/1313/1111\x1b\\"];
    answers("\x1b]10;?\x07", &[ink]);
    answers("\x1b]10;?;?\x1b\\", &[&[ink, paper].concat()]);
    answers("\x1b]10;#fff;?\x07", &[paper]);
    answers("\x1b[16t", &["\x1b[6;16;8t"]);
    answers("\x1bP$qm\x1b\\\x1bP+q544e\x1b\\", &["\x1bP0$r\x1b\\", "\x1bP0+r\x1b\\"]);
}

#[test]
fn what_is_too_long_is_no_way_around() {
    let zeros = "0".repeat(SEQUENCE_BYTES_MAX);
    check(&format!("a\x1b[{zeros}6nb"), "ab");
    let check_long = |input: String, passed: &str| {
        let mut scanner = Scanner::default();
        let all = scan(&mut scanner, input.as_bytes());
        assert_eq!(String::from_utf8_lossy(&all), passed);
        assert!(scanner.held.len() <= STRING_BYTES_MAX);
    };
    let fill = "#fff;".repeat(2000);
    check_long(format!("a\x1b]10;{fill}?\x07b"), "ab");
    check_long(format!("a\x1b]52;{};?\x07b", "c".repeat(5000)), "ab");
    let copy = format!("\x1b]52;c;{}\x07b", "aGk=".repeat(5000));
    check_long(copy.clone(), &copy);
    check_long(format!("\x1bP{}$qm\x1b\\b", "0;".repeat(5000)), "b");
    let image = format!("\x1bPq{}\x1b\\b", "~".repeat(50_000));
    check_long(image.clone(), &image);
}

#[test]
fn any_bytes_are_the_same_in_any_pieces() {
    // The bytes that mean something, more often than others.
    const BYTES: &[u8] =
        b"\x1b\x1b\x1b[[]]P_^X\\?>=;0016ncqtpu$+ \"!*\x07\x05\x18\x1a\r\n\xc2\xc2\x9b\
        \x9c\x9d\x90\xff\xe4az";
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut random = |max: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % max as u64) as usize
    };
    for round in 0..2000 {
        let bytes: Vec<u8> = (0..random(200)).map(|_| BYTES[random(BYTES.len())]).collect();
        let mut whole = Scanner::default();
        let expected = scan(&mut whole, &bytes);
        let (mut pieces, mut all, mut rest) = (Scanner::default(), Vec::new(), &bytes[..]);
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(1 + random(rest.len().min(7)));
            all.extend(scan(&mut pieces, piece));
            rest = after;
        }
        assert_eq!(all, expected, "round {round}: {bytes:?}");
        assert_eq!(format!("{pieces:?}"), format!("{whole:?}"), "round {round}: {bytes:?}");
        assert!(whole.held.len() <= STRING_BYTES_MAX);
        // Nothing that was passed on asks anything.
        let passed: Vec<u8> = (Scanner::default().scan(&bytes).into_iter())
            .filter_map(|piece| match piece {
                Scanned::Text(text) => Some(text),
                Scanned::Query(_) => None,
            })
            .flatten()
            .collect();
        let again = Scanner::default().scan(&passed);
        let asks = again.iter().any(|piece| matches!(piece, Scanned::Query(_)));
        assert!(!asks, "round {round}: {bytes:?}");
    }
}
