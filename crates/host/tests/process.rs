//! Labs in processes of their own, with a bare-metal guest: registry, socket, power, saved state.
//!
//! The registry starts labs by running the current program with `lab FOLDER`, so this test is a
//! program without the usual harness.

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use libtest_mimic::{Arguments, Trial};
use stackvm_host::client::{ClientError, Connection};
use stackvm_host::lab::flowing;
use stackvm_host::machines::{FirmwareSpec, Lifetime, MachineSpec, Machines, Source, Status};
use stackvm_host::machines::{StopHow, Stopped};
use stackvm_host::protocol::{Agent, Command, Event, ExecId, ExecSpec, Power, Reply};
use stackvm_host::protocol::{State, Stdin, StopReason};
use stackvm_host::sandbox::Sandbox;
use stackvm_host::{lab_main, replay_main};
use stackvm_machine::ConsoleId;

use echo::kernel;

#[path = "process/echo.rs"]
mod echo;
#[path = "process/forks.rs"]
mod forks;
#[path = "process/moments.rs"]
mod moments;
#[path = "process/recordings.rs"]
mod recordings;
#[path = "process/sandbox.rs"]
mod sandbox;
#[path = "process/terminals.rs"]
mod terminals;

/// A test gets an empty data directory.
type Test = fn(&Path);

const TESTS: [(&str, Test); 29] = [
    ("a_terminal_echoes_for_everybody", a_terminal_echoes_for_everybody),
    ("codes_arrive_and_ephemeral_machines_vanish", codes_arrive_and_ephemeral_machines_vanish),
    ("a_guest_can_reset_its_machine", a_guest_can_reset_its_machine),
    ("time_is_held_and_goes_on", time_is_held_and_goes_on),
    ("named_machines_are_saved_and_go_on", named_machines_are_saved_and_go_on),
    ("what_cannot_start_says_why_and_leaves_nothing", what_cannot_start_says_why),
    ("what_needs_an_agent_is_refused", what_needs_an_agent_is_refused),
    ("a_killed_lab_is_swept_up", a_killed_lab_is_swept_up),
    ("killed_named_machines_lose_nothing", recordings::killed_named_machines_lose_nothing),
    ("a_running_machine_is_recorded", recordings::a_running_machine_is_recorded),
    ("a_recording_goes_on_after_a_crash", recordings::a_recording_goes_on_after_a_crash),
    ("what_is_not_to_be_kept_is_folded", recordings::what_is_not_to_be_kept_is_folded),
    ("a_full_disk_holds_the_machine", recordings::a_full_disk_holds_the_machine),
    ("exact_twins_have_the_same_future", forks::exact_twins_have_the_same_future),
    ("a_twin_outlives_its_original", forks::a_twin_outlives_its_original),
    ("a_twin_cannot_write_what_it_shares", forks::a_twin_cannot_write_what_it_shares),
    ("what_cannot_be_forked_says_why", forks::what_cannot_be_forked_says_why),
    ("a_hijacked_lab_reaches_nothing", sandbox::a_hijacked_lab_reaches_nothing),
    ("labs_are_locked_in", sandbox::labs_are_locked_in),
    ("a_kernel_without_sandboxes_is_named", sandbox::a_kernel_without_sandboxes_is_named),
    ("a_forged_journal_is_refused", sandbox::a_forged_journal_is_refused),
    ("a_query_has_one_answer", terminals::a_query_has_one_answer),
    ("numbered_inputs_are_typed_once", terminals::numbered_inputs_are_typed_once),
    ("a_killed_lab_types_each_key_once", terminals::a_killed_lab_types_each_key_once),
    ("a_restart_keeps_what_was_shown", terminals::a_restart_keeps_what_was_shown),
    ("terminals_are_looked_at", terminals::terminals_are_looked_at),
    ("a_machine_goes_on_from_a_marker", moments::a_machine_goes_on_from_a_marker),
    ("instants_are_computed_exactly", moments::instants_are_computed_exactly),
    ("labels_change_while_it_runs", moments::labels_change_while_it_runs),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["lab", folder] => return lab_main(Path::new(folder), Sandbox::On),
        ["lab", "--replays", folder] => return replay_main(Path::new(folder), Sandbox::On),
        ["lab", "--no-sandbox", folder] => return lab_main(Path::new(folder), Sandbox::Off),
        ["lacking", what, data] => return sandbox::lacking(what, Path::new(data)),
        ["hijacked", inside, attempt, ref folders @ ..] => {
            return sandbox::hijacked(inside, attempt, folders);
        }
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // Some change what the whole process may do.
    arguments.test_threads = Some(1);
    let trials = TESTS.map(|(name, test)| {
        Trial::test(name, move || {
            let data = tempfile::tempdir().unwrap();
            test(data.path());
            Ok(())
        })
    });
    libtest_mimic::run(&arguments, trials.into()).exit_code()
}

