//! The output track: what terminals wrote and when, so that pictures and searches need no replay.
//! Derived from the inputs, never believed about the machine. No I/O.

use serde::{Deserialize, Serialize};
use stackvm_machine::{ConsoleId, Instant};

/// Something a terminal wrote, or its new size.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TrackItem {
    /// When, to a slice of the recording host (about a millisecond); never early.
    pub at: Instant,
    /// Which terminal.
    pub console: ConsoleId,
    /// What happened.
    pub event: TrackEvent,
}

/// What happened at a terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum TrackEvent {
    /// The guest wrote bytes.
    Output(Vec<u8>),
    /// It has a new size.
    Resize {
        /// Columns.
        columns: u16,
        /// Rows.
        rows: u16,
    },
}
