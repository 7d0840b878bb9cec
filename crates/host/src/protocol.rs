//! The control protocol between a lab's process and whoever uses the lab, over a Unix socket.
//!
//! A frame is a 4-byte big-endian length and that many bytes of postcard. The lab speaks first,
//! with [`Event::Hello`]; from then on the client sends [`Request`]s and the lab sends [`Event`]s.
//! This module owns the messages and their limits, and `framing` how they become bytes ([`encode`],
//! [`Decoder`]); neither does I/O, and so both serve blocking and asynchronous users alike. Sockets
//! are `client`'s and `process`'s.
//!
//! A client that reads slowly never holds up a terminal: when its buffer in the lab is full it
//! loses terminal output and is told so ([`Event::ConsoleLost`]). Output of a command is never
//! lost; while its client's buffer is full, the lab holds the whole machine still.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stackvm_machine::ConsoleId;

mod facts;
mod framing;

pub use facts::{Agent, Info, State, StopReason};
pub use framing::{CodecError, Decoder, decode, encode};

/// Version of the protocol; the two sides must have the same one.
pub const VERSION: u16 = 2;
/// Most bytes in a frame, without its length.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Most bytes of terminal or command data in one message.
pub const DATA_BYTES_MAX: usize = 64 << 10;
/// Bytes of standard input that a client may send for a new command before any
/// [`Event::ExecCredit`].
pub const EXEC_CREDIT_BYTES: usize = 256 << 10;
/// Most lines above its screen that a terminal keeps, and a [`Picture`] has.
pub const HISTORY_LINES_MAX: u32 = stackvm_timeline::limits::HISTORY_LINES_MAX as u32;
/// Most bytes of a [`Picture`]'s lines and screen together; older lines give way.
pub const PICTURE_BYTES_MAX: usize = 100 << 10;
/// Longest name of somebody who types, in bytes.
pub const NAME_BYTES_MAX: usize = 200;
/// Sources of numbered inputs that a lab remembers; of more, the one that was quiet for longest is
/// forgotten.
pub const SOURCES_MAX: usize = 4096;
/// Most arguments and most environment entries of a command, each.
pub const EXEC_ARGUMENTS_MAX: usize = 4096;
/// Most bytes of a command's arguments and environment together.
pub const EXEC_ARGUMENTS_BYTES_MAX: usize = 64 << 10;

/// The number a client gives a request, for recognising the reply.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Tag(pub u32);

/// The number a client gives a command it runs; unique on its connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct ExecId(pub u32);

/// Size of a terminal in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// Where numbered inputs come from: one page of one person.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SourceId(pub [u8; 16]);

/// What a terminal shows, drawn from its screen model: whatever the guest wrote, these are only
/// characters, colours, cursor movements, modes and a window's title.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// The terminal's size.
    pub size: Size,
    /// Lines above the screen, the oldest first, each ended by `\r\n`, with colours.
    pub history: Vec<u8>,
    /// Draws the screen, cursor, modes and title included, below `history` on an empty terminal of this
    /// size; empty if the guest never wrote to it.
    pub screen: Vec<u8>,
    /// The instant at which it was taken, in ticks.
    pub instant_ticks: u64,
}

/// What a client sends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Request {
    /// Comes back in [`Event::Reply`].
    pub tag: Tag,
    /// What is wanted.
    pub command: Command,
}

