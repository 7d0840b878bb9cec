//! What a page and the server say to each other over `/api/machines/ID/live`, a machine's WebSocket.
//!
//! Text frames are JSON, one message each; binary frames carry terminal bytes and keystrokes. The
//! page speaks first, with [`ClientMessage::Join`]; the server answers with
//! [`ServerMessage::Welcome`]. Owns the messages and their limits, and does no I/O; binary frames
//! are in `frames`.
//! `web/src/lib/protocol.ts` mirrors this file; tests on both sides read `web/tests/protocol.json`,
//! so neither can change alone.

mod frames;
mod people;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::rights::{Right, Role};
pub use frames::{
    FrameKind, INPUT_HEADER_BYTES, Keys, OUTPUT_HEADER_BYTES, PICTURE_HEADER_BYTES, output_frame,
    parse_keys, picture_frame,
};
pub use people::{Keyboard, KeyboardMode, Person, Said};

/// Version of this protocol, in [`ClientMessage::Join`] and [`ServerMessage::Welcome`]; a page of
/// another version reloads.
pub const VERSION: u32 = 3;
/// Longest message a page may send, in bytes.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Most terminal bytes in one frame to a page; a picture of a terminal keeps to
/// [`PICTURE_BYTES_MAX`].
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Most bytes of a picture: what a terminal shows, with the lines above it.
pub const PICTURE_BYTES_MAX: usize = 100 << 10;
/// Most lines above the screen in a picture.
pub const PICTURE_LINES_MAX: u32 = 1000;
/// Smallest and largest terminal a page may ask for, in columns and in rows.
pub const SIZE_RANGE: std::ops::RangeInclusive<u16> = 2..=1000;
/// Longest name of a person, in bytes.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest thing said in the chat, in bytes.
pub const SAID_BYTES_MAX: usize = 2 << 10;
/// Messages of the chat that whoever comes gets.
pub const CHAT_MAX: usize = 200;

/// A terminal of a machine: its place in [`Welcome::consoles`].
pub type ConsoleIndex = u8;

/// A person on a machine, as long as their page is open; pages that the same browser opens are
/// different persons with the same name.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
pub struct PersonId(pub u32);

/// The number that a page gives a keystroke: 1, 2, 3 …, never used twice by one page.
#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Debug,
    Default,
    Serialize,
    Deserialize,
    ToSchema,
)]
#[serde(transparent)]
pub struct InputNumber(pub u64);

/// What the machine is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// Its image or its prompt is being made; tasks say how far that is.
    Preparing,
    /// Its process is being started.
    Starting,
    /// It runs.
    Running,
    /// Its time is held.
    Paused,
    /// It is off.
    Stopped,
    /// It is saved, and goes on where it was when it is started.
    Saved,
    /// It could not be started, or cannot go on; `detail` says why.
    Failed,
}

impl MachineState {
    /// Whether nothing happens in it until it is started.
    pub fn is_off(self) -> bool {
        matches!(self, MachineState::Stopped | MachineState::Saved | MachineState::Failed)
    }
}

/// A terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct ConsoleInfo {
    /// `console`, `hvc1`, `kernel log`.
    pub name: String,
    /// Whether a page may type there.
    pub typable: bool,
}

/// The first message of the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
pub struct Welcome {
    /// [`VERSION`].
    pub version: u32,
    /// Names what positions count from; after a server's restart it is another.
    pub run: String,
    /// The machine's.
    pub machine: String,
    /// What people call it.
    pub name: String,
    /// What it runs, for people.
    pub image: String,
    /// This page's person.
    pub you: PersonId,
    /// What they are.
    pub role: Role,
    /// What they may do.
    pub rights: Vec<Right>,
    /// Terminals, the one to show first.
    pub consoles: Vec<ConsoleInfo>,
    /// The last keystroke of this page that the machine has had.
    pub applied: InputNumber,
    /// The door is locked: nobody new comes in.
    pub door_locked: bool,
}

/// What the server sends as text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message.
    Welcome(Box<Welcome>),
    /// The machine's state.
    State {
        /// The new one.
        state: MachineState,
        /// A line about it for people; may be empty.
        detail: String,
        /// What to do about it, when something is wrong; may be empty.
        action: String,
    },
    /// How far the preparation is. Only the latest matters.
    Progress {
        /// What is being done, in a word or two.
        phase: String,
        /// With what, in a line.
        message: String,
        /// Bytes of this phase that are done.
        done_bytes: u64,
        /// Bytes of this phase, where that is known.
        total_bytes: Option<u64>,
    },
    /// The machine is called something else now.
    Renamed {
        /// What.
        name: String,
    },
    /// A terminal has this size; whoever has another window shows this one in it, never reflowed.
    Size {
        /// Which.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// All keystrokes of this page up to this one are part of the machine's past, or were refused
    /// with a [`ServerMessage::Refused`] of their own: none need be sent again.
    Applied {
        /// The last one.
        number: InputNumber,
    },
    /// A keystroke was not applied, and will not be.
    Refused {
        /// Which.
        number: InputNumber,
        /// Why.
        reason: RefusedKey,
    },
    /// Everybody who is here, in the order they came.
    People {
        /// They.
        people: Vec<Person>,
    },
    /// The keyboard.
    Keyboard(Keyboard),
    /// Who typed last at a terminal, each time that changes.
    Typist {
        /// Which.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
        /// Who, if they are here.
        person: Option<PersonId>,
        /// What they are called (a person at the command line is not here).
        name: String,
    },
    /// Where the person looks whom this page follows, each time that changes.
    Led {
        /// Who.
        person: PersonId,
        /// At which terminal.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
        /// At which instant, in nanoseconds of the machine's time, no earlier than this page may see;
        /// `null` is live.
        at_ns: Option<u64>,
    },
    /// Somebody brings everybody to where they look.
    Brought {
        /// What they are called.
        name: String,
        /// To which terminal.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
        /// To which instant, as in [`ServerMessage::Led`].
        at_ns: Option<u64>,
    },
    /// What has been said lately; the first time, everything this page may know of.
    Chat {
        /// In order.
        said: Vec<Said>,
    },
    /// The door was locked or opened.
    Door {
        /// Whether nobody new comes in.
        locked: bool,
    },
    /// Answers [`ClientMessage::Ping`].
    Pong {
        /// As it came.
        nonce: u32,
    },
    /// Something that happened, for people; shown until they have read it.
    Notice {
        /// A line.
        text: String,
    },
    /// The last message: the connection ends.
    Gone {
        /// Why.
        reason: Gone,
    },
}

