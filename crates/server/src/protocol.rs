//! What a page and the server say to each other over `/api/machines/ID/live`, a machine's WebSocket.
//!
//! Text frames are JSON, one message each; binary frames carry terminal bytes and keystrokes. The
//! page speaks first, with [`ClientMessage::Join`]; the server answers with
//! [`ServerMessage::Welcome`]. Owns the messages and their limits, and does no I/O.
//! `web/src/lib/protocol.ts` mirrors this file; tests on both sides read `web/tests/protocol.json`,
//! so neither can change alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::rights::{Right, Role};

/// Version of this protocol, in [`ClientMessage::Join`] and [`ServerMessage::Welcome`]; a page of
/// another version reloads.
pub const VERSION: u32 = 2;
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
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PersonId(pub u32);

/// The number that a page gives a keystroke: 1, 2, 3 …, never used twice by one page.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct InputNumber(pub u64);

/// What the machine is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, utoipa::ToSchema)]
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

/// Who may type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyboardMode {
    /// Open while at most two may type, passed from the third on.
    #[default]
    Auto,
    /// Everybody who may type types.
    Open,
    /// One at a time.
    Passed,
}

/// The keyboard of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Keyboard {
    /// As the owner has chosen.
    pub mode: KeyboardMode,
    /// Whether it goes from hand to hand now; else everybody with the right types.
    pub passed: bool,
    /// Who has it, where it is passed.
    pub holder: Option<PersonId>,
    /// Who has asked for it, the first first.
    pub waiting: Vec<PersonId>,
    /// Nobody but the owner types.
    pub locked: bool,
}

/// Somebody who is here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Person {
    /// Who.
    pub id: PersonId,
    /// What they are called; plain text.
    pub name: String,
    /// Their colour, one of eight.
    pub hue: u8,
    /// What they are.
    pub role: Role,
    /// Milliseconds that their page's line takes to the server and back.
    pub lag_ms: Option<u32>,
    /// Their page is not in sight.
    pub away: bool,
    /// They cannot write in the chat.
    pub muted: bool,
}

/// Something said beside the machine, or something that happened to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Said {
    /// Counts up within a machine.
    pub id: u64,
    /// Who, as they were called then; empty for what just happened.
    pub name: String,
    /// Their colour.
    pub hue: u8,
    /// Plain text.
    pub text: String,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The machine's instant then, in nanoseconds since it was switched on.
    pub instant_ns: Option<u64>,
}

/// A terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsoleInfo {
    /// `console`, `hvc1`, `kernel log`.
    pub name: String,
    /// Whether a page may type there.
    pub typable: bool,
}

/// The first message of the server.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
        console: ConsoleIndex,
        /// Who, if they are here.
        person: Option<PersonId>,
        /// What they are called (a person at the command line is not here).
        name: String,
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
    /// This browser is not signed in to see this machine.
    NotAdmitted,
    /// The server is ending; it may come back.
    Closing,
}

/// What a page sends as text. Keystrokes are binary frames.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
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
        seen: BTreeMap<ConsoleIndex, u64>,
        /// The last message of the chat that this page has, 0 for none.
        #[serde(default)]
        chat: u64,
    },
    /// Send a terminal from now on, with a picture first.
    Watch {
        /// Which.
        console: ConsoleIndex,
    },
    /// Send a terminal no more.
    Unwatch {
        /// Which.
        console: ConsoleIndex,
    },
    /// The size this page would like a terminal to have.
    Resize {
        /// Which.
        console: ConsoleIndex,
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The page has drawn a terminal up to a position, and can take more.
    Drawn {
        /// Which.
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
    },
    /// Whether somebody looks at this page.
    Away {
        /// Nobody.
        away: bool,
    },
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

/// A binary frame to a page. Byte 0 is what it is, byte 1 the terminal, then the position as 8
/// big-endian bytes: of the first byte since the run began, or the one where output goes on after a
/// picture.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum FrameKind {
    /// Bytes that the terminal wrote.
    Output = 0,
    /// Begin this terminal anew: 2 bytes columns, 2 bytes rows, then bytes that draw lines above the
    /// screen and the screen on an empty terminal of that size.
    Picture = 1,
}

