//! Sessions in a real terminal (a pty): the menu, detaching, sizes, and the terminal's restoration
//! whatever happens.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, Command};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::common::{Home, eventually};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

/// How long a guest may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// The menu's key.
pub(crate) const MENU: &str = "\x1d";
/// The end of the prompt of `tiny`.
pub(crate) const PROMPT: &str = "# ";

/// The binary in a terminal of its own.
pub(crate) struct Terminal {
    child: Child,
    keyboard: File,
    slave: OwnedFd,
    screen: Arc<Mutex<Vec<u8>>>,
    before: Termios,
}

impl Terminal {
    pub(crate) fn start(home: &Home, args: &[&str]) -> Terminal {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pty");
        grantpt(&master).expect("grantpt");
        unlockpt(&master).expect("unlockpt");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let slave: OwnedFd = rustix::fs::open(
            &name,
            rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY,
            rustix::fs::Mode::empty(),
        )
        .expect("its slave");
        let before = tcgetattr(&slave).expect("its settings");
        resize(&master, 90, 30);

        let inner = home.command(args);
        // A session of its own, with this terminal in control, so that a resize is signalled.
        let mut command = Command::new("setsid");
        command.arg("--ctty").arg(inner.get_program()).args(inner.get_args());
        for (name, value) in inner.get_envs() {
            if let Some(value) = value {
                command.env(name, value);
            }
        }
        let end = || slave.try_clone().expect("another end");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("setsid");

        let keyboard = File::from(master);
        let screen = Arc::new(Mutex::new(Vec::new()));
        let mut reader = keyboard.try_clone().expect("the same pty");
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            // The end of the terminal is the end of the test.
            while let Ok(count @ 1..) = reader.read(&mut buffer) {
                shown.lock().expect("screen").extend_from_slice(&buffer[..count]);
            }
        });
        Terminal { child, keyboard, slave, screen, before }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.screen.lock().expect("screen")).into_owned()
    }

    /// Waits for text; returns the screen up to its end, and forgets it.
    pub(crate) fn expect(&self, text: &str) -> String {
        let start = Instant::now();
        loop {
            {
                let mut screen = self.screen.lock().expect("screen");
                let found = screen.windows(text.len()).position(|window| window == text.as_bytes());
                if let Some(at) = found {
                    let seen: Vec<u8> = screen.drain(..at + text.len()).collect();
                    return String::from_utf8_lossy(&seen).into_owned();
                }
            }
            assert!(start.elapsed() < ANSWER_LIMIT, "no {text:?} in {:?}", self.text());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn keys(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("type");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("kill");
    }

    fn is_restored(&self) -> bool {
        let now = tcgetattr(&self.slave).expect("settings");
        (now.input_modes, now.output_modes, now.local_modes, now.control_modes)
            == (
                self.before.input_modes,
                self.before.output_modes,
                self.before.local_modes,
                self.before.control_modes,
            )
    }

    /// Waits for the end; the terminal must be as it was.
    pub(crate) fn ends_with(mut self, code: i32) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                break status;
            }
            if start.elapsed() > ANSWER_LIMIT {
                self.child.kill().expect("kill");
                panic!("still running: {:?}", self.text());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        assert_eq!(status.code(), Some(code), "{:?}", self.text());
        assert!(self.is_restored(), "the terminal was left in raw mode");
    }
}