/// Why a keystroke was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RefusedKey {
    /// This person's role has no right to type.
    NoRight,
    /// Somebody else has the keyboard.
    NotYours,
    /// The owner has locked the keyboard.
    Locked,
    /// The machine is off.
    Off,
}

/// Why a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Gone {
    /// The link was revoked.
    Revoked,
    /// The link has expired.
    Expired,
    /// The owner put this person out.
    Removed,
    /// The door is locked.
    Locked,
    /// There are too many people.
    Full,
    /// The machine was deleted.
    Deleted,
    /// The visitor's machine took more memory than its link gives.
    OutOfMemory,
    /// This browser is not signed in to see this machine.
    NotAdmitted,
    /// The server is ending; it may come back.
    Closing,
}

/// What a page sends as text. Keystrokes are binary frames.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// The first message.
    Join {
        /// [`VERSION`].
        version: u32,
        /// This page, as long as it is open: at least 64 random bits in hexadecimal. Keystrokes are
        /// numbered within it.
        page: String,
        /// Instead of the cookie, where there are none: in a frame on another site.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        bearer: Option<String>,
        /// The run that `seen` belongs to, if this page was here before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<String>,
        /// The position after the last byte received, by terminal, for those this page watches.
        #[serde(
            default,
            skip_serializing_if = "BTreeMap::is_empty",
            deserialize_with = "by_console"
        )]
        #[schema(value_type = BTreeMap<String, u64>)]
        seen: BTreeMap<ConsoleIndex, u64>,
        /// The last message of the chat that this page has, 0 for none.
        #[serde(default)]
        chat: u64,
    },
    /// Send a terminal from now on, with a picture first.
    Watch {
        /// Which.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
    },
    /// Send a terminal no more.
    Unwatch {
        /// Which.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
    },
    /// The size this page would like a terminal to have.
    Resize {
        /// Which.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The page has drawn a terminal up to a position, and can take more.
    Drawn {
        /// Which.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
        /// The position after the last byte drawn.
        position: u64,
    },
    /// Call me this.
    Rename {
        /// The name.
        name: String,
    },
    /// Say something in the chat.
    Say {
        /// Plain text.
        text: String,
        /// The instant that it is about, in nanoseconds of the machine's time; else the present.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at_ns: Option<u64>,
    },
    /// Whether somebody looks at this page.
    Away {
        /// Nobody.
        away: bool,
    },
    /// This page shows a terminal as it was at an instant; live, without one.
    Look {
        /// Which.
        #[schema(value_type = u8)]
        console: ConsoleIndex,
        /// The instant, in nanoseconds of the machine's time.
        at_ns: Option<u64>,
    },
    /// Tell me where somebody looks, from now on; nobody, without one.
    Follow {
        /// Who.
        person: Option<PersonId>,
    },
    /// Bring everybody to where this page looks: for those who may type.
    Bring,
    /// Answer this; the page measures the line.
    Ping {
        /// Anything.
        nonce: u32,
        /// What the last round took, in milliseconds.
        lag_ms: Option<u32>,
    },
    /// I would like the keyboard.
    AskKeyboard,
    /// I do not need it, or do not want it any more.
    ReleaseKeyboard,
    /// Give it to somebody: for whoever has it, and the owner.
    GiveKeyboard {
        /// To whom.
        to: PersonId,
    },
    /// Take it: for the owner.
    TakeKeyboard,
    /// How the keyboard goes around: for the owner.
    SetKeyboard {
        /// How.
        mode: KeyboardMode,
        /// Nobody but the owner types.
        locked: bool,
    },
    /// Let somebody write in the chat or not: for the owner.
    Mute {
        /// Whom.
        person: PersonId,
        /// Not.
        muted: bool,
    },
    /// Put somebody out, until they are let in by another link: for the owner.
    Remove {
        /// Whom.
        person: PersonId,
    },
    /// Let nobody new in: for the owner.
    LockDoor {
        /// Nobody.
        locked: bool,
    },
}

/// Positions by terminal. JSON has only strings for keys, and a tagged message is read by way of a
/// form that leaves them so.
fn by_console<'de, D>(deserializer: D) -> Result<BTreeMap<ConsoleIndex, u64>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    let by_text = BTreeMap::<String, u64>::deserialize(deserializer)?;
    let by_console = |(console, position): (String, u64)| {
        console.parse().map(|console| (console, position)).map_err(serde::de::Error::custom)
    };
    by_text.into_iter().map(by_console).collect()
}

#[cfg(test)]
mod tests;
