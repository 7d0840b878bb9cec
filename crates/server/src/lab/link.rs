//! A connection to a lab's control socket, as a [`MachineLink`].

use std::io;
use std::path::Path;

use stackvm_host::protocol::{
    self as lab, Agent, CodecError, Command, DATA_BYTES_MAX, Decoder, Event, Hello, Power, Reply,
    Request, State, StopReason, Tag,
};
use stackvm_machine::ConsoleId;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;

use crate::backend::{Fault, MachineCommand, MachineEvent, MachineLink};
use crate::protocol::{Screen, Size};

/// Tags of requests whose answers matter.
const ATTACH_TERMINAL: Tag = Tag(0);
const ATTACH_LOG: Tag = Tag(1);
const SHUTDOWN: Tag = Tag(2);
const OTHER: Tag = Tag(3);

/// Why there is no link to a lab.
#[derive(Debug, Error)]
pub(super) enum LinkError {
    /// The socket cannot be used.
    #[error("cannot talk to the machine's process: {0}; stop the machine, then start it again")]
    Io(#[from] io::Error),
    /// It says something else.
    #[error("the machine's process is not understood: {0}; stop the machine, then start it again")]
    Codec(#[from] CodecError),
    /// It is of another version.
    #[error(
        "the machine was started by another version of this program; stop it with that version"
    )]
    Version,
}

/// Connects to the lab at `socket`.
pub(super) async fn connect(socket: &Path) -> Result<MachineLink, LinkError> {
    let (read, write) = UnixStream::connect(socket).await?.into_split();
    let mut events = Events { read, decoder: Decoder::new() };
    let hello = match events.next().await? {
        Some(Event::Hello(hello)) if hello.version == lab::VERSION => hello,
        _ => return Err(LinkError::Version),
    };
    let mut requests = Requests { write };
    let screens = Screens::of(&hello);
    requests.send(ATTACH_TERMINAL, Command::Attach { console: screens.terminal }).await?;
    if screens.has_log() {
        requests.send(ATTACH_LOG, Command::Attach { console: ConsoleId::Serial }).await?;
    }
    let (link, event_sender, command_receiver) = MachineLink::pair();
    let carrier = Carrier { screens, events: event_sender };
    // Only the first holds the way back, so that the end of the lab's events is seen as such.
    tokio::spawn(carrier.carry_events(hello, events));
    tokio::spawn(carry_commands(screens, command_receiver, requests));
    Ok(link)
}

struct Events {
    read: OwnedReadHalf,
    decoder: Decoder,
}

impl Events {
    /// The next event, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Event>, LinkError> {
        let mut buffer = vec![0; DATA_BYTES_MAX];
        loop {
            if let Some(event) = self.decoder.next_message()? {
                return Ok(Some(event));
            }
            match self.read.read(&mut buffer).await? {
                0 => return Ok(None),
                count => self.decoder.extend(&buffer[..count]),
            }
        }
    }
}

struct Requests {
    write: OwnedWriteHalf,
}

impl Requests {
    async fn send(&mut self, tag: Tag, command: Command) -> Result<(), LinkError> {
        let mut frame = Vec::new();
        lab::encode(&Request { tag, command }, &mut frame)?;
        Ok(self.write.write_all(&frame).await?)
    }
}

/// Which of a machine's terminals pages show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Screens {
    terminal: ConsoleId,
}

impl Screens {
    fn of(hello: &Hello) -> Screens {
        Screens { terminal: hello.consoles.first().copied().unwrap_or(ConsoleId::Serial) }
    }

    /// Whether the serial line is a screen of its own.
    fn has_log(self) -> bool {
        self.terminal != ConsoleId::Serial
    }

    fn screen(self, console: ConsoleId) -> Option<Screen> {
        match console {
            console if console == self.terminal => Some(Screen::Terminal),
            ConsoleId::Serial => Some(Screen::Log),
            ConsoleId::Hvc(_) => None,
        }
    }

