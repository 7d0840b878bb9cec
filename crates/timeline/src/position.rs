//! Places in a timeline, and how people name them.

use stackvm_machine::Instant;

use crate::branch::BranchId;

/// A place in a timeline: a branch at an instant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Position {
    /// Which branch.
    pub branch: BranchId,
    /// When. An instant before the branch's fork point is in an ancestor.
    pub at: Instant,
    /// How many of the branch's own entries have been put in. `None` is all of those at or before
    /// `at`.
    pub entries: Option<u64>,
}

/// An instant as people write it: `83.5`, `1:23.5`, `50%`, `#mark`, `123456.0625ns`, `@N`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum When {
    /// An instant counted from the machine's start.
    Exact(Instant),
    /// Time from the beginning of the recording, in ticks.
    Elapsed(stackvm_machine::instant::Ticks),
    /// A part of the whole, in millionths.
    Part(u32),
    /// A mark's name.
    Mark(String),
    /// Right after the N-th input of the branch's whole path, counted from 1.
    Entry(u64),
}
