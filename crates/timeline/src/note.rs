//! Marks and comments: what people say about an instant. Not part of the machine.

use serde::{Deserialize, Serialize};
use stackvm_machine::Instant;

use crate::branch::BranchId;

/// Something somebody said about an instant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Note {
    /// On which branch.
    pub branch: BranchId,
    /// At which instant.
    pub at: Instant,
    /// Who.
    pub author: String,
    /// When they said it, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What.
    pub words: Words,
}

/// What was said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Words {
    /// A name for the instant, for `#name`.
    Mark(String),
    /// A text.
    Comment(String),
}
