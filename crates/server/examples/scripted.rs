//! A server with a machine that plays a part, for the tests of the pages. Orders come as lines on
//! standard input; `web/tests/scripted.js` sends them. Prints the first link, then `ok` per order.
//!
//! `progress PHASE DONE TOTAL [MESSAGE]`, `fail WHAT|ACTION`, `ready` (the preparation is over),
//! `boot` (the machine runs, and says nothing), `prompt`, `output TEXT`, `log TEXT` (with `\n`, `\e`),
//! `flood BYTES`, `stop REASON`, `drop` (all pages lose their connection), `link` (prints another).

use std::sync::{Arc, Mutex};

use stackvm_server::backend::{
    Fault, MachineCommand, MachineEvent, MachineLink, Pending, Preparation, Progress, Report,
};
use stackvm_server::protocol::{Screen, Size};
use stackvm_server::{Options, Port, Server};
use tokio::sync::{mpsc, watch};

const PROMPT: &str = "\x1b[1;32m/ #\x1b[0m ";

#[derive(Clone, Default)]
enum Act {
    #[default]
    Wait,
    Progress(Progress),
    Fail(Fault),
    Ready,
}

#[derive(Clone)]
struct Stage {
    act: watch::Sender<Act>,
    events: Arc<Mutex<Option<mpsc::Sender<MachineEvent>>>>,
}

impl Preparation for Stage {
    fn prepare(&self, report: Report) -> Pending<Result<(), Fault>> {
        let mut act = self.act.subscribe();
        act.mark_changed();
        let sender = self.act.clone();
        Box::pin(async move {
            loop {
                act.changed().await.expect("the stage outlives its acts");
                let now = act.borrow_and_update().clone();
                match now {
                    Act::Wait => {}
                    Act::Progress(progress) => report.progress(progress),
                    Act::Fail(fault) => {
                        // Starting again must wait for a new order.
                        sender.send_replace(Act::Wait);
                        return Err(fault);
                    }
                    Act::Ready => return Ok(()),
                }
            }
        })
    }

    fn connect(&self) -> Pending<Result<MachineLink, Fault>> {
        let (link, events, commands) = MachineLink::pair();
        *self.events.lock().unwrap() = Some(events.clone());
        tokio::spawn(play(events, commands));
        Box::pin(async { Ok(link) })
    }
}

/// A shell that knows `stty size`, `echo` and little else.
async fn play(events: mpsc::Sender<MachineEvent>, mut commands: mpsc::Receiver<MachineCommand>) {
    let (mut line, mut size) = (Vec::new(), Size { columns: 80, rows: 24 });
    while let Some(command) = commands.recv().await {
        match command {
            MachineCommand::Input { screen: Screen::Terminal, bytes } => {
                let mut echo = Vec::new();
                for byte in bytes {
                    match byte {
                        b'\r' => {
                            echo.extend_from_slice(b"\r\n");
                            let words = String::from_utf8_lossy(&line).into_owned();
                            echo.extend_from_slice(answer(&words, size).as_bytes());
                            echo.extend_from_slice(PROMPT.as_bytes());
                            line.clear();
                        }
                        byte => {
                            line.push(byte);
                            echo.push(byte);
                        }
                    }
                }
                let _ = events.send(output(Screen::Terminal, echo)).await;
            }
            MachineCommand::Input { .. } => {}
            MachineCommand::Resize(new) => size = new,
            MachineCommand::Shutdown | MachineCommand::Kill => {
                let reason = "the guest switched it off".to_owned();
                let _ = events.send(MachineEvent::Stopped { reason }).await;
                return;
            }
        }
    }
}

fn answer(line: &str, size: Size) -> String {
    match line.split_once(' ').unwrap_or((line, "")) {
        ("", _) => String::new(),
        ("stty", _) => format!("{} {}\r\n", size.rows, size.columns),
        ("echo", text) => format!("{text}\r\n"),
        ("uname", _) => "Linux tiny 6.12.48+deb13-riscv64 riscv64 GNU/Linux\r\n".to_owned(),
        (word, _) => format!("sh: {word}: not found\r\n"),
    }
}

fn output(screen: Screen, bytes: impl Into<Vec<u8>>) -> MachineEvent {
    MachineEvent::Output { screen, bytes: bytes.into() }
}

fn unescape(text: &str) -> String {
    text.replace("\\n", "\r\n").replace("\\e", "\x1b")
}

impl Stage {
    async fn say(&self, event: MachineEvent) {
        let events = self.events.lock().unwrap().clone();
        events.expect("the machine was not started").send(event).await.expect("it is running");
    }

    async fn order(&self, word: &str, rest: &str) {
        match word {
            "progress" => {
                let mut words = rest.splitn(4, ' ');
                let mut next = || words.next().unwrap_or("").to_owned();
                let (phase, done, total, message) = (next(), next(), next(), next());
                let done_bytes = done.parse().expect("a number of bytes");
                let progress =
                    Progress { phase, message, done_bytes, total_bytes: total.parse().ok() };
                self.act.send_replace(Act::Progress(progress));
            }
            "fail" => {
                let (what, action) = rest.split_once('|').expect("what|action");
                let fault = Fault { what: what.to_owned(), action: action.to_owned() };
                self.act.send_replace(Act::Fail(fault));
            }
            "ready" => {
                self.act.send_replace(Act::Ready);
                while self.events.lock().unwrap().is_none() {
                    tokio::task::yield_now().await;
                }
            }
            "prompt" => self.say(output(Screen::Terminal, PROMPT)).await,
            "output" => self.say(output(Screen::Terminal, unescape(rest))).await,
            "log" => self.say(output(Screen::Log, unescape(rest))).await,
            "flood" => {
                let line = b"0123456789abcdefghijklmnopqrstuvwxyz\r\n";
                let mut left: usize = rest.parse().expect("a number of bytes");
                while left > 0 {
                    let bytes: Vec<u8> =
                        line.iter().copied().cycle().take(left.min(38_000)).collect();
                    left -= bytes.len();
                    self.say(output(Screen::Terminal, bytes)).await;
                }
            }
            "stop" => self.say(MachineEvent::Stopped { reason: rest.to_owned() }).await,
            other => panic!("unknown order {other}"),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stage = Stage { act: watch::channel(Act::Wait).0, events: Arc::default() };
    let options = Options { machine: "tiny".into(), image: "Debian 13".into() };
    let port = match std::env::args().nth(1) {
        Some(port) => Port::Exactly(port.parse()?),
        None => Port::Free,
    };
    let running = Server::new(options, stage.clone()).listen(port).await?;
    println!("{}", running.url);
    let (sender, mut lines) = mpsc::channel(16);
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    while let Some(line) = lines.recv().await {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("drop", _) => running.disconnect_pages(),
            ("link", _) => println!("{}", running.new_link()?),
            (word, rest) => stage.order(word, rest).await,
        }
        println!("ok");
    }
    running.shutdown().await;
    Ok(())
}
