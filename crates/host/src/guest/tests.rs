use serde_json::json;
use stackvm_images::ports;

use stackvm_machine::config::limits::PENDING_INPUT_BYTES_MAX;

use super::follow::ASK_UNOPENED_NS;
use super::*;
use crate::protocol::Stdin;

/// A machine and guest of the test's making: it answers as qemu-ga does, and the test plays the
/// programs.
struct Fake {
    guest: Guest,
    now: Instant,
    room: usize,
    /// Arguments of each `guest-exec`, by process id.
    started: BTreeMap<u64, Vec<String>>,
    ended: BTreeMap<u64, Value>,
    /// How often a status was asked for.
    asked: usize,
    /// Whether `guest-exec` works.
    refuses: Option<&'static str>,
    written: BTreeMap<PortId, Vec<u8>>,
    closed: BTreeSet<PortId>,
    other: Vec<Input>,
}

const AGENT: PortId = PortId(0);
const IN: PortId = PortId(1);
const OUT: PortId = PortId(2);
const ERR: PortId = PortId(3);

impl Fake {
    fn new() -> Fake {
        let mut fake = Fake {
            guest: Guest::new(&ports(), 3),
            now: Instant::ZERO,
            room: PENDING_INPUT_BYTES_MAX,
            started: BTreeMap::new(),
            ended: BTreeMap::new(),
            asked: 0,
            refuses: None,
            written: BTreeMap::new(),
            closed: (0..25).map(PortId).collect(),
            other: Vec::new(),
        };
        fake.settle();
        assert!(fake.closed.is_empty(), "our ends are open from the start");
        fake.opens(AGENT);
        assert_eq!(fake.events(), [GuestEvent::Up]);
        fake
    }

    fn output(&mut self, output: Output) -> Option<Output> {
        let rest = self.guest.output(output, self.now);
        self.settle();
        rest
    }

    fn opens(&mut self, port: PortId) {
        self.output(Output::PortOpened { port });
    }

    fn closes(&mut self, port: PortId) {
        self.output(Output::PortClosed { port });
    }

    fn writes(&mut self, port: PortId, bytes: &[u8]) {
        self.output(Output::Port { port, bytes: bytes.to_vec() });
    }

    /// Lets virtual time pass up to the guest's next deadline; false if it has none.
    fn wait(&mut self) -> bool {
        let Some(deadline) = self.guest.deadline() else { return false };
        self.now = self.now.max(deadline);
        self.settle();
        true
    }

    fn settle(&mut self) {
        loop {
            let room = self.room;
            self.guest.advance(self.now, &move |_| room);
            let inputs = self.guest.take_inputs();
            if inputs.is_empty() {
                return;
            }
            inputs.into_iter().for_each(|input| self.input(input));
        }
    }

    fn input(&mut self, input: Input) {
        match input {
            Input::Port { port: AGENT, bytes } => {
                for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                    let line = line.strip_prefix(b"\xff").unwrap_or(line);
                    let answer = self.answer(&serde_json::from_slice(line).unwrap());
                    self.guest.output(Output::Port { port: AGENT, bytes: answer }, self.now);
                }
            }
            Input::Port { port, bytes } => self.written.entry(port).or_default().extend(bytes),
            Input::PortOpen { port } => drop(self.closed.remove(&port)),
            Input::PortClose { port } => drop(self.closed.insert(port)),
            other => self.other.push(other),
        }
    }

    fn answer(&mut self, request: &Value) -> Vec<u8> {
        let arguments = &request["arguments"];
        let answer = match request["execute"].as_str().unwrap() {
            "guest-sync-delimited" => {
                let line = format!("{{\"return\":{}}}\n", arguments["id"]);
                return [b"\xff", line.as_bytes()].concat();
            }
            "guest-exec" if self.refuses.is_some() => {
                json!({ "error": { "class": "GenericError", "desc": self.refuses } })
            }
            "guest-exec" => {
                let pid = 100 + self.started.len() as u64;
                let texts = arguments["arg"].as_array().unwrap().iter();
                let texts = texts.map(|text| text.as_str().unwrap().to_owned());
                self.started.insert(pid, texts.collect());
                json!({ "return": { "pid": pid } })
            }
            "guest-exec-status" => {
                self.asked += 1;
                let status = self.ended.get(&arguments["pid"].as_u64().unwrap());
                json!({ "return": status.unwrap_or(&json!({ "exited": false })) })
            }
            _ => json!({ "return": {} }),
        };
        format!("{answer}\n").into_bytes()
    }

    fn events(&mut self) -> Vec<GuestEvent> {
        std::iter::from_fn(|| self.guest.next_event()).collect()
    }

    fn exec(&mut self, spec: &ExecSpec) -> ExecKey {
        let key = self.guest.exec(spec, self.now).unwrap();
        self.settle();
        key
    }
}

