//! A session: this terminal (or these pipes) joined to a terminal of a machine, or to a command
//! that runs in it, until one of the two ends.
//!
//! Owns what happens meanwhile: keys, signals, window sizes, the menu, the wait for the guest to
//! boot. What becomes of the machine afterwards is the commands' business.

mod boot;
mod keys;
mod kinds;
mod link;
mod menu;
pub(crate) mod pipes;
mod signalled;
mod signals;

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, anyhow};
use stackvm_host::lab::flowing;
use stackvm_host::protocol::{
    Agent, Command, DATA_BYTES_MAX, EXEC_CREDIT_BYTES, Event, ExecId, Picture, Reply, State,
    Stream, Tag,
};
use stackvm_machine::ConsoleId;
use tokio::time::{Instant, sleep_until};

use crate::terminal::{self, RawTerminal};
use boot::Boot;
use keys::{Keys, Offers};

pub(crate) use kinds::{End, Menu, Phase, RecordingEnd, Target, Watch};
pub(crate) use link::{Link, Peer, message};
pub(crate) use signals::{Signal, Signals, stop_here};

/// Whether a recording is being kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Capture {
    On,
    Paused,
    Over,
}

/// The number of the only command of a session.
const EXEC: ExecId = ExecId(1);
/// How long a command may take to notice that nobody reads its output.
const BROKEN_PIPE_LIMIT: Duration = Duration::from_secs(2);
/// How long a lab may take to say that it has got everything, when this program detaches.
const DETACH_LIMIT: Duration = Duration::from_secs(2);

/// What the requests are for; their tags.
const TAG_LOG: u32 = 1;
const TAG_TARGET: u32 = 2;
const TAG_POWER: u32 = 3;
const TAG_OTHER: u32 = 4;
const TAG_NOTE: u32 = 5;
const TAG_END: u32 = 6;
const TAG_DETACH: u32 = 7;

/// Joins this terminal to `target` until one of them ends.
pub(crate) async fn run(
    link: Link,
    target: Target,
    watch: Watch,
    menu: Menu,
    signals: &mut Signals,
) -> Result<End> {
    run_with(link, target, watch, menu, signals, &mut pipes::input()).await
}

/// The same, for a program that reads its standard input itself before and after.
pub(crate) async fn run_with(
    link: Link,
    target: Target,
    watch: Watch,
    menu: Menu,
    signals: &mut Signals,
    input: &mut pipes::Input,
) -> Result<End> {
    let Link { hello, mut events, commands } = link;
    let wants_raw = match &target {
        Target::Console(_) => RawTerminal::possible(),
        Target::Exec(spec) => spec.tty.is_some() && RawTerminal::possible(),
    };
    let raw = if wants_raw { Some(RawTerminal::enter()?) } else { None };
    let mut session = Session::new(target, watch, menu, raw);
    session.begin(&hello.state, hello.agent);
    let output = pipes::Output::new();
    let mut ticks = tokio::time::interval(Boot::TICK);

    let end = loop {
        if let Some(end) = session.end.take_if(|_| session.out.is_empty()) {
            break end;
        }
        let (deadline, leaving) = (session.deadline, session.leaving);
        tokio::select! {
            event = events.recv(), if session.out.is_empty() => match event {
                Some(event) => session.event(event),
                None => session.fail(anyhow!("the machine's process has ended unexpectedly")),
            },
            room = output.room(), if !session.out.is_empty() => match (room, session.out.pop_front()) {
                (Some(room), Some(piece)) => room.send(piece),
                _ => session.output_closed(),
            },
            typed = input.recv(), if session.wants_input() => match typed {
                Some(bytes) => session.typed(bytes),
                None => session.input_closed(),
            },
            room = commands.room(), if !session.queue.is_empty() => {
                session.send(room);
            }
            signal = signals.next() => session.signal(signal),
            _ = ticks.tick(), if session.boot.is_waiting() => session.boot.tick(),
            signal = pass(deadline) => session.finish(End::Signal(signal)),
            () = come(leaving) => session.finish(End::Detached),
        }
    };
    session.boot.up();
    output.finish();
    drop(session.raw.take());
    if matches!(end, Ok(End::KernelPanic | End::Stopped { phase: Phase::Booting, .. })) {
        session.boot.show_log();
    }
    end
}

/// Waits for a deadline, if there is one; returns its signal.
async fn pass(deadline: Option<(Instant, Signal)>) -> Signal {
    match deadline {
        Some((at, signal)) => {
            sleep_until(at).await;
            signal
        }
        None => std::future::pending().await,
    }
}

