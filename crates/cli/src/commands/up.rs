//! `stackvm up`: the server, and one machine whose prompt it shows. The server runs at once; the
//! page shows the preparation of the image and then the machine.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command as Process, Stdio};

use anyhow::{Result, anyhow};
use stackvm_host::machines::{Lifetime, MachineSpec, Machines, Source};
use stackvm_host::protocol::{Agent, Command, Event, Power, Reply, Size, State, StopReason, Tag};
use stackvm_images::Cancel;
use stackvm_machine::ConsoleId;
use stackvm_server::backend::{
    Fault, MachineCommand, MachineEvent, MachineLink, Pending, Preparation, Progress, Report,
};
use stackvm_server::protocol::Screen;
use stackvm_server::{Options, Port, Server};
use tokio::sync::mpsc;

use super::{Joined, Owner};
use crate::args::Up;
use crate::failure;
use crate::home;
use crate::session::{End, Link, Signals, message};

/// The machine of `up`, as `ls` shows it.
const MACHINE: &str = "up";
/// What it runs.
const IMAGE: &str = "tiny";
/// The terminal that pages show.
const TERMINAL: ConsoleId = ConsoleId::Hvc(0);
/// Tags of requests whose answers matter.
const TAG_TERMINAL: u32 = 1;
const TAG_LOG: u32 = 2;
const TAG_OTHER: u32 = 3;

/// Serves until a signal ends it. The machine ends with it.
pub(crate) async fn run(args: Up) -> Result<u8> {
    let mut signals = Signals::new()?;
    let home = home::directory()?;
    let port = args.port.map_or(Port::Preferred, Port::Exactly);
    let options = Options { machine: MACHINE.to_owned(), image: "Debian 13 (tiny)".to_owned() };
    let cancel = Cancel::default();
    let preparation = Tiny { home: home.clone(), mirror: args.mirror, cancel: cancel.clone() };
    let running = Server::new(options, preparation).listen(port).await?;
    println!("{}", running.url);
    std::io::stdout().flush()?;
    eprintln!("Open this link in a browser. Ctrl-C here ends the machine.");
    if !args.no_open {
        open_in_browser(&running.url);
    }
    let signal = signals.next_end().await;
    cancel.cancel();
    running.shutdown().await;
    let machines = Machines::open(&home)?;
    let lifetime = Lifetime::Ephemeral;
    Joined { machines, name: MACHINE.to_owned(), lifetime, owner: Owner::Session }
        .conclude(Ok(End::Signal(signal)), &mut signals)
        .await
}

/// Opens a browser where there is a desktop; without one this does nothing.
fn open_in_browser(url: &str) {
    let desktop =
        ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if desktop {
        // The link has been printed: a desktop without a browser is no error.
        let _ = Process::new("xdg-open")
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
    }
}

struct Tiny {
    home: PathBuf,
    mirror: Option<String>,
    cancel: Cancel,
}

impl Preparation for Tiny {
    fn prepare(&self, report: Report) -> Pending<Result<(), Fault>> {
        let options = super::image::options(&self.home, self.mirror.clone());
        let cancel = self.cancel.clone();
        Box::pin(async move {
            let built = tokio::task::spawn_blocking(move || {
                let mut sink = |progress: stackvm_images::Progress| report.progress(show(progress));
                stackvm_images::ensure(IMAGE, &options, &mut sink, &cancel)
            });
            match built.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(fault(&error.into())),
                Err(panic) => Err(fault(&anyhow!("building the image failed: {panic}"))),
            }
        })
    }

    fn connect(&self) -> Pending<Result<MachineLink, Fault>> {
        let home = self.home.clone();
        Box::pin(async move { connect(home).await.map_err(|error| fault(&error)) })
    }
}

fn show(progress: stackvm_images::Progress) -> Progress {
    // The installation counts steps; pages show bytes only where they are bytes.
    let bytes = progress.phase != stackvm_images::Phase::Install;
    Progress {
        phase: progress.phase.label().to_owned(),
        message: progress.message,
        done_bytes: progress.done_bytes.filter(|_| bytes).unwrap_or(0),
        total_bytes: progress.total_bytes.filter(|_| bytes),
    }
}

