//! What goes over the HTTP interface, as JSON. `web/src/lib/api.ts` mirrors this file.
//!
//! Times are milliseconds since 1970 (`…_unix_ms`); instants are nanoseconds of a machine's time
//! (`…_ns`). What a client sends refuses unknown fields, so that a misspelt one is not ignored.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::protocol::MachineState;
use crate::rights::{Right, Role};

mod branches;
mod past;
mod publications;
mod shares;

pub use branches::{BranchKind, BranchView, NewFork, TwinKind};
pub use past::{
    BinView, BranchOf, EventKind, EventView, ExactView, FileFormat, FoundView, LineView, NewBranch,
    NewMoment, NewRecording, NewReport, PictureView, ReportView, TextView, TimelineView,
};
pub use publications::{
    FoundIn, NewPublication, OutgoingView, PublicationView, Published, Visibility,
};
pub use shares::{CreatedShare, NewShare, NewVisit, Past, ShareView, VisitLimitsView, VisitView};

/// A part of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The part.
    pub items: Vec<T>,
    /// `cursor` of the next part; `null` at the end.
    pub next: Option<String>,
}

/// A machine, as whoever asks may see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct MachineView {
    /// Its name in addresses; never changes.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it runs, for people: `Debian 13 (tiny)`.
    pub image: String,
    /// RAM in bytes; `null` where the image decides.
    pub memory_bytes: Option<u64>,
    /// Number of harts.
    pub harts: u32,
    /// What it is doing.
    pub state: MachineState,
    /// A line about that; may be empty.
    pub detail: String,
    /// What to do about it, when something is wrong; may be empty.
    pub action: String,
    /// Whether it stays when it stops.
    pub kept: bool,
    /// How much of its history it keeps.
    pub keep: HistoryKept,
    /// Whether it never runs: it is a moment, which stays as it was at an instant of another machine,
    /// or a recording.
    pub frozen: bool,
    /// Whether it is a recording of another machine, from one instant until another.
    pub recording: bool,
    /// When it was made.
    pub created_unix_ms: u64,
    /// Text of its owner.
    pub notes: String,
    /// Words of its owner.
    pub tags: Vec<String>,
    /// Its programs may write to the clipboard of those who look at it.
    pub clipboard: bool,
    /// Counts changes of name, notes, tags and clipboard; also the ETag.
    pub version: u64,
    /// What whoever asks is to it.
    pub role: Role,
    /// What whoever asks may do.
    pub rights: Vec<Right>,
    /// Who is there.
    pub people: Vec<PersonView>,
    /// If it is a visitor's own who asks: until when, and by which link they came.
    pub visit: Option<VisitView>,
    /// Whose past its own begins in; only for those who may share it.
    pub branch_of: Option<BranchOf>,
    /// The end of its first terminal's screen: at most 10 lines of at most 80 characters, plain text.
    pub screen: Vec<String>,
}

/// Somebody at a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct PersonView {
    /// What they are called.
    pub name: String,
    /// Their colour, one of eight.
    pub hue: u8,
    /// What they are.
    pub role: Role,
    /// They typed last.
    pub types: bool,
}

/// A machine to make.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMachine {
    /// `tiny`, `debian`, or an imported image.
    pub image: String,
    /// What to call it; without one, something is proposed.
    pub name: Option<String>,
    /// RAM in MiB, 32 to 65536.
    pub memory_mib: Option<u32>,
    /// How much of its history it keeps; else a day of its time, at most 1 GiB.
    pub keep: Option<HistoryKept>,
}

/// How much of its history a machine keeps; the stricter of both counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryKept {
    /// So many seconds of its time; 0 keeps nothing.
    pub seconds: u64,
    /// So many bytes.
    pub bytes: u64,
}

/// What is to change about a machine; what is absent stays.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeMachine {
    /// What to call it.
    pub name: Option<String>,
    /// Text, at most 16 KiB.
    pub notes: Option<String>,
    /// Words.
    pub tags: Option<Vec<String>>,
    /// Let its programs write to the clipboard.
    pub clipboard: Option<bool>,
}

/// What to do with a whole machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PowerAction {
    /// Start it, where it was saved or anew.
    Start,
    /// Hold its time.
    Pause,
    /// Let its time go on.
    Resume,
    /// As the reset button.
    Reset,
    /// Ask its system to switch off.
    Shutdown,
    /// As the plug.
    Kill,
    /// Stop it so that it goes on later where it is.
    Save,
}

/// A wish about a machine's power.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PowerRequest {
    /// What to do.
    pub action: PowerAction,
}

/// Facts about a running machine.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct InfoView {
    /// RAM in bytes.
    pub memory_bytes: u64,
    /// Number of harts.
    pub harts: u32,
    /// Instructions since it was switched on.
    pub instructions: u64,
    /// Its instant.
    pub instant_ns: u64,
    /// Milliseconds since its process started.
    pub uptime_ms: u64,
    /// Bytes of disk blocks that differ from the image.
    pub disk_written_bytes: u64,
    /// Digest of its whole state, in hexadecimal, where it was asked for.
    pub digest: Option<String>,
    /// The instant of the digest.
    pub digest_instant_ns: Option<u64>,
}

/// A named instant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct MarkerView {
    /// Its place among the machine's markers, from 0.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Who named it.
    pub author: String,
    /// The instant.
    pub at_ns: u64,
}