fn spec(argv: &[&str]) -> ExecSpec {
    let argv = argv.iter().map(|text| (*text).to_owned()).collect();
    ExecSpec { argv, env: Vec::new(), tty: None, stdin: Stdin::Stream }
}

#[test]
fn streams_and_code_arrive_with_one_question() {
    let mut fake = Fake::new();
    let key = fake.exec(&spec(&["cat", "-u"]));
    assert_eq!(fake.started[&100][3..], ["sh", "-c", "exec \"$@\"", "sh", "cat", "-u"]);
    fake.guest.exec_input(key, b"early".to_vec());
    fake.settle();
    assert!(fake.written.is_empty(), "nobody has opened standard input");
    [IN, OUT, ERR].into_iter().for_each(|port| fake.opens(port));
    assert_eq!(fake.written[&IN], b"early");
    fake.guest.exec_eof(key);
    fake.room = 7;
    fake.settle();
    assert!(!fake.closed.contains(&IN), "end of file overtakes what the guest has not read");
    fake.room = PENDING_INPUT_BYTES_MAX;
    fake.settle();
    assert!(fake.closed.contains(&IN));
    fake.writes(OUT, b"early");
    fake.writes(ERR, b"?");
    fake.ended.insert(100, json!({ "exited": true, "exitcode": 3 }));
    [IN, OUT].into_iter().for_each(|port| fake.closes(port));
    assert_eq!(fake.guest.deadline().unwrap().ns(), ASK_UNOPENED_NS, "err is still open");
    fake.closes(ERR);
    assert!(fake.wait());
    assert_eq!(
        fake.events(),
        [
            GuestEvent::Started(key),
            GuestEvent::Credit { key, bytes: 5 },
            GuestEvent::Output { key, stream: Stream::Stdout, bytes: b"early".to_vec() },
            GuestEvent::Output { key, stream: Stream::Stderr, bytes: b"?".to_vec() },
            GuestEvent::Exited { key, code: 3 },
        ]
    );
    assert_eq!(fake.asked, 1);
    assert!(!fake.closed.contains(&IN), "ready for the next command");
    assert_eq!(fake.guest.deadline(), None, "nothing wakes an idle guest");
}

#[test]
fn a_long_command_is_not_polled() {
    let mut fake = Fake::new();
    fake.exec(&spec(&["sleep", "1000000"]));
    [IN, OUT, ERR].into_iter().for_each(|port| fake.opens(port));
    while fake.wait() {}
    assert_eq!(fake.asked, 0);
}

#[test]
fn early_closers_and_failing_shells_are_asked_about_sparsely() {
    let check = |opens: bool| {
        let mut fake = Fake::new();
        let key = fake.exec(&spec(&["daemon"]));
        if opens {
            [OUT, ERR].into_iter().for_each(|port| fake.opens(port));
            [OUT, ERR].into_iter().for_each(|port| fake.closes(port));
        }
        let start = fake.now;
        while fake.now.since(start).ns() < 3600 * 1_000_000_000 {
            assert!(fake.wait());
        }
        assert!((60..100).contains(&fake.asked), "asked {} times in an hour", fake.asked);
        fake.ended.insert(100, json!({ "exited": true, "signal": 15 }));
        assert!(fake.wait());
        assert_eq!(
            fake.events(),
            [GuestEvent::Started(key), GuestEvent::Exited { key, code: 143 }]
        );
    };
    check(true);
    check(false);
}