fn resize(terminal: impl std::os::fd::AsFd, columns: u16, rows: u16) {
    let size = Winsize { ws_col: columns, ws_row: rows, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("resize");
}

/// The machines that `ls --json` shows: name, state, process id.
fn machines(home: &Home) -> Vec<(String, String, i32)> {
    let ran = home.run(&["ls", "--json"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let rows: serde_json::Value = serde_json::from_str(&ran.out).expect("JSON");
    let text = |row: &serde_json::Value, key: &str| row[key].as_str().unwrap_or("").to_owned();
    rows.as_array()
        .expect("a list")
        .iter()
        .map(|row| (text(row, "name"), text(row, "state"), row["pid"].as_i64().unwrap_or(0) as i32))
        .collect()
}

#[test]
fn the_menu_helps_and_switches_off() {
    let home = Home::with_tiny();
    let mut terminal = Terminal::start(&home, &["run", "tiny"]);
    terminal.expect(PROMPT);
    assert!(!terminal.is_restored(), "not in raw mode");
    terminal.keys("echo $((6*7))\r");
    terminal.expect("\n42");
    terminal.expect(PROMPT);
    terminal.keys(MENU);
    terminal.expect("d detach");
    terminal.keys("h");
    terminal.expect("stackvm attach");
    terminal.keys(MENU);
    terminal.expect("p power off");
    terminal.keys("p");
    terminal.ends_with(0);
    assert!(machines(&home).is_empty(), "an ephemeral machine was kept");
}

#[test]
fn a_detached_machine_is_listed_and_goes_on() {
    let home = Home::with_tiny();
    let mut terminal = Terminal::start(&home, &["run", "tiny"]);
    terminal.expect(PROMPT);
    terminal.keys("kept=yes\r");
    terminal.expect(PROMPT);
    terminal.keys("\x1dd");
    terminal.expect("stackvm attach");
    terminal.ends_with(0);

    let listed = machines(&home);
    assert_eq!(listed.len(), 1, "{listed:?}");
    let (name, state, _) = &listed[0];
    assert_eq!(state, "running");

    let mut terminal = Terminal::start(&home, &["attach", name]);
    terminal.keys("echo kept=$kept.\r");
    terminal.expect("kept=yes.");
    terminal.keys("\x1dk");
    terminal.ends_with(0);
    eventually("the machine is gone", || machines(&home).is_empty());
}

#[test]
fn the_guest_knows_the_size_of_the_window() {
    let home = Home::with_tiny();
    let mut terminal = Terminal::start(&home, &["run", "tiny"]);
    terminal.expect(PROMPT);
    terminal.keys("stty size\r");
    terminal.expect("\n30 90");
    terminal.expect(PROMPT);
    resize(&terminal.keyboard, 123, 45);
    // The signal and the guest's interrupt take a moment that nobody announces.
    eventually("the new size", || {
        terminal.keys("stty size\r");
        terminal.expect("\n");
        terminal.expect(PROMPT).contains("45 123")
    });
    terminal.keys("\x1dk");
    terminal.ends_with(0);
}

/// Wherever a program runs on a terminal of the guest's: at its prompt, or as a command.
#[test]
fn keys_interrupt_what_runs_in_the_guest() {
    let home = Home::with_tiny();
    let begun = "echo begun; exec sleep 1000";
    let check = |args: &[&str], keys: &str, code: i32| {
        let mut terminal = Terminal::start(&home, args);
        terminal.expect("\nbegun");
        terminal.keys(keys);
        terminal.ends_with(code);
    };
    assert_eq!(home.run(&["run", "tiny", "--name", "box", "--detach"]).code, Some(0));
    // 128 and the number of the signal: SIGINT, SIGQUIT.
    for (key, code) in [("\x03", 130), ("\x1c", 131)] {
        check(&["exec", "-t", "box", "--", "sh", "-c", &format!("echo; {begun}")], key, code);
    }
    let mut terminal = Terminal::start(&home, &["run", "tiny"]);
    terminal.expect(PROMPT);
    terminal.keys(&format!("sh -c '{begun}'\r"));
    terminal.expect("\nbegun");
    terminal.keys("\x03");
    terminal.expect(PROMPT);
    terminal.keys("echo code $?\r");
    terminal.expect("code 130");
    terminal.keys("\x1dk");
    terminal.ends_with(0);
    check(&["run", "-t", "tiny", "--", "sh", "-c", &format!("echo; {begun}")], "\x03", 130);
}

#[test]
fn the_terminal_survives_the_end_of_everything_else() {
    let home = Home::with_tiny();
    let terminal = Terminal::start(&home, &["run", "tiny"]);
    terminal.expect(PROMPT);
    let (_, _, lab) = machines(&home).remove(0);
    kill_process(Pid::from_raw(lab).expect("a process"), Signal::KILL).expect("kill");
    terminal.expect("error");
    terminal.ends_with(1);

    let terminal = Terminal::start(&home, &["run", "tiny"]);
    terminal.expect(PROMPT);
    terminal.signal(Signal::TERM);
    terminal.ends_with(143);
    eventually("no machine is left", || machines(&home).is_empty());
}

#[test]
fn stopping_the_program_gives_the_terminal_back_for_a_while() {
    let home = Home::with_tiny();
    let mut terminal = Terminal::start(&home, &["run", "tiny"]);
    terminal.expect(PROMPT);
    terminal.signal(Signal::TSTP);
    eventually("restored while stopped", || terminal.is_restored());
    terminal.signal(Signal::CONT);
    eventually("raw again", || !terminal.is_restored());
    terminal.keys("echo $((5*5))\r");
    terminal.expect("\n25");
    terminal.keys("\x1dk");
    terminal.ends_with(0);
}

#[test]
fn a_command_can_have_a_terminal() {
    let home = Home::with_tiny();
    let mut terminal =
        Terminal::start(&home, &["run", "-t", "tiny", "--", "sh", "-c", "tty; stty size; cat"]);
    terminal.expect("/dev/hvc");
    terminal.expect("30 90");
    terminal.keys("abc\r");
    // Once echoed by the guest's terminal, once written by cat.
    terminal.expect("abc");
    terminal.expect("abc");
    // Ctrl-C is a key for the guest, which ends the command with its signal.
    terminal.keys("\x03");
    terminal.ends_with(130);
}

#[test]
fn ctrl_c_while_booting_leaves_nothing() {
    let home = Home::with_tiny();
    let terminal = Terminal::start(&home, &["run", "tiny", "--cold", "--", "true"]);
    eventually("a lab", || !machines(&home).is_empty());
    terminal.signal(Signal::INT);
    terminal.ends_with(130);
    assert_eq!(home.names_in("machines"), [""; 0]);
}
