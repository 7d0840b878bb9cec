//! What is kept.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::ids::{OwnerId, SecretHash, SessionId, ShareId};

/// What people say of a machine, beside what the host knows of it. A machine without a row has no
/// notes and no tags.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct MachineRow {
    /// Text, at most [`crate::rows::limits::NOTES_BYTES_MAX`].
    pub notes: String,
    /// Words.
    pub tags: Vec<String>,
    /// Whether its programs may write to the clipboard of those who look at it (OSC 52).
    pub clipboard: bool,
    /// Counts changes.
    pub version: u64,
}

/// What a machine's owner has settled about the people at it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RoomRow {
    /// How the keyboard goes around, as the server writes it; empty where nobody has chosen.
    pub keyboard_mode: String,
    /// Nobody but the owner types.
    pub keyboard_locked: bool,
    /// Who cannot write in the chat.
    pub muted: BTreeSet<SessionId>,
    /// While the door is locked: who was here then, and may come back.
    pub admitted: Option<BTreeSet<SessionId>>,
}

/// A link.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShareRow {
    /// Its public half.
    pub id: ShareId,
    /// Whose it is.
    pub owner: OwnerId,
    /// The machine, by the name of its folder.
    pub machine: String,
    /// The role it gives, as the server writes it.
    pub role: String,
    /// What people call it.
    pub label: String,
    /// Of its secret half.
    pub secret: SecretHash,
    /// PHC string of the password, if it needs one.
    pub password: Option<String>,
    /// The machine's instant (ns) from which on its past may be seen; `None` is all of it.
    pub past_from_ns: Option<u64>,
    /// Milliseconds since 1970.
    pub created_unix_ms: u64,
    /// When it ends by itself.
    pub expires_unix_ms: Option<u64>,
    /// When it was revoked.
    pub revoked_unix_ms: Option<u64>,
    /// How often it was opened.
    pub opened: u64,
    /// Each visitor gets a machine of their own, within this. Such a link gives no role at its
    /// machine.
    pub visits: Option<VisitLimits>,
    /// It gives a visitor their machine, who came by this link.
    pub visit_of: Option<ShareId>,
    /// It needs no secret: its recording is published, like this.
    pub published: Option<Publication>,
}

/// How a recording is shown to everybody.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Publication {
    /// What it is called.
    pub title: String,
    /// What it shows; plain text.
    pub description: String,
    /// Words.
    pub tags: Vec<String>,
    /// Whether it is in the list; else only whoever has its address finds it.
    pub listed: bool,
}

/// What visitors of a link may take, who get machines of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VisitLimits {
    /// Machines at once.
    pub visitors: u32,
    /// How long each has theirs, in minutes.
    pub minutes: u32,
    /// How much of a core each machine may use, in hundredths.
    pub cpu_percent: u8,
    /// How much memory of the host each may have for itself, in MiB; `None` is as much as it has.
    #[serde(default)]
    pub memory_mib: Option<u32>,
}

/// A browser that is in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SessionRow {
    /// Which; not secret.
    pub id: SessionId,
    /// Of what the browser presents.
    pub secret: SecretHash,
    /// The owner whose browser it is, if it is one; else only its links count.
    pub owner: Option<OwnerId>,
    /// What its person is called.
    pub name: String,
    /// Their colour.
    pub hue: u8,
    /// Milliseconds since 1970.
    pub created_unix_ms: u64,
    /// The last time it came, to the hour or so.
    pub seen_unix_ms: u64,
}

/// Something that was done.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AuditRow {
    /// Counts up; 0 for one that is not kept yet.
    pub id: u64,
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// By whom: `owner`, or `share ID (NAME)`.
    pub actor: String,
    /// What: `machine.create`, `share.revoke`.
    pub action: String,
    /// To what.
    pub subject: String,
    /// In which way; no secrets.
    pub detail: String,
}

/// Something said beside a machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SaidRow {
    /// Counts up within the machine; 0 for one that is not kept yet.
    pub id: u64,
    /// Who, as they were called then; empty for what just happened.
    pub name: String,
    /// Their colour.
    pub hue: u8,
    /// Plain text.
    pub text: String,
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// The machine's instant, in nanoseconds.
    pub instant_ns: Option<u64>,
}

/// An answer that is given again when a request comes again with the same key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AnswerRow {
    /// Of the request's method, path and body.
    pub request: [u8; 32],
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// Limits on what is kept.
pub mod limits {
    /// Longest notes of a machine, in bytes.
    pub const NOTES_BYTES_MAX: usize = 16 << 10;
    /// Most tags of a machine.
    pub const TAGS_MAX: usize = 16;
    /// Longest tag, in bytes.
    pub const TAG_BYTES_MAX: usize = 32;
    /// Most links of an owner that are good.
    pub const SHARES_MAX: u64 = 1000;
    /// Links that are over and still known, so that whoever opens one learns why.
    pub const SHARES_OVER_MAX: u64 = 1000;
    /// Most sessions; of more, the one not seen for longest ends.
    pub const SESSIONS_MAX: u64 = 10_000;
    /// Messages of a chat that are kept.
    pub const SAID_MAX: u64 = 1000;
    /// Audit rows that are kept.
    pub const AUDIT_MAX: u64 = 1_000_000;
    /// How long answers are kept for requests that come again, in milliseconds.
    pub const ANSWERS_MS: u64 = 24 * 3600 * 1000;
    /// Answers that are kept for a session; of more, the oldest goes.
    pub const ANSWERS_MAX: u64 = 256;
}