/// The machines of a test; none outlives it, also when it fails.
struct Labs(Machines);

impl std::ops::Deref for Labs {
    type Target = Machines;

    fn deref(&self) -> &Machines {
        &self.0
    }
}

impl Drop for Labs {
    fn drop(&mut self) {
        for machine in self.0.list().unwrap_or_default() {
            // Most have ended by themselves.
            let _ = self.0.stop(&machine.spec.name, StopHow::Kill);
        }
    }
}

fn start(data: &Path, name: &str, lifetime: Lifetime) -> Labs {
    start_spec(data, MachineSpec { lifetime, ..MachineSpec::new(name, kernel(data)) })
}

fn start_spec(data: &Path, spec: MachineSpec) -> Labs {
    let machines = Labs(Machines::open(data).unwrap());
    machines.create(&MachineSpec { memory_bytes: Some(4 << 20), ..spec }).unwrap();
    machines
}

/// Connects and attaches to the serial line; returns what it shows.
fn attach(machines: &Labs, name: &str) -> (Connection, Vec<u8>) {
    let mut lab = machines.connect(name).unwrap();
    match lab.call(Command::Attach { console: ConsoleId::Serial }).unwrap() {
        Reply::Attached { picture, .. } => (lab, flowing(&picture)),
        other => panic!("{other:?}"),
    }
}

fn press(lab: &mut Connection, keys: &[u8]) {
    let bytes = keys.to_vec();
    lab.send(Command::Type { console: ConsoleId::Serial, bytes }).unwrap();
}

/// The next event that `wanted` makes something of.
fn wait<T>(lab: &mut Connection, wanted: impl Fn(Event) -> Option<T>) -> T {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let event = lab.recv_timeout(left).unwrap().expect("nothing happened for 30 seconds");
        if let Some(found) = wanted(event) {
            return found;
        }
    }
}

/// Waits until the terminal has shown the letters of `text` in addition to `shown`.
fn read(lab: &mut Connection, mut shown: Vec<u8>, text: &str) {
    while !letters(&shown).ends_with(&letters(text.as_bytes())) {
        shown.extend(wait(lab, |event| match event {
            Event::Console { bytes, .. } => Some(bytes),
            _ => None,
        }));
    }
}

/// The letters that a terminal shows when it is drawn by these bytes.
fn letters(drawn: &[u8]) -> String {
    let (mut letters, mut sequence) = (String::new(), false);
    for &byte in drawn {
        match byte {
            0x1b => sequence = true,
            b'[' if sequence => {}
            b'a'..=b'z' | b'A'..=b'Z' if sequence => sequence = false,
            b'a'..=b'z' if !sequence => letters.push(char::from(byte)),
            _ => {}
        }
    }
    letters
}

fn kill(machines: &Labs, name: &str) {
    let pid = machines.info(name).unwrap().pid;
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_until("still running", || {
        machines.get(name).is_ok_and(|machine| machine.status != Status::Running)
    });
}