/// An instant to name: the present one.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMarker {
    /// The name, 1 to 200 bytes.
    pub name: String,
}

/// How to come in: with a one-time token of this computer, or with both halves of a link.
#[derive(Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenSession {
    /// The owner's, from the fragment of the address; alone.
    pub token: Option<String>,
    /// A guest's: the link's public half.
    pub share: Option<String>,
    /// Its secret half; a published recording needs none.
    pub secret: Option<String>,
    /// If it needs one.
    pub password: Option<String>,
    /// Answer with a secret instead of a cookie: in a frame on another site.
    #[serde(default)]
    pub bearer: bool,
}

/// Who this browser is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SessionView {
    /// Whether it is the owner's.
    pub owner: bool,
    /// What its person is called.
    pub name: String,
    /// Their colour.
    pub hue: u8,
    /// The machine that was just opened.
    pub machine: Option<String>,
    /// If the link that was just opened gives visitors machines of their own: this one's.
    pub visit: Option<VisitView>,
    /// Machines it may see as a guest.
    pub shared: Vec<SharedMachine>,
    /// The secret that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bearer: Option<String>,
    /// A banner for every page: plain HTTP on a network. Empty for none.
    pub warning: String,
    /// Labs of this server run without a sandbox.
    pub unsandboxed: bool,
}

/// A machine that a guest may see.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct SharedMachine {
    /// Which.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// As what.
    pub role: Role,
}

/// What to call this browser's person.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSession {
    /// The name, 1 to 64 bytes.
    pub name: String,
}

/// A link that makes another browser the owner's, once.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct OwnerLink {
    /// The link.
    pub url: String,
    /// Until when it is good.
    pub expires_unix_ms: u64,
}

/// Something that takes a while.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct TaskView {
    /// Which.
    pub id: String,
    /// For people: `Start notes`.
    pub title: String,
    /// The machine it is about.
    pub machine: Option<String>,
    /// How it is going.
    pub state: TaskState,
    /// What is being done, in a word or two.
    pub phase: String,
    /// With what, in a line.
    pub message: String,
    /// Bytes of this phase that are done.
    pub done_bytes: u64,
    /// Bytes of this phase, where that is known.
    pub total_bytes: Option<u64>,
    /// The phases so far, a line each.
    pub log: Vec<String>,
    /// When it began.
    pub started_unix_ms: u64,
    /// When it ended.
    pub ended_unix_ms: Option<u64>,
    /// What went wrong; empty if nothing.
    pub what: String,
    /// What to do about it.
    pub action: String,
    /// Whether it can be cancelled.
    pub cancellable: bool,
}

/// How a task is going.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// It runs.
    Running,
    /// It is done.
    Done,
    /// It went wrong.
    Failed,
    /// Somebody stopped it.
    Cancelled,
}

/// A task that was begun, and the machine it is about if that has a name already.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Begun {
    /// The task.
    pub task: TaskView,
    /// The machine.
    pub machine: Option<MachineView>,
}

/// An image that machines can start from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ImageView {
    /// Its name.
    pub name: String,
    /// What it is, for people.
    pub about: String,
    /// Whether it is there; else the first machine makes it, which takes minutes.
    pub ready: bool,
    /// RAM where nobody says otherwise.
    pub memory_bytes: u64,
}

/// Who can reach this server, and how.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ReachView {
    /// The widest of `addresses`.
    pub who: ReachWho,
    /// Where it listens, as links' beginnings, the widest first.
    pub addresses: Vec<ReachAddress>,
    /// What a computer elsewhere can be given, through SSH.
    pub ssh: String,
    /// It can be opened to the local network now.
    pub can_open: bool,
}

/// An address.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ReachAddress {
    /// `http://localhost:7333`.
    pub url: String,
    /// Who reaches it.
    pub who: ReachWho,
}

/// Who can reach an address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReachWho {
    /// Browsers on this computer.
    ThisComputer,
    /// Whoever is on this network.
    Network,
    /// Anybody.
    Anyone,
}

/// How to open the server to the local network.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenNetwork {
    /// With what.
    pub security: NetworkSecurity,
}

/// What protects a line on the local network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NetworkSecurity {
    /// A certificate of our own, which browsers ask about once.
    SelfSigned,
    /// Nothing; every page says so.
    InsecureHttp,
}

/// Something that was done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AuditView {
    /// Counts up.
    pub id: u64,
    /// When.
    pub at_unix_ms: u64,
    /// By whom.
    pub actor: String,
    /// What.
    pub action: String,
    /// To what.
    pub subject: String,
    /// In which way.
    pub detail: String,
}

/// What went wrong (RFC 9457, `application/problem+json`).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct Problem {
    /// What kind, for programs: `not_found`, `bad_field`, `password_needed`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// In a few words, always the same for its kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened, to what.
    pub detail: String,
    /// What to do.
    pub action: String,
    /// The field that is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// What `/api/live` sends, one JSON message per text frame: the first time everything, then what
/// changed.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HomeMessage {
    /// Machines that are new or have changed.
    Machines {
        /// They.
        machines: Vec<MachineView>,
        /// Whether these are all there are.
        all: bool,
    },
    /// A machine is gone.
    MachineGone {
        /// Which.
        id: String,
    },
    /// A task is new or has changed.
    Task {
        /// It.
        task: Box<TaskView>,
    },
}