/// What a client can ask for. Each is answered by exactly one [`Event::Reply`], except
/// [`Command::Type`], [`Command::Resize`], [`Command::ExecInput`], [`Command::ExecEof`],
/// [`Command::ExecResize`] and [`Command::ExecSignal`], which are answered only when they fail.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// Send me this terminal's output from now on; answered by [`Reply::Attached`].
    Attach {
        /// Which terminal.
        console: ConsoleId,
    },
    /// No more of this terminal.
    Detach {
        /// Which terminal.
        console: ConsoleId,
    },
    /// What a terminal shows, for drawing it; answered by [`Reply::Picture`], which stands among the
    /// terminal's output exactly where it was taken.
    Look {
        /// Which terminal.
        console: ConsoleId,
        /// No lines that were written by this instant, in ticks, except those on the screen; 0 is
        /// before everything.
        since_ticks: u64,
        /// At most so many lines above the screen.
        lines_max: u32,
    },
    /// The text of a terminal's screen, for a small picture; answered by [`Reply::Text`].
    Text {
        /// Which terminal.
        console: ConsoleId,
    },
    /// Type at a terminal.
    Type {
        /// Which terminal.
        console: ConsoleId,
        /// At most [`DATA_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// Type at a terminal for somebody, once: a number that is not above the last one of its source
    /// was applied before and is not again. Always answered, when the input is in the machine's
    /// journal, or was before.
    TypeOnce {
        /// Which terminal.
        console: ConsoleId,
        /// At most [`DATA_BYTES_MAX`].
        bytes: Vec<u8>,
        /// Who typed, for recordings; at most [`NAME_BYTES_MAX`].
        name: String,
        /// Whose numbers these are: unguessable, so that nobody uses up another's.
        source: SourceId,
        /// Counts up within the source.
        number: u64,
    },
    /// The last number of a source that was applied; answered by [`Reply::Applied`].
    Applied {
        /// Which.
        source: SourceId,
    },
    /// A terminal has a new size.
    Resize {
        /// Which terminal.
        console: ConsoleId,
        /// The size.
        size: Size,
    },
    /// Run a command in the guest. Waits for the guest to be up. Answered by [`Reply::Done`] when
    /// the guest has started it; then [`Event::ExecOutput`] and at last one [`Event::ExecExit`].
    Exec {
        /// The client's number for it.
        exec: ExecId,
        /// What to run.
        spec: ExecSpec,
    },
    /// Standard input (or, with a terminal, typing) for a command; within its credit.
    ExecInput {
        /// Which command.
        exec: ExecId,
        /// At most [`DATA_BYTES_MAX`].
        bytes: Vec<u8>,
    },
    /// End of standard input.
    ExecEof {
        /// Which command.
        exec: ExecId,
    },
    /// The terminal of a command has a new size.
    ExecResize {
        /// Which command.
        exec: ExecId,
        /// The size.
        size: Size,
    },
    /// Send a signal to a command and its children.
    ExecSignal {
        /// Which command.
        exec: ExecId,
        /// Linux's number for it.
        signal: u8,
    },
    /// Switch, hold or let go.
    Power(Power),
    /// Answered by [`Reply::Info`].
    Info,
    /// Answered by [`Reply::Digest`].
    Digest,
    /// Write the machine to its folder. [`AfterSave::Stop`] ends the lab: the reply comes first.
    Save {
        /// What happens then.
        after: AfterSave,
    },
    /// Who types on this connection, for recordings; until then `someone`.
    Name {
        /// At most 200 bytes.
        name: String,
    },
    /// Record everything that happens to the machine from now on, in a new journal
    /// (`stackvm_timeline::journal`). Answered when its first keyframe is durable.
    Record {
        /// The journal's folder, an absolute path where nothing is.
        journal: PathBuf,
    },
    /// Do something with a recording of this machine.
    Recording {
        /// Its journal.
        journal: PathBuf,
        /// What.
        action: RecordingAction,
    },
    /// Fork the machine into a process of its own. Answered when that has begun; the twin's socket
    /// says when it is up.
    Fork {
        /// The twin's folder, an absolute path, with its spec as `machine.json.new`; the lab
        /// takes its lock and gives the spec its name.
        folder: PathBuf,
        /// Whether it is the same machine or one of its own.
        kind: ForkKind,
    },
    /// Set the guest's clock through its agent.
    SetTime {
        /// Nanoseconds since 1970; `None` is the host's time.
        unix_ns: Option<u64>,
    },
}

/// What a client can do with a recording.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum RecordingAction {
    /// Give this instant a name.
    Mark {
        /// The name.
        name: String,
    },
    /// Say something about this instant.
    Comment {
        /// The text.
        text: String,
    },
    /// Take a keyframe now.
    Keyframe,
    /// Keep nothing from now on.
    Pause,
    /// Keep everything again, from a new keyframe on.
    Resume,
    /// End the recording: answered when the journal is complete and another process may open it.
    End,
    /// Write what terminals showed so far, for others to read.
    Flush,
}

/// What a forked machine is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ForkKind {
    /// The same machine: same future for the same inputs.
    Exact,
    /// A machine of its own: new identity, randomness, addresses, host keys.
    Fresh,
}

/// What [`Command::Save`] does after saving.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum AfterSave {
    /// The machine stops; `start` goes on from the saved state.
    Stop,
    /// The machine goes on running.
    Continue,
}