#[test]
fn a_commands_surroundings_are_in_its_shell() {
    let check = |tty: Option<Size>, stdin, env: &[(&str, &str)], expected: &[&str]| {
        let mut fake = Fake::new();
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let spec = ExecSpec { argv: vec!["x y".into()], env: env.collect(), tty, stdin };
        fake.exec(&spec);
        let arguments = &fake.started[&100];
        assert_eq!(arguments.last().unwrap(), "x y");
        let text = arguments.join(" ");
        for part in expected {
            assert!(text.contains(part), "no {part} in {text}");
        }
    };
    let size = Some(Size { columns: 80, rows: 24 });
    check(None, Stdin::Null, &[], &["setsid \"$@\" </dev/null >/dev/virtio-ports/", "exec.0.err"]);
    check(None, Stdin::Stream, &[("A", "1 2")], &["</dev/virtio-ports/", "sh env A=1 2 sh"]);
    check(size, Stdin::Null, &[], &["<>/dev/hvc1 >&0", "exec.0.out;", "env TERM=xterm-256color"]);
    check(size, Stdin::Stream, &[("TERM", "vt100")], &["sh env TERM=vt100 sh -c"]);
}

#[test]
fn terminals_type_resize_and_end() {
    let mut fake = Fake::new();
    let size = Size { columns: 100, rows: 40 };
    let key = fake.exec(&ExecSpec { tty: Some(size), ..spec(&["top"]) });
    fake.opens(OUT);
    let console = ConsoleId::Hvc(1);
    fake.guest.exec_input(key, b"q".to_vec());
    fake.settle();
    let typed = Input::Console { console, bytes: b"q".to_vec() };
    assert_eq!(fake.other, [Input::Resize { console, columns: 100, rows: 40 }, typed]);
    assert_eq!(fake.output(Output::Console { console, bytes: b"bye".to_vec() }), None);
    let log = Output::Console { console: ConsoleId::Serial, bytes: b"log".to_vec() };
    assert_eq!(fake.output(log.clone()), Some(log));
    fake.ended.insert(100, json!({ "exited": true, "exitcode": 0 }));
    fake.closes(OUT);
    fake.wait();
    let events = fake.events();
    let bytes = b"bye".to_vec();
    assert!(events.contains(&GuestEvent::Output { key, stream: Stream::Stdout, bytes }));
    assert_eq!(events.last(), Some(&GuestEvent::Exited { key, code: 0 }));
}

#[test]
fn sets_and_terminals_are_limited_and_come_back() {
    let mut fake = Fake::new();
    let tty = ExecSpec { tty: Some(Size { columns: 1, rows: 1 }), ..spec(&["x"]) };
    let first = fake.exec(&tty);
    fake.exec(&tty);
    assert_eq!(fake.guest.exec(&tty, fake.now), Err(ExecError::AllTerminals));
    for _ in 2..SETS {
        fake.exec(&spec(&["x"]));
    }
    assert_eq!(fake.guest.exec(&spec(&["x"]), fake.now), Err(ExecError::AllSets));
    fake.ended.insert(100, json!({ "exited": true, "exitcode": 0 }));
    fake.opens(OUT);
    fake.closes(OUT);
    while !fake.events().contains(&GuestEvent::Exited { key: first, code: 0 }) {
        assert!(fake.wait());
    }
    fake.exec(&tty);
}

#[test]
fn a_set_is_not_used_while_the_guest_holds_it() {
    let mut fake = Fake::new();
    [OUT, ERR].into_iter().for_each(|port| fake.opens(port));
    fake.exec(&spec(&["x"]));
    assert!(fake.started[&100].join(" ").contains("exec.1.out"));
}

#[test]
fn abandoned_commands_are_hung_up() {
    let mut fake = Fake::new();
    let key = fake.guest.exec(&spec(&["x"]), fake.now).unwrap();
    fake.guest.abandon(key, fake.now);
    fake.settle();
    assert_eq!(fake.started[&101][1..], ["kill -$1 -- -$2", "sh", "1", "100"]);
    fake.opens(OUT);
    fake.writes(OUT, b"unheard");
    assert!(!fake.events().iter().any(|event| matches!(event, GuestEvent::Output { .. })));
}

