//! What goes over the interface about machines that go on from others, and twins.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::protocol::MachineState;

/// A machine whose past begins in another's.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, ToSchema)]
pub struct BranchView {
    /// Its name in addresses.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// What it is.
    pub kind: BranchKind,
    /// The instant at which it leaves the other.
    pub at_ns: u64,
    /// Where it ends, if it is a recording.
    pub until_ns: Option<u64>,
    /// When it was made.
    pub created_unix_ms: u64,
    /// What it is doing.
    pub state: MachineState,
    /// The line that was entered last since it left, as its terminal showed it. Only for the 50
    /// newest, and `null` where nobody entered any.
    pub last: Option<String>,
}

/// What goes on from a machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BranchKind {
    /// A machine of its own.
    Machine,
    /// A moment: it stays as it was then.
    Moment,
    /// A recording: it stays as it was from then on.
    Recording,
}

/// A twin that is to be made.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFork {
    /// What kind of twin.
    pub kind: TwinKind,
    /// What to call it; else it gets a name.
    pub name: Option<String>,
}

/// What a twin has of its machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TwinKind {
    /// All but its identity: randomness, addresses and host keys are its own.
    Fresh,
    /// All: with the same inputs both do the same.
    Exact,
}