fn fault(error: &anyhow::Error) -> Fault {
    let (what, action) = failure::split(error);
    let action = action.unwrap_or_else(|| "press Start to try again".to_owned());
    Fault { what, action }
}

async fn connect(home: PathBuf) -> Result<MachineLink> {
    let machines = Machines::open(&home)?;
    // Listing clears away what a killed predecessor has left.
    if !machines.list()?.iter().any(|listed| listed.spec.name == MACHINE) {
        let source = Source::Image { name: IMAGE.to_owned(), hash: None };
        super::create(&machines, MachineSpec::new(MACHINE, source)).await?;
    }
    let link = Link::connect(&machines.socket(MACHINE)).await?;
    let (near, events, commands) = MachineLink::pair();
    tokio::spawn(carry(link, events, commands));
    Ok(near)
}

/// Translates between a lab and the server until one of them ends.
async fn carry(
    mut link: Link,
    events: mpsc::Sender<MachineEvent>,
    mut commands: mpsc::Receiver<MachineCommand>,
) {
    for (tag, console) in [(TAG_LOG, ConsoleId::Serial), (TAG_TERMINAL, TERMINAL)] {
        link.commands.send(message(tag, Command::Attach { console })).await;
    }
    if link.hello.agent == Agent::Up && events.send(MachineEvent::Up).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            event = link.events.recv() => {
                let Some(event) = event else { return };
                if let Some(event) = translate(event)
                    && events.send(event).await.is_err()
                {
                    return;
                }
            }
            command = commands.recv() => {
                let Some(command) = command else { return };
                link.commands.send(message(TAG_OTHER, request(command))).await;
            }
        }
    }
}

fn translate(event: Event) -> Option<MachineEvent> {
    let screen_of = |console| match console {
        TERMINAL => Some(Screen::Terminal),
        ConsoleId::Serial => Some(Screen::Log),
        ConsoleId::Hvc(_) => None,
    };
    Some(match event {
        Event::Reply { tag: Tag(tag), reply: Reply::Attached { scrollback, .. } } => {
            let screen = if tag == TAG_LOG { Screen::Log } else { Screen::Terminal };
            if scrollback.is_empty() {
                return None;
            }
            MachineEvent::Output { screen, bytes: scrollback }
        }
        Event::Console { console, bytes } => {
            MachineEvent::Output { screen: screen_of(console)?, bytes }
        }
        Event::ConsoleLost { console, .. } => {
            MachineEvent::OutputLost { screen: screen_of(console)? }
        }
        Event::Agent(Agent::Up) => MachineEvent::Up,
        Event::State(State::Running) => MachineEvent::Paused(None),
        Event::State(State::Paused) => MachineEvent::Paused(Some("paused".to_owned())),
        Event::State(State::Stalled { reason }) => MachineEvent::Paused(Some(reason)),
        Event::State(State::Stopped(reason)) => stopped(reason),
        _ => return None,
    })
}

fn stopped(reason: StopReason) -> MachineEvent {
    let reason = match reason {
        StopReason::PowerOff { .. } => "the guest switched it off",
        StopReason::Killed => "it was switched off",
        StopReason::Saved => "its state is saved",
        StopReason::Failed { message } => {
            let action = "press Start to start it again".to_owned();
            return MachineEvent::Failed(Fault { what: message, action });
        }
    };
    MachineEvent::Stopped { reason: reason.to_owned() }
}

fn request(command: MachineCommand) -> Command {
    match command {
        MachineCommand::Input { screen, bytes } => {
            let console = match screen {
                Screen::Terminal => TERMINAL,
                Screen::Log => ConsoleId::Serial,
            };
            Command::Type { console, bytes }
        }
        MachineCommand::Resize(size) => {
            let size = Size { columns: size.columns, rows: size.rows };
            Command::Resize { console: TERMINAL, size }
        }
        MachineCommand::Shutdown => Command::Power(Power::Shutdown),
        MachineCommand::Kill => Command::Power(Power::Kill),
    }
}