fn stop_reason(lab: &mut Connection) -> StopReason {
    wait(lab, |event| match event {
        Event::State(State::Stopped(reason)) => Some(reason),
        _ => None,
    })
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn a_terminal_echoes_for_everybody(data: &Path) {
    let machines = start(data, "echo", Lifetime::Ephemeral);
    let (mut first, shown) = attach(&machines, "echo");
    assert_eq!(first.hello().name, "echo");
    assert_eq!(first.hello().consoles, [ConsoleId::Serial]);
    read(&mut first, shown, "ok\n");
    let (mut second, shown) = attach(&machines, "echo");
    read(&mut second, shown, "ok\n");
    press(&mut second, b"hi");
    read(&mut first, Vec::new(), "hi");
    read(&mut second, Vec::new(), "hi");
    let (_third, shown) = attach(&machines, "echo");
    // A line's end alone does not go back to its beginning.
    assert_eq!(String::from_utf8(shown).unwrap(), "ok\r\n  hi");
    let info = machines.info("echo").unwrap();
    assert_eq!((info.image.as_str(), info.memory_bytes, info.harts), ("echo.elf", 4 << 20, 1));
    assert!(info.instructions > 0 && info.clients == 4);
    assert_eq!(machines.list().unwrap()[0].status, Status::Running);
}

fn codes_arrive_and_ephemeral_machines_vanish(data: &Path) {
    for (key, code) in [(b"q", 0), (b"f", 3)] {
        let machines = start(data, "echo", Lifetime::Ephemeral);
        let (mut lab, _) = attach(&machines, "echo");
        press(&mut lab, key);
        assert_eq!(stop_reason(&mut lab), StopReason::PowerOff { code });
        assert!(matches!(lab.recv(), Err(ClientError::Closed)));
        wait_until("the machine is still there", || machines.list().unwrap().is_empty());
        assert!(!data.join("machines/echo").exists());
    }
}

fn a_guest_can_reset_its_machine(data: &Path) {
    let machines = start(data, "echo", Lifetime::Ephemeral);
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    press(&mut lab, b"r");
    read(&mut lab, Vec::new(), "ok\n");
    lab.call(Command::Power(Power::Reset)).unwrap();
    read(&mut lab, Vec::new(), "ok\n");
}

fn time_is_held_and_goes_on(data: &Path) {
    let machines = start(data, "echo", Lifetime::Ephemeral);
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    let instant = |lab: &mut Connection| match lab.call(Command::Info).unwrap() {
        Reply::Info(info) => (info.instant_ticks, info.state),
        other => panic!("{other:?}"),
    };
    lab.call(Command::Power(Power::Pause)).unwrap();
    let held = instant(&mut lab);
    assert_eq!(held.1, State::Paused);
    std::thread::sleep(Duration::from_millis(50));
    press(&mut lab, b"x");
    assert_eq!(instant(&mut lab), held);
    lab.call(Command::Power(Power::Resume)).unwrap();
    read(&mut lab, Vec::new(), "x");
    // Time follows the wall clock, and what was held is not made up for.
    let (before, wall) = (instant(&mut lab).0, Instant::now());
    std::thread::sleep(Duration::from_millis(500));
    let passed = (instant(&mut lab).0 - before) / 16;
    let wall = wall.elapsed().as_nanos() as u64;
    assert!(passed > wall / 4 && passed < wall * 4, "{passed} ns in {wall} ns");
}

fn named_machines_are_saved_and_go_on(data: &Path) {
    let machines = start(data, "echo", Lifetime::Named);
    let status = || machines.get("echo").unwrap().status;
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    let digest = |lab: &mut Connection| match lab.call(Command::Digest).unwrap() {
        Reply::Digest { digest, .. } => digest,
        other => panic!("{other:?}"),
    };
    lab.call(Command::Power(Power::Pause)).unwrap();
    assert_eq!(digest(&mut lab).len(), 64);
    assert_eq!(machines.stop("echo", StopHow::Save).unwrap(), Stopped::Clean);
    assert_eq!(stop_reason(&mut lab), StopReason::Saved);
    assert_eq!(status(), Status::Saved);

    // It goes on: its terminal shows what it showed, and there is no second `ok`.
    machines.start("echo").unwrap();
    let (mut lab, shown) = attach(&machines, "echo");
    assert_eq!(letters(&shown), "ok");
    press(&mut lab, b"y");
    read(&mut lab, Vec::new(), "y");

    // A signal saves it as well.
    let pid = machines.info("echo").unwrap().pid;
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(stop_reason(&mut lab), StopReason::Saved);
    wait_until("not saved", || status() == Status::Saved);

    // Switched off, it starts anew.
    machines.start("echo").unwrap();
    let (mut lab, _) = attach(&machines, "echo");
    press(&mut lab, b"q");
    assert_eq!(stop_reason(&mut lab), StopReason::PowerOff { code: 0 });
    wait_until("not off", || status() == Status::Off);
    machines.start("echo").unwrap();
    let (mut lab, shown) = attach(&machines, "echo");
    read(&mut lab, shown, "ok\n");
    machines.stop("echo", StopHow::Kill).unwrap();

    for file in std::fs::read_dir(data.join("machines/echo/journal")).unwrap() {
        std::fs::write(file.unwrap().path(), "rubbish").unwrap();
    }
    let error = machines.start("echo").unwrap_err().to_string();
    assert!(error.contains("journal"), "{error}");
    machines.remove("echo").unwrap();
}

fn what_cannot_start_says_why(data: &Path) {
    let machines = Labs(Machines::open(data).unwrap());
    let check = |spec: MachineSpec, part: &str| {
        let error = machines.create(&spec).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
        assert!(!data.join("machines").join(&spec.name).exists());
    };
    let good = kernel(data);
    let text = data.join("text");
    std::fs::write(&text, "not a kernel").unwrap();
    let files = |kernel: &Path| Source::Files {
        kernel: Some(kernel.to_owned()),
        initrd: None,
        append: String::new(),
        firmware: FirmwareSpec::Auto,
    };
    check(MachineSpec::new("x", files(Path::new("/no/kernel"))), "/no/kernel");
    check(MachineSpec::new("x", files(&text)), "text");
    check(MachineSpec::new("x", Source::Image { name: "tinny".into(), hash: None }), "tinny");
    check(MachineSpec { harts: 99, ..MachineSpec::new("x", good.clone()) }, "99");
    check(MachineSpec { memory_bytes: Some(1), ..MachineSpec::new("x", good.clone()) }, "memory");
    check(MachineSpec::new("../x", good), "name");
}

fn what_needs_an_agent_is_refused(data: &Path) {
    let machines = start(data, "echo", Lifetime::Ephemeral);
    let mut lab = machines.connect("echo").unwrap();
    assert_eq!(lab.hello().agent, Agent::Absent);
    let spec =
        ExecSpec { argv: vec!["true".into()], env: Vec::new(), tty: None, stdin: Stdin::Null };
    let mut check = |command: Command, part: &str| match lab.call(command) {
        Err(ClientError::Refused(message)) => assert!(message.contains(part), "{message}"),
        other => panic!("{other:?}"),
    };
    check(Command::Exec { exec: ExecId(1), spec }, "without an agent");
    check(Command::Power(Power::Shutdown), "agent");
    check(Command::SetTime { unix_ns: None }, "agent");
    check(Command::Attach { console: ConsoleId::Hvc(0) }, "no terminal");
    check(Command::Save { after: stackvm_host::protocol::AfterSave::Stop }, "--name");
    let stopped = machines.stop("echo", StopHow::Shutdown { patience: Duration::from_secs(9) });
    match stopped.unwrap() {
        Stopped::Forced { reason } => assert!(reason.contains("agent"), "{reason}"),
        Stopped::Clean => panic!("a guest without an agent was asked to switch off"),
    }
}

fn a_killed_lab_is_swept_up(data: &Path) {
    let machines = start(data, "echo", Lifetime::Ephemeral);
    let pid = machines.info("echo").unwrap().pid;
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    wait_until("still listed", || machines.list().unwrap().is_empty());
    assert!(!data.join("machines/echo").exists());
}
