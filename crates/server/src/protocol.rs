//! What the page and the server say to each other over `/api/machine`.
//!
//! Text frames are JSON, one message each; binary frames carry terminal bytes. Owns the messages and
//! their limits, and does no I/O. `web/src/lib/protocol.ts` mirrors this file; tests on both sides
//! read `web/tests/protocol.json`, so neither can change alone.

use serde::{Deserialize, Serialize};

/// Version of this protocol, sent in [`ServerMessage::Hello`]; a page of another version reloads.
pub const VERSION: u32 = 1;
/// Longest message a page may send, in bytes.
pub const CLIENT_MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Most terminal bytes in one frame to a page.
pub const OUTPUT_BYTES_MAX: usize = 64 << 10;
/// Bytes before the terminal bytes in a frame to a page: the screen and the position.
pub const OUTPUT_HEADER_BYTES: usize = 9;
/// Smallest and largest terminal a page may ask for, in columns and in rows.
pub const SIZE_RANGE: std::ops::RangeInclusive<u16> = 2..=1000;

/// One of the two pictures a page has of a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Screen {
    /// The terminal people type at.
    Terminal,
    /// Firmware's and kernel's messages on the serial line.
    Log,
}

impl Screen {
    /// Both, in the order of their numbers.
    pub const ALL: [Screen; 2] = [Screen::Terminal, Screen::Log];

    /// Its number in binary frames and its place in pairs.
    pub fn index(self) -> usize {
        self as usize
    }

    /// The screen with a number.
    pub fn from_index(index: u8) -> Option<Screen> {
        Screen::ALL.get(usize::from(index)).copied()
    }
}

/// Size of a terminal in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Size {
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
}

/// What the machine is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MachineState {
    /// Its image is being made.
    Preparing,
    /// Its process is being started.
    Starting,
    /// It runs, and its terminal has not said anything yet.
    Booting,
    /// Its terminal is in use.
    Running,
    /// Its time is held.
    Paused,
    /// It is off.
    Stopped,
    /// It could not be prepared or started, or cannot go on; an error says why.
    Failed,
}

/// What the server sends as text.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerMessage {
    /// The first message.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// Names what positions count from; after a server's restart it is another.
        run: String,
        /// The machine's name.
        machine: String,
        /// What it runs, for people.
        image: String,
        /// Where each screen's past ends: bytes before these positions were written before this
        /// page came, so the page's terminal must not answer the questions among them.
        live: [u64; 2],
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
    /// The machine's state changed.
    State {
        /// The new one.
        state: MachineState,
        /// A line about it for people; may be empty.
        detail: String,
    },
    /// The machine's terminal has this size; whoever has another window shows this one in it.
    Size {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
        /// Whether this page gave it: whoever typed last does, and answers the terminal's questions.
        yours: bool,
    },
    /// What follows on a screen does not join what was sent before: clear it.
    Gap {
        /// Which one.
        screen: Screen,
    },
    /// Something that happened, for people; shown until they have read it.
    Notice {
        /// A line.
        text: String,
    },
    /// Something went wrong, and stays so until the state changes.
    Error {
        /// What happened, to what.
        what: String,
        /// What to do about it.
        action: String,
    },
}

/// What a page sends as text. What is typed comes as binary frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientMessage {
    /// The size this page would like.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
    /// The page has drawn a screen up to a position, and can take more.
    Drawn {
        /// Which screen.
        screen: Screen,
        /// The position after the last byte drawn.
        position: u64,
    },
    /// Switch the machine.
    Power {
        /// How.
        action: PowerAction,
    },
}

/// What a page may do to the whole machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PowerAction {
    /// Prepare and start it again, when it is off or could not be started.
    Start,
    /// Ask its system to switch off.
    Shutdown,
    /// As the plug: off now.
    Kill,
}

/// A binary frame to a page: the screen's number, the position of the first byte since the run
/// began (big-endian), the bytes.
pub fn output_frame(screen: Screen, position: u64, bytes: &[u8]) -> Vec<u8> {
    assert!(bytes.len() <= OUTPUT_BYTES_MAX);
    let mut frame = Vec::with_capacity(OUTPUT_HEADER_BYTES + bytes.len());
    frame.push(screen.index() as u8);
    frame.extend_from_slice(&position.to_be_bytes());
    frame.extend_from_slice(bytes);
    frame
}

/// Takes a binary frame of a page apart: the screen's number, then what was typed there.
pub fn parse_input_frame(frame: &[u8]) -> Option<(Screen, &[u8])> {
    let (&screen, bytes) = frame.split_first()?;
    Some((Screen::from_index(screen)?, bytes))
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
        assert!(check::<ServerMessage>(&fixture["server"]) >= 6);
        assert!(check::<ClientMessage>(&fixture["client"]) >= 2);
        let frame = output_frame(Screen::Log, 0x0102_0304_0506_0708, b"hi");
        assert_eq!(fixture["output_frame"], serde_json::json!(frame));
        let input: Vec<u8> = serde_json::from_value(fixture["input_frame"].clone()).unwrap();
        assert_eq!(parse_input_frame(&input), Some((Screen::Terminal, &b"ls\r"[..])));
    }

    #[test]
    fn frames_of_no_screen_are_refused() {
        for frame in [&[][..], &[2][..], &[255, b'x'][..]] {
            assert_eq!(parse_input_frame(frame), None, "{frame:?}");
        }
    }
}