    fn console(self, screen: Screen) -> ConsoleId {
        match screen {
            Screen::Terminal => self.terminal,
            Screen::Log => ConsoleId::Serial,
        }
    }

    fn request(self, command: MachineCommand) -> (Tag, Command) {
        match command {
            MachineCommand::Input { screen, bytes } => {
                (OTHER, Command::Type { console: self.console(screen), bytes })
            }
            MachineCommand::Resize(Size { columns, rows }) => {
                let size = lab::Size { columns, rows };
                (OTHER, Command::Resize { console: self.terminal, size })
            }
            MachineCommand::Shutdown => (SHUTDOWN, Command::Power(Power::Shutdown)),
            MachineCommand::Kill => (OTHER, Command::Power(Power::Kill)),
        }
    }
}

struct Carrier {
    screens: Screens,
    events: mpsc::Sender<MachineEvent>,
}

impl Carrier {
    async fn carry_events(self, hello: Hello, mut events: Events) {
        let mut news = self.translate_state(hello.state);
        if hello.agent == Agent::Up {
            news.push(MachineEvent::Up);
        }
        loop {
            for event in news {
                if self.events.send(event).await.is_err() {
                    return;
                }
            }
            // At an error as at an end nothing more comes; the conductor says so.
            let Ok(Some(event)) = events.next().await else { return };
            news = self.translate(event);
        }
    }

    fn translate(&self, event: Event) -> Vec<MachineEvent> {
        let event = match event {
            Event::Reply { tag, reply: Reply::Attached { picture, .. } } => {
                let screen = if tag == ATTACH_LOG { Screen::Log } else { Screen::Terminal };
                // An empty one is no sign of life.
                (!picture.screen.is_empty()).then(|| MachineEvent::Output {
                    screen,
                    bytes: [picture.history, picture.screen].concat(),
                })
            }
            Event::Console { console, bytes } => {
                self.screens.screen(console).map(|screen| MachineEvent::Output { screen, bytes })
            }
            Event::ConsoleLost { console, .. } => {
                self.screens.screen(console).map(|screen| MachineEvent::OutputLost { screen })
            }
            Event::Notice { message } => Some(MachineEvent::Notice(message)),
            Event::Reply { tag: SHUTDOWN, reply: Reply::Failed { message } } => {
                Some(MachineEvent::Notice(format!("It cannot be asked to switch off: {message}")))
            }
            Event::Agent(Agent::Up) => Some(MachineEvent::Up),
            Event::State(state) => return self.translate_state(state),
            _ => None,
        };
        event.into_iter().collect()
    }

    fn translate_state(&self, state: State) -> Vec<MachineEvent> {
        match state {
            State::Starting => Vec::new(),
            State::Running => vec![MachineEvent::Paused(None)],
            State::Paused => vec![MachineEvent::Paused(Some(String::new()))],
            State::Stalled { reason } => vec![MachineEvent::Paused(Some(reason))],
            State::Stopped(reason) => vec![stopped(reason)],
        }
    }
}

async fn carry_commands(
    screens: Screens,
    mut commands: mpsc::Receiver<MachineCommand>,
    mut requests: Requests,
) {
    while let Some(command) = commands.recv().await {
        let (tag, command) = screens.request(command);
        if requests.send(tag, command).await.is_err() {
            return;
        }
    }
}

fn stopped(reason: StopReason) -> MachineEvent {
    let reason = match reason {
        StopReason::PowerOff { code: 0 } => "the guest switched it off".to_owned(),
        StopReason::PowerOff { code } => format!("the guest switched it off with code {code}"),
        StopReason::Killed => "it was switched off".to_owned(),
        StopReason::Saved => "it is saved, and goes on when started".to_owned(),
        StopReason::Failed { message } => {
            let action = "Press Start to switch it on again.".to_owned();
            return MachineEvent::Failed(Fault { what: message, action });
        }
    };
    MachineEvent::Stopped { reason }
}

#[cfg(test)]
mod tests;