/// Waits for a moment, if there is one.
async fn come(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Session {
    target: Target,
    raw: Option<RawTerminal>,
    boot: Boot,
    follows_log: bool,
    phase: Phase,
    menu: Menu,
    offers: Offers,
    capture: Capture,
    keys: Keys,
    /// Typed or piped in, not yet in the queue.
    typed: Vec<u8>,
    input_open: bool,
    /// Bytes of standard input the command still takes; consoles take everything.
    credit: usize,
    /// Commands on their way to the lab, with their tags.
    queue: VecDeque<(u32, Command)>,
    /// Output on its way to this terminal.
    out: VecDeque<(Stream, Vec<u8>)>,
    out_open: bool,
    agent: Agent,
    power_off_wanted: bool,
    deadline: Option<(Instant, Signal)>,
    /// It detaches, at the latest then.
    leaving: Option<Instant>,
    signals_seen: u32,
    end: Option<Result<End>>,
}

impl Session {
    fn new(target: Target, watch: Watch, menu: Menu, raw: Option<RawTerminal>) -> Session {
        let offers = match menu {
            Menu::Machine => Offers::Machine,
            Menu::Recording { .. } => Offers::Recording,
            Menu::Branch { .. } => Offers::Branch,
        };
        let credit = match target {
            Target::Console(_) => usize::MAX,
            Target::Exec(_) => EXEC_CREDIT_BYTES,
        };
        let hint = if raw.is_some() { "Ctrl-] opens a menu" } else { "" };
        let (boot, follows_log) = match watch {
            Watch::Boot(name) => (Boot::new(&name, hint), true),
            Watch::Nothing => (Boot::silent(), false),
        };
        // Whatever talks on the serial line is up from its first instruction.
        let phase = match target {
            Target::Console(ConsoleId::Serial) => Phase::Up,
            _ => Phase::Booting,
        };
        Session {
            target,
            raw,
            boot,
            follows_log,
            phase,
            menu,
            offers,
            capture: Capture::On,
            keys: Keys::new(offers),
            typed: Vec::new(),
            input_open: true,
            credit,
            queue: VecDeque::new(),
            out: VecDeque::new(),
            out_open: true,
            agent: Agent::Absent,
            power_off_wanted: false,
            deadline: None,
            leaving: None,
            signals_seen: 0,
            end: None,
        }
    }

    /// The first requests.
    fn begin(&mut self, state: &State, agent: Agent) {
        self.queue.push_back((TAG_OTHER, Command::Name { name: crate::people::user() }));
        if self.follows_log {
            let console = ConsoleId::Serial;
            self.queue.push_back((TAG_LOG, Command::Attach { console }));
        }
        match &self.target {
            Target::Console(console) => {
                let console = *console;
                self.queue.push_back((TAG_TARGET, Command::Attach { console }));
                self.resize();
            }
            Target::Exec(spec) => {
                let command = Command::Exec { exec: EXEC, spec: spec.clone() };
                self.queue.push_back((TAG_TARGET, command));
            }
        }
        self.agent(agent);
        self.state(state.clone());
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Hello(_) | Event::Resized { .. } | Event::Typed { .. } => {}
            Event::Reply { tag: Tag(tag), reply } => self.reply(tag, reply),
            Event::State(state) => self.state(state),
            Event::Agent(agent) => self.agent(agent),
            Event::Console { console, bytes } => self.console(console, bytes),
            Event::ConsoleLost { bytes, .. } => {
                self.say(&format!("[stackvm] {bytes} bytes of output were skipped here"));
            }
            Event::ExecOutput { stream, bytes, .. } => self.show(stream, bytes),
            Event::ExecCredit { bytes, .. } => {
                self.credit = self.credit.saturating_add(bytes as usize);
                self.pump();
            }
            Event::ExecExit { code, .. } => self.finish(End::Exited(code)),
            Event::ExecLost { message, .. } => {
                self.fail(anyhow!("the command was lost: {message}"));
            }
            Event::Notice { message } => self.say(&format!("[stackvm] {message}")),
        }
    }

    fn reply(&mut self, tag: u32, reply: Reply) {
        match (tag, reply) {
            (TAG_DETACH, _) => self.finish(End::Detached),
            (TAG_TARGET, Reply::Failed { message }) => self.fail(anyhow!(message)),
            (TAG_TARGET, Reply::Done) => self.up(),
            (TAG_TARGET, Reply::Attached { picture, .. }) => self.picture(picture),
            (TAG_LOG, Reply::Attached { picture, .. }) => self.log(&flowing(&picture)),
            (TAG_LOG, _) => {}
            (TAG_NOTE, Reply::Done) => self.say("[stackvm] noted"),
            (TAG_END, Reply::Done) => self.recorded(),
            (_, Reply::Failed { message }) => self.say(&format!("[stackvm] {message}")),
            _ => {}
        }
    }

    /// What the terminal shows already; nothing is no sign of life.
    fn picture(&mut self, picture: Picture) {
        let drawn = match self.menu {
            // Of a recording's branch it was made for this very terminal.
            Menu::Branch { .. } => picture.screen,
            _ => flowing(&picture),
        };
        if !drawn.is_empty() {
            self.up();
            self.show(Stream::Stdout, drawn);
        }
    }

    fn state(&mut self, state: State) {
        match state {
            State::Starting | State::Running => {}
            State::Paused => self.say("[stackvm] the machine is paused"),
            State::Stalled { reason } => {
                self.say(&format!("[stackvm] the machine waits: {reason}"));
            }
            State::Stopped(reason) => {
                let phase = self.phase;
                self.finish(End::Stopped { reason, phase });
            }
        }
    }

    fn console(&mut self, console: ConsoleId, bytes: Vec<u8>) {
        if matches!(self.target, Target::Console(shown) if shown == console) {
            self.up();
            self.show(Stream::Stdout, bytes);
        } else if console == ConsoleId::Serial {
            self.log(&bytes);
        }
    }

    fn log(&mut self, bytes: &[u8]) {
        if self.boot.serial(bytes) {
            self.finish(End::KernelPanic);
        }
    }

    fn up(&mut self) {
        self.phase = Phase::Up;
        self.boot.up();
    }

    fn show(&mut self, stream: Stream, bytes: Vec<u8>) {
        if let Some(raw) = &mut self.raw {
            raw.note(&bytes);
        }
        if self.out_open {
            self.out.push_back((stream, bytes));
        }
    }

    /// A line of ours between the guest's output.
    fn say(&mut self, text: &str) {
        let text = match self.raw {
            Some(_) => format!("\r\n{}\r\n", text.replace('\n', "\r\n")),
            None => format!("{text}\n"),
        };
        self.boot.erase();
        self.out.push_back((Stream::Stderr, text.into_bytes()));
    }

    fn wants_input(&self) -> bool {
        self.input_open && self.typed.is_empty() && self.queue.is_empty()
    }

    fn typed(&mut self, bytes: Vec<u8>) {
        if self.raw.is_none() {
            self.typed.extend(bytes);
            return self.pump();
        }
        for action in self.keys.read(&bytes) {
            self.act(action);
        }
        self.pump();
    }

    fn agent(&mut self, agent: Agent) {
        self.agent = agent;
        if agent == Agent::Absent {
            return;
        }
        if matches!(self.target, Target::Console(_)) {
            self.up();
        }
        if self.power_off_wanted {
            self.power_off();
        }
    }

    /// Moves what was typed into the queue, as far as the command takes it.
    fn pump(&mut self) {
        while !self.typed.is_empty() && self.credit > 0 {
            let count = self.typed.len().min(self.credit).min(DATA_BYTES_MAX);
            let bytes: Vec<u8> = self.typed.drain(..count).collect();
            let command = match &self.target {
                Target::Console(console) => Command::Type { console: *console, bytes },
                Target::Exec(_) => {
                    self.credit -= count;
                    Command::ExecInput { exec: EXEC, bytes }
                }
            };
            self.queue.push_back((TAG_OTHER, command));
        }
        if !self.input_open && self.typed.is_empty() && matches!(self.target, Target::Exec(_)) {
            self.queue.push_back((TAG_OTHER, Command::ExecEof { exec: EXEC }));
        }
    }

    fn input_closed(&mut self) {
        self.input_open = false;
        if self.raw.is_some() {
            // A terminal in raw mode has no end of file: it has gone away.
            self.finish(End::Detached);
        } else {
            self.pump();
        }
    }

    fn output_closed(&mut self) {
        self.out_open = false;
        self.out.clear();
        match self.target {
            Target::Console(_) => self.finish(End::Signal(Signal::Pipe)),
            // What a local command gets that writes to nobody.
            Target::Exec(_) => {
                self.exec_signal(Signal::Pipe);
                self.give_up_after(BROKEN_PIPE_LIMIT, Signal::Pipe);
            }
        }
    }

    fn send(&mut self, room: Option<tokio::sync::mpsc::Permit<'_, link::Message>>) {
        // No room for ever: the lab is gone, which the end of its events reports.
        if let (Some((tag, command)), Some(room)) = (self.queue.pop_front(), room) {
            room.send(link::message(tag, command));
        }
    }

    fn resize(&mut self) {
        if self.raw.is_none() {
            return;
        }
        let Some(size) = terminal::size() else { return };
        let command = match &self.target {
            Target::Console(console) => Command::Resize { console: *console, size },
            Target::Exec(_) => Command::ExecResize { exec: EXEC, size },
        };
        self.queue.push_back((TAG_OTHER, command));
    }

    /// Leaves the machine to itself, after it has got everything that was typed.
    fn detach(&mut self) {
        match self.target {
            Target::Console(console) if self.leaving.is_none() => {
                // Commands are answered in order.
                self.pump();
                self.queue.push_back((TAG_DETACH, Command::Detach { console }));
                self.leaving = Some(Instant::now() + DETACH_LIMIT);
            }
            Target::Console(_) => {}
            Target::Exec(_) => self.finish(End::Detached),
        }
    }

    fn finish(&mut self, end: End) {
        self.end.get_or_insert(Ok(end));
    }

    fn fail(&mut self, error: anyhow::Error) {
        self.end.get_or_insert(Err(error));
    }
}
