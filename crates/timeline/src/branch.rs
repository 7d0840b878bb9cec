//! Branches: a timeline is a tree of them.

use serde::{Deserialize, Serialize};
use stackvm_machine::Instant;

/// A branch of a timeline, by its place in the list. A parent comes before its children.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct BranchId(pub u32);

impl BranchId {
    /// The branch that a timeline begins with.
    pub const TRUNK: BranchId = BranchId(0);
}

/// Where a branch leaves its parent: after so many of the parent's own entries, at an instant not
/// before the last of them and not after the next one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ForkPoint {
    /// The parent.
    pub branch: BranchId,
    /// When.
    pub at: Instant,
    /// Number of the parent's own entries that the branch shares.
    pub entries: u64,
}

/// Where a branch comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Origin {
    /// It begins the timeline, with its own first keyframe.
    Start,
    /// It leaves another branch.
    Fork(ForkPoint),
    /// It goes on after capture was paused: the same machine later, with its own first keyframe.
    /// What happened in between is not in the timeline.
    Gap {
        /// The branch that ended with the pause.
        after: BranchId,
    },
}

/// Whether a branch goes on as the same machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum BranchKind {
    /// The same machine: same future for the same inputs.
    Exact,
    /// A machine of its own: its first inputs give it a new identity.
    Fresh,
}

/// How much of a branch was folded into its first keyframe: that is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Folded {
    /// Its first entries, so many. The others keep their numbers.
    pub entries: u64,
    /// The beginning of its output track, so many bytes.
    pub track_bytes: u64,
}

/// One branch.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Branch {
    /// Where it comes from.
    pub origin: Origin,
    /// Its name, unique in the timeline: `main` for the trunk.
    pub name: String,
    /// Who began it.
    pub author: String,
    /// When it was begun, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// Whether it is the same machine.
    pub kind: BranchKind,
    /// Number of its own entries, those that were folded included.
    pub entries: u64,
    /// What of it is gone. A file has nothing of that: it counts from there.
    #[serde(skip)]
    pub folded: Folded,
    /// How far it was computed and shown; not before its last entry.
    pub end: Instant,
    /// It was deleted: it is not shown, and stays only while a branch of its own needs it.
    pub deleted: bool,
}
