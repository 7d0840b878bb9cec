use stackvm_machine::{ConsoleId, Input, Output, PortId};

use super::{Screens, Written};
use crate::event::Event;

const SHELL: ConsoleId = ConsoleId::Hvc(0);

fn write(screens: &mut Screens, console: ConsoleId, bytes: &[u8]) {
    screens.output(&Output::Console { console, bytes: bytes.to_vec() });
}

fn resize(screens: &mut Screens, columns: u16, rows: u16) {
    let input = Input::Resize { console: SHELL, columns, rows };
    screens.event(&Event::Input(input));
}

/// What the top lines show after these pieces, each in a chunk of its own; and the same when the
/// screens were saved and restored between any two of them.
#[track_caller]
fn check(pieces: &[&[u8]], expected: &[&str]) {
    for cut in 0..=pieces.len() {
        let mut screens = Screens::new();
        for (number, piece) in pieces.iter().enumerate() {
            if number == cut {
                screens = Screens::from_derived(&screens.derived());
            }
            write(&mut screens, SHELL, piece);
        }
        let text = screens.get(SHELL).expect("written to").text();
        let shown: Vec<&str> = text.iter().map(String::as_str).take(expected.len()).collect();
        assert_eq!(shown, expected, "saved before piece {cut}");
        assert_eq!(Screens::from_derived(&screens.derived()).derived(), screens.derived());
    }
}

#[test]
fn outputs_are_drawn() {
    check(&[b"hello\r\n", b"wor", b"ld"], &["hello", "world", ""]);
    check(&[b"one\r\ntwo", b"\x1b[", b"1;1Hsix"], &["six", "two"]);
    // A character in two chunks, one whose rest never comes, and bytes that begin none.
    check(&[b"gr\xc3", b"\xbc\xc3", b"n\xff!"], &["gr\u{fc}\u{fffd}n\u{fffd}!"]);
    check(&[b"$ vi", b"\x1b[?1049h\x1b[Htext", b"\x1b[?1049l"], &["$ vi"]);
    check(&["a".repeat(81).as_bytes()], &["a".repeat(80).as_str(), "a"]);
}

#[test]
fn sizes_follow_the_input_within_limits() {
    let check = |columns, rows, expected| {
        let mut screens = Screens::new();
        write(&mut screens, SHELL, b"x");
        resize(&mut screens, columns, rows);
        assert_eq!(screens.get(SHELL).expect("there").size(), expected);
        let again = Screens::from_derived(&screens.derived());
        assert_eq!(again.get(SHELL).expect("there").size(), expected);
    };
    check(100, 30, (100, 30));
    check(0, 0, (1, 1));
    check(65_535, 65_535, (65_535, 1));
    check(1000, 65_535, (1000, 100));
}

#[test]
fn the_shell_is_shown_once_it_wrote() {
    let mut screens = Screens::new();
    assert_eq!(screens.main_console(), ConsoleId::Serial);
    resize(&mut screens, 100, 30);
    write(&mut screens, ConsoleId::Serial, b"booting");
    assert_eq!(screens.main_console(), ConsoleId::Serial);
    write(&mut screens, SHELL, b"$ ");
    assert_eq!(screens.main_console(), SHELL);
    assert_eq!(Screens::from_derived(&screens.derived()).main_console(), SHELL);
    assert_eq!(screens.derived().screens[1].written, Written::Once);
}

#[test]
fn ports_close_when_the_machine_is_reset() {
    let mut screens = Screens::new();
    for port in [1, 2, 3] {
        screens.output(&Output::PortOpened { port: PortId(port) });
    }
    screens.output(&Output::PortClosed { port: PortId(2) });
    assert_eq!(screens.open_ports().iter().map(|port| port.0).collect::<Vec<_>>(), [1, 3]);
    write(&mut screens, SHELL, b"bye");
    screens.event(&Event::Reset { seed: 1, rtc_ns: 2 });
    assert!(screens.open_ports().is_empty());
    assert_eq!(screens.get(SHELL).expect("still there").text()[0], "bye");
}
