//! What terminals answer and show, and who types: the same from any number of clients.

use std::path::Path;

use stackvm_host::client::Connection;
use stackvm_host::machines::{Lifetime, StopHow};
use stackvm_host::protocol::{Command, Event, HISTORY_LINES_MAX, Picture, Reply, Size, SourceId};
use stackvm_machine::ConsoleId;

use super::{Labs, attach, kill, letters, press, read, start, wait, wait_until};

const SERIAL: ConsoleId = ConsoleId::Serial;

/// Everything that the terminal shows up to this letter.
fn until(lab: &mut Connection, letter: u8) -> String {
    let mut all = Vec::new();
    while all.last() != Some(&letter) {
        all.extend(wait(lab, |event| match event {
            Event::Console { bytes, .. } => Some(bytes),
            _ => None,
        }));
    }
    String::from_utf8(all).unwrap()
}

pub(super) fn a_query_has_one_answer(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let (mut first, shown) = attach(&machines, "echo");
    read(&mut first, shown, "ok\n");
    let (mut second, _) = attach(&machines, "echo");
    let (mut third, _) = attach(&machines, "echo");
    // The guest echoes the query, and then the answer that it gets.
    press(&mut second, b"ab\x1b[6n");
    for lab in [&mut first, &mut second, &mut third] {
        assert_eq!(until(lab, b'R'), "ab\x1b[2;5R");
    }
    press(&mut third, b"\x1b[5nz");
    for lab in [&mut first, &mut second, &mut third] {
        assert_eq!(until(lab, b'z'), "z", "status reports are queries when they are echoed");
    }
    // What was answered is answered: its answer is in the journal.
    kill(&machines, "echo");
    machines.start("echo").unwrap();
    let (mut again, shown) = attach(&machines, "echo");
    assert!(letters(&shown).ends_with("okabz"), "{:?}", String::from_utf8_lossy(&shown));
    press(&mut again, b"y");
    assert_eq!(until(&mut again, b'y'), "y");
}

/// What is typed for numbers from 1 on; the guest takes other letters for orders.
const LETTERS: &[u8] = b"abcdeghijklm";

/// Types a letter for a source.
fn type_once(lab: &mut Connection, source: SourceId, number: u64) -> Result<Reply, String> {
    let bytes = vec![LETTERS[number as usize - 1]];
    let name = "Amber Fox".to_owned();
    let command = Command::TypeOnce { console: SERIAL, bytes, name, source, number };
    lab.call(command).map_err(|error| error.to_string())
}

fn applied(machines: &Labs, source: SourceId) -> u64 {
    match machines.connect("echo").unwrap().call(Command::Applied { source }).unwrap() {
        Reply::Applied { number } => number,
        other => panic!("{other:?}"),
    }
}

pub(super) fn numbered_inputs_are_typed_once(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let (mut viewer, shown) = attach(&machines, "echo");
    read(&mut viewer, shown, "ok\n");
    let (source, other) = (SourceId([1; 16]), SourceId([2; 16]));
    assert_eq!(applied(&machines, source), 0);
    // Each connection is cut after a few, and the next begins before where that one was.
    for (from, to) in [(1, 4), (2, 7), (7, 7), (5, 11)] {
        let mut lab = machines.connect("echo").unwrap();
        for number in from..=to {
            assert_eq!(type_once(&mut lab, source, number), Ok(Reply::Done));
        }
        assert_eq!(applied(&machines, source), to);
    }
    let mut lab = machines.connect("echo").unwrap();
    assert_eq!(type_once(&mut lab, other, 12), Ok(Reply::Done));
    assert_eq!(until(&mut viewer, b'm'), "abcdeghijklm");
    assert_eq!((applied(&machines, source), applied(&machines, other)), (11, 12));
    // What is refused uses up no number.
    let refused = Command::TypeOnce {
        console: ConsoleId::Hvc(0),
        bytes: vec![b'x'],
        name: "Amber Fox".into(),
        source,
        number: 20,
    };
    assert!(lab.call(refused).unwrap_err().to_string().contains("no terminal"));
    let nameless = Command::TypeOnce {
        console: SERIAL,
        bytes: vec![b'x'],
        name: "a\nb".into(),
        source,
        number: 20,
    };
    assert!(lab.call(nameless).unwrap_err().to_string().contains("control"));
    assert_eq!(applied(&machines, source), 11);
    kill(&machines, "echo");
}

/// The lab is killed again and again while somebody types who sends again what was not answered.
pub(super) fn a_killed_lab_types_each_key_once(data: &Path) {
    const ROUNDS: u64 = 12;
    const BATCH: u64 = 24;
    let letter = |number: u64| LETTERS[(number * 7 % LETTERS.len() as u64) as usize];
    let machines = start(data, "echo", Lifetime::Named);
    let (mut first, shown) = attach(&machines, "echo");
    read(&mut first, shown, "ok\n");
    let source = SourceId([7; 16]);
    let (mut answered, mut sent) = (0, 0);
    for round in 0..ROUNDS {
        let mut lab = machines.connect("echo").unwrap();
        for number in answered + 1..=answered + BATCH {
            let (bytes, name) = (vec![letter(number)], "Amber Fox".to_owned());
            let command = Command::TypeOnce { console: SERIAL, bytes, name, source, number };
            lab.send(command).unwrap();
            sent = sent.max(number);
        }
        // Somewhere in the batch, differently each time.
        for _ in 0..round * 5 % BATCH {
            wait(&mut lab, |event| match event {
                Event::Reply { reply: Reply::Done, .. } => Some(()),
                _ => None,
            });
            answered += 1;
        }
        kill(&machines, "echo");
        machines.start("echo").unwrap();
        assert!(applied(&machines, source) >= answered, "an answered key is forgotten");
    }
    let mut lab = machines.connect("echo").unwrap();
    for number in answered + 1..=sent {
        let (bytes, name) = (vec![letter(number)], "Amber Fox".to_owned());
        let command = Command::TypeOnce { console: SERIAL, bytes, name, source, number };
        assert_eq!(lab.call(command).unwrap(), Reply::Done);
    }
    assert_eq!(applied(&machines, source), sent);
    let typed: String = (1..=sent).map(|number| char::from(letter(number))).collect();
    let (mut viewer, shown) = attach(&machines, "echo");
    press(&mut viewer, b"z");
    read(&mut viewer, shown, &format!("ok{typed}z"));
}