/// A command to run in the guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExecSpec {
    /// Program and arguments; the program is looked up in the guest's `PATH`.
    pub argv: Vec<String>,
    /// Environment entries to add.
    pub env: Vec<(String, String)>,
    /// Run it on a terminal of this size; standard output and standard error are then one.
    pub tty: Option<Size>,
    /// Where its standard input comes from. With a terminal this says nothing.
    pub stdin: Stdin,
}

/// Where a command's standard input comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Stdin {
    /// `/dev/null`.
    Null,
    /// [`Command::ExecInput`] until [`Command::ExecEof`].
    Stream,
}

/// What to do with the whole machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Power {
    /// Ask the guest to switch off (through its agent). The reply says only that it was asked.
    Shutdown,
    /// As the reset button: the machine starts again with its disks as they are.
    Reset,
    /// Hold virtual time.
    Pause,
    /// Let virtual time go on; after a stall too.
    Resume,
    /// As the plug: the machine stops now.
    Kill,
}

/// What the lab sends.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The first message on every connection. This variant stays first and `version` stays its
    /// first field in all versions.
    Hello(Hello),
    /// Answer to one request.
    Reply {
        /// The request's.
        tag: Tag,
        /// The answer.
        reply: Reply,
    },
    /// The machine's state changed.
    State(State),
    /// The guest's agent came (`exec` works from now on) or went.
    Agent(Agent),
    /// A terminal wrote something.
    Console {
        /// Which terminal.
        console: ConsoleId,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// This client read too slowly, and so many bytes of a terminal's output were dropped here.
    ConsoleLost {
        /// Which terminal.
        console: ConsoleId,
        /// How many.
        bytes: u64,
    },
    /// A terminal has another size now; to those attached to it.
    Resized {
        /// Which terminal.
        console: ConsoleId,
        /// The size.
        size: Size,
    },
    /// Somebody typed at a terminal; to those attached to it, when it is another one than before.
    Typed {
        /// Which terminal.
        console: ConsoleId,
        /// Who.
        name: String,
    },
    /// A command wrote something.
    ExecOutput {
        /// Which command.
        exec: ExecId,
        /// Where to.
        stream: Stream,
        /// What it wrote.
        bytes: Vec<u8>,
    },
    /// The client may send so many more bytes of a command's standard input.
    ExecCredit {
        /// Which command.
        exec: ExecId,
        /// Additional bytes.
        bytes: u32,
    },
    /// A command ended; nothing more comes for this id.
    ExecExit {
        /// Which command.
        exec: ExecId,
        /// Its exit code, or 128 + the number of the signal that ended it.
        code: u8,
    },
    /// A command that had started was lost: the machine was reset or its agent went away.
    ExecLost {
        /// Which command.
        exec: ExecId,
        /// What happened.
        message: String,
    },
    /// Something a person at this machine should read: the network went away, for example.
    Notice {
        /// The text, one line.
        message: String,
    },
}

/// One of a command's output streams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output, or the terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// The first thing a lab says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`] of the lab.
    pub version: u16,
    /// Name of the machine.
    pub name: String,
    /// Its state now.
    pub state: State,
    /// Whether its agent is there now.
    pub agent: Agent,
    /// Its terminals; the first is the one to show.
    pub consoles: Vec<ConsoleId>,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is done (or, for things that take guest time, begun).
    Done,
    /// It is not done.
    Failed {
        /// Why, and what to do about it.
        message: String,
    },
    /// For [`Command::Attach`]: the terminal's output follows.
    Attached {
        /// What the terminal shows, with the lines above it.
        picture: Picture,
        /// Its size, if anyone has set one.
        size: Option<Size>,
    },
    /// For [`Command::Look`].
    Picture(Picture),
    /// For [`Command::Text`].
    Text {
        /// The screen's lines from the top, without the blanks at their ends; no control characters.
        lines: Vec<String>,
        /// Row and column of the cursor, from 0, if it is visible.
        cursor: Option<(u16, u16)>,
    },
    /// For [`Command::Applied`].
    Applied {
        /// The number, 0 if the source is not known.
        number: u64,
    },
    /// For [`Command::Info`].
    Info(Box<Info>),
    /// For [`Command::Digest`].
    Digest {
        /// Ticks (1/16 ns) since switch-on.
        instant_ticks: u64,
        /// The state's digest, in hexadecimal.
        digest: String,
    },
}

#[cfg(test)]
mod tests;
