//! What goes over the interface about a machine's past.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::rights::Role;

/// When a machine did something: what its strip shows.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, ToSchema)]
pub struct TimelineView {
    /// Where it begins for whoever asks.
    pub begin_ns: u64,
    /// How far the machine has come.
    pub end_ns: u64,
    /// The length of each bin.
    pub step_ns: u64,
    /// The parts of its time in which something happened, in order; at most 1000.
    pub bins: Vec<BinView>,
    /// When somebody pressed Enter, in order; the last 1000.
    pub entered_ns: Vec<u64>,
    /// Who typed: `typist` counts in this list.
    pub typists: Vec<String>,
}

/// A part of a machine's time.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct BinView {
    /// Where it begins.
    pub at_ns: u64,
    /// Bytes that its terminals wrote.
    pub output_bytes: u64,
    /// Bytes that people typed.
    pub typed_bytes: u64,
    /// Who typed last in it.
    pub typist: Option<usize>,
}

/// What a terminal showed at an instant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct PictureView {
    /// The instant: the nearest to the one asked for.
    pub at_ns: u64,
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// Control sequences that draw it on an empty terminal of this size; the server's own, whatever
    /// the guest wrote.
    pub draw: String,
}

/// A report of a machine as it is now.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewReport {
    /// What whoever has its link may do: viewer (without a word), commenter, or driver, who goes on
    /// from it.
    pub role: Option<Role>,
}

/// A report.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ReportView {
    /// The moment that was kept for it.
    pub moment: String,
    /// The link to that.
    pub url: String,
    /// All of it, as text for a forum.
    pub markdown: String,
}

/// Something that somebody did at a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct EventView {
    /// When.
    pub at_ns: u64,
    /// What kind of thing.
    pub kind: EventKind,
    /// Who did it.
    pub who: String,
    /// The terminal's index, of a line; `null` for one that pages do not show.
    pub console: Option<usize>,
    /// The line as the terminal showed it, what a shell asks with included; or the name.
    pub text: String,
}

/// What somebody did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// They ended a line with Enter.
    Entered,
    /// They gave the instant a name.
    Marked,
}

/// A line that a terminal showed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct FoundView {
    /// When it was there, whole up to what was looked for.
    pub at_ns: u64,
    /// The terminal's index; `null` for one that pages do not show.
    pub console: Option<usize>,
    /// The line, without control sequences.
    pub line: String,
}

/// What a terminal printed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct TextView {
    /// Its last lines, in order, without control sequences; at most 2000.
    pub lines: Vec<String>,
    /// How many lines there were before these.
    pub lines_before: u64,
}

/// A line that a terminal showed, and how it came there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct LineView {
    /// Its text.
    pub line: String,
    /// When it was printed; `null` for one that a full-screen program drew, and for one that was
    /// there before whoever asks may look.
    pub at_ns: Option<u64>,
    /// The last line that somebody had entered on this terminal by then.
    pub entered: Option<EventView>,
}

/// A machine's exact state at an instant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct ExactView {
    /// The instant.
    pub at_ns: u64,
    /// Instructions that all harts together had executed.
    pub instructions: u64,
    /// The digest of its whole state: whoever computes it anywhere finds the same.
    pub digest: String,
    /// Columns of the terminal.
    pub columns: u16,
    /// Its rows.
    pub rows: u16,
    /// Control sequences that draw it, as in `PictureView`.
    pub draw: String,
}

/// The instant that a machine is to go on from.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBranch {
    /// The instant.
    pub at_ns: u64,
}

/// An instant that is to be kept as it is.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMoment {
    /// The instant; without it, the present one.
    pub at_ns: Option<u64>,
}

/// A part of a machine's past that is to be kept as a recording.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRecording {
    /// Where it begins.
    #[schema(maximum = 1_152_921_504_606_846_975_u64)]
    pub from_ns: u64,
    /// Where it ends.
    #[schema(maximum = 1_152_921_504_606_846_975_u64)]
    pub until_ns: u64,
    /// What to call it; else it gets a name.
    pub name: Option<String>,
}

/// What a recording is downloaded as.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileFormat {
    /// All of it, to be played, asked and gone on from.
    Vmcast,
    /// What its first terminal showed, as an asciicast (version 3).
    Cast,
}

/// Whose past a machine's own begins in.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct BranchOf {
    /// The machine; it may be gone by now.
    pub id: String,
    /// Until when this machine was that one.
    pub at_ns: u64,
}