/// What a terminal shows and remembers, to whoever may see what happened since an instant.
fn look(lab: &mut Connection, since_ticks: u64) -> Picture {
    let lines_max = HISTORY_LINES_MAX;
    match lab.call(Command::Look { console: SERIAL, since_ticks, lines_max }).unwrap() {
        Reply::Picture(picture) => picture,
        reply => panic!("{reply:?}"),
    }
}

/// Lines above the screen, title and modes are there after the lab was saved or killed, and nobody
/// gets lines from before their time.
pub(super) fn a_restart_keeps_what_was_shown(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    let size = Size { columns: 30, rows: 3 };
    lab.send(Command::Resize { console: SERIAL, size }).unwrap();
    press(&mut lab, b"\x1b]2;desk\x07\x1b[?1000h\x1b[?2004h\r\none\r\ntwo\r\nx");
    assert!(until(&mut lab, b'x').contains("two"));
    let middle = look(&mut lab, 0).instant_ticks;
    // Longer than what a replay knows about when a line was written.
    wait_until("time stands still", || {
        let info = machines.info("echo").unwrap();
        info.instant_ticks > middle + 16 * 5_000_000
    });
    press(&mut lab, b"\r\nten\r\nbig\r\ncat\r\nhen\r\ny");
    until(&mut lab, b'y');
    let before = [0, middle].map(|since| look(&mut lab, since));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(text(&before[0].history).contains("one"), "{before:?}");
    assert!(text(&before[1].history).contains("ten"), "{before:?}");
    assert!(!text(&before[1].history).contains("one"), "{before:?}");
    assert!(text(&before[0].screen).contains("]2;desk"), "{before:?}");
    let restarts: [(&str, &dyn Fn()); 3] = [
        ("killed", &|| kill(&machines, "echo")),
        ("saved", &|| drop(machines.stop("echo", StopHow::Save).unwrap())),
        ("killed after that", &|| kill(&machines, "echo")),
    ];
    for (how, end) in restarts {
        end();
        machines.start("echo").unwrap();
        let mut lab = machines.connect("echo").unwrap();
        for (since, before) in [0, middle].into_iter().zip(&before) {
            let after = look(&mut lab, since);
            assert_eq!(text(&after.history), text(&before.history), "{how}, since {since}");
            assert_eq!(text(&after.screen), text(&before.screen), "{how}, since {since}");
        }
        let now = look(&mut lab, 0).instant_ticks;
        assert_eq!(text(&look(&mut lab, now).history), "", "{how}");
    }
}

pub(super) fn terminals_are_looked_at(data: &Path) {
    let machines = start(data, "echo", Lifetime::Ephemeral);
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    let size = Size { columns: 20, rows: 2 };
    lab.send(Command::Resize { console: SERIAL, size }).unwrap();
    let resized = wait(&mut lab, |event| match event {
        Event::Resized { size, .. } => Some(size),
        _ => None,
    });
    assert_eq!(resized, size);
    let (mut other, _) = attach(&machines, "echo");
    let mut heard = Vec::new();
    for (name, keys) in [("ada", "\r\none\r\n"), ("ada", "two\r\n"), ("bob", "six")] {
        other.call(Command::Name { name: name.into() }).unwrap();
        press(&mut other, keys.as_bytes());
        heard.push(until(&mut lab, *keys.as_bytes().last().unwrap()));
    }
    let look = |lab: &mut Connection, since_ticks, lines_max| {
        let command = Command::Look { console: SERIAL, since_ticks, lines_max };
        match lab.call(command).unwrap() {
            Reply::Picture(picture) => picture,
            reply => panic!("{reply:?}"),
        }
    };
    let picture = look(&mut lab, 0, HISTORY_LINES_MAX);
    assert_eq!(picture.size, size);
    assert!(picture.history.ends_with(b"one\r\n"), "{picture:?}");
    assert!(letters(&picture.screen).ends_with("twosix"), "{picture:?}");
    assert!(look(&mut lab, picture.instant_ticks, HISTORY_LINES_MAX).history.is_empty());
    assert!(look(&mut lab, 0, 0).history.is_empty());
    match lab.call(Command::Text { console: SERIAL }).unwrap() {
        Reply::Text { lines, cursor } => {
            assert_eq!((lines, cursor), (vec!["two".into(), "six".into()], Some((1, 3))));
        }
        reply => panic!("{reply:?}"),
    }
    // Somebody is said to type when it is somebody else than before.
    press(&mut lab, b"x");
    let mut typists = Vec::new();
    while typists.last().is_none_or(|name| name != "someone") {
        typists.push(wait(&mut other, |event| match event {
            Event::Typed { name, .. } => Some(name),
            _ => None,
        }));
    }
    assert_eq!(typists, ["ada", "bob", "someone"]);
}
