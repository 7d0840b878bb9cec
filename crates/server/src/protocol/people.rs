//! What pages are told of the people at a machine: who they are, who types, and what was said.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::PersonId;
use crate::rights::Role;

/// Who may type.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
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

impl KeyboardMode {
    const ALL: [KeyboardMode; 3] = [KeyboardMode::Auto, KeyboardMode::Open, KeyboardMode::Passed];

    /// As it is written in JSON and in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            KeyboardMode::Auto => "auto",
            KeyboardMode::Open => "open",
            KeyboardMode::Passed => "passed",
        }
    }

    /// The mode that is written like this.
    pub fn named(name: &str) -> Option<KeyboardMode> {
        KeyboardMode::ALL.into_iter().find(|mode| mode.name() == name)
    }
}

/// The keyboard of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, ToSchema)]
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
    /// Seconds until an idle holder loses it to whoever waits; `None` while there are more than 30,
    /// or nobody waits.
    pub left_s: Option<u32>,
}

/// Somebody who is here.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
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
    /// Their page shows what was, not what is.
    pub looks_back: bool,
}

/// Something said beside the machine, or something that happened to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
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