/// Bytes before the terminal bytes in an output frame.
pub const OUTPUT_HEADER_BYTES: usize = 10;
/// Bytes before the terminal bytes in a picture.
pub const PICTURE_HEADER_BYTES: usize = 14;
/// Bytes before the keys in a frame from a page.
pub const INPUT_HEADER_BYTES: usize = 9;

/// A frame of output.
pub fn output_frame(console: ConsoleIndex, position: u64, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() <= OUTPUT_BYTES_MAX);
    let mut frame = Vec::with_capacity(OUTPUT_HEADER_BYTES + bytes.len());
    frame.extend_from_slice(&[FrameKind::Output as u8, console]);
    frame.extend_from_slice(&position.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// A frame with a picture.
pub fn picture_frame(
    console: ConsoleIndex,
    position: u64,
    (columns, rows): (u16, u16),
    bytes: &[u8],
) -> Vec<u8> {
    assert!(bytes.len() <= PICTURE_BYTES_MAX);
    let mut frame = Vec::with_capacity(PICTURE_HEADER_BYTES + bytes.len());
    frame.extend_from_slice(&[FrameKind::Picture as u8, console]);
    frame.extend_from_slice(&position.to_be_bytes());
    frame.extend_from_slice(&columns.to_be_bytes());
    frame.extend_from_slice(&rows.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// What was typed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Keys<'a> {
    /// Where.
    pub console: ConsoleIndex,
    /// Its number.
    pub number: InputNumber,
    /// What.
    pub bytes: &'a [u8],
}

/// Takes a binary frame of a page apart: the terminal, the number (8 bytes, big-endian), the bytes
/// typed, of which there is at least one.
pub fn parse_keys(frame: &[u8]) -> Option<Keys<'_>> {
    let (&console, rest) = frame.split_first()?;
    let (number, bytes) = rest.split_first_chunk::<8>()?;
    let number = InputNumber(u64::from_be_bytes(*number));
    (!bytes.is_empty() && number.0 > 0).then_some(Keys { console, number, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every message of the fixture is understood and written back exactly as it stands there.
    fn check<T: Serialize + serde::de::DeserializeOwned>(messages: &serde_json::Value) -> usize {
        let messages = messages.as_array().expect("a list of messages");
        for message in messages {
            let parsed: T = serde_json::from_value(message.clone())
                .unwrap_or_else(|error| panic!("{message}: {error}"));
            assert_eq!(&serde_json::to_value(&parsed).unwrap(), message);
        }
        messages.len()
    }

    #[test]
    fn the_fixture_shared_with_the_page_is_this_protocol() {
        let fixture: serde_json::Value =
            serde_json::from_str(include_str!("../../../web/tests/protocol.json")).unwrap();
        assert_eq!(fixture["version"], VERSION);
        assert_eq!(fixture["client_message_bytes_max"], CLIENT_MESSAGE_BYTES_MAX);
        assert!(check::<ServerMessage>(&fixture["server"]) >= 15);
        assert!(check::<ClientMessage>(&fixture["client"]) >= 15);
        let frame = output_frame(1, 0x0102_0304_0506_0708, b"hi");
        assert_eq!(fixture["output_frame"], serde_json::json!(frame));
        let frame = picture_frame(0, 7, (80, 24), b"hi");
        assert_eq!(fixture["picture_frame"], serde_json::json!(frame));
        let input: Vec<u8> = serde_json::from_value(fixture["input_frame"].clone()).unwrap();
        let keys = Keys { console: 0, number: InputNumber(258), bytes: b"ls\r" };
        assert_eq!(parse_keys(&input), Some(keys));
    }

    #[test]
    fn frames_without_keys_or_number_are_refused() {
        for frame in [&[][..], &[0][..], &[0, 0, 0, 0, 0, 0, 0, 0, 1][..], &[0; 12][..]] {
            assert_eq!(parse_keys(frame), None, "{frame:?}");
        }
    }
}