#[test]
fn failures_name_their_reason() {
    let mut fake = Fake::new();
    fake.refuses = Some("no memory");
    let key = fake.exec(&spec(&["x"]));
    let events = fake.events();
    let [GuestEvent::Failed { key: failed, error }] = &events[..] else { panic!("{events:?}") };
    assert_eq!(*failed, key);
    assert!(error.to_string().contains("no memory"), "{error}");

    fake.refuses = None;
    let key = fake.exec(&spec(&["x"]));
    fake.closes(AGENT);
    let lost = GuestEvent::Lost { key, error: AgentError::Gone };
    assert_eq!(fake.events(), [GuestEvent::Started(key), GuestEvent::Down, lost]);
}

#[test]
fn impossible_commands_are_refused() {
    let check = |spec: &ExecSpec, part: &str| {
        let error = Guest::new(&ports(), 3).exec(spec, Instant::ZERO).unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    };
    check(&spec(&[]), "no command");
    check(&spec(&["a\0b"]), "a\\0b");
    check(&spec(&["x"; 5000]), "arguments: 5000 given");
    check(&spec(&[&"x".repeat(70_000)]), "bytes of arguments");
    check(&ExecSpec { env: vec![("A=B".into(), String::new())], ..spec(&["x"]) }, "A=B");
    let error = Guest::new(&[], 0).exec(&spec(&["x"]), Instant::ZERO).unwrap_err();
    assert_eq!(error, ExecError::NoPorts);
}

#[test]
fn a_restored_machine_gets_a_new_session() {
    let fake = Fake::new();
    let saved = fake.guest.save();
    let mut guest = Guest::new(&ports(), 3);
    guest.restore(saved, Instant::from_ns(5));
    guest.advance(Instant::from_ns(5), &|_| 0);
    let sync = guest.take_inputs().into_iter().any(|input| match input {
        Input::Port { port: AGENT, bytes } => bytes.starts_with(b"\xff{"),
        _ => false,
    });
    assert!(sync);
}

#[test]
fn commands_of_an_earlier_session_keep_their_set() {
    let mut fake = Fake::new();
    fake.exec(&spec(&["old"]));
    [IN, OUT, ERR].into_iter().for_each(|port| fake.opens(port));
    let mut guest = Guest::new(&ports(), 3);
    guest.restore(fake.guest.save(), fake.now);
    let opened = |guest: &mut Guest| -> Vec<PortId> {
        let inputs = guest.take_inputs().into_iter();
        inputs
            .filter_map(|input| match input {
                Input::PortOpen { port } => Some(port),
                _ => None,
            })
            .collect()
    };
    let seen = opened(&mut guest);
    assert!(seen.contains(&AGENT) && ![IN, OUT, ERR].iter().any(|port| seen.contains(port)));
    fake.guest = guest;
    fake.settle();
    // One that is just being started has the first free set: the last one is safe.
    fake.exec(&spec(&["new"]));
    let script = fake.started.values().last().unwrap()[1].clone();
    assert!(script.contains(&format!("exec.{}.out", SETS - 1)), "{script}");
    for port in [ERR, IN, OUT] {
        assert_eq!(opened(&mut fake.guest), []);
        fake.guest.output(Output::PortClosed { port }, fake.now);
    }
    assert_eq!(opened(&mut fake.guest), [IN], "the next command's input is not at its end");
}

#[test]
fn a_reset_loses_what_ran_and_starts_over() {
    let mut fake = Fake::new();
    let key = fake.exec(&spec(&["x"]));
    [IN, OUT, ERR].into_iter().for_each(|port| fake.opens(port));
    fake.events();
    fake.closed = (0..25).map(PortId).collect();
    fake.guest.reset();
    fake.settle();
    let lost = GuestEvent::Lost { key, error: AgentError::Gone };
    assert_eq!(fake.events(), [GuestEvent::Down, lost]);
    assert!(fake.closed.is_empty());
    fake.opens(AGENT);
    assert_eq!(fake.events(), [GuestEvent::Up]);
    fake.exec(&spec(&["x"]));
}
