//! What terminals showed, derived from outputs; outside the machine's digest.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use stackvm_machine::{ConsoleId, PortId};

/// What is derived from a machine's outputs and saved with keyframes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Derived {
    /// Each terminal's screen.
    pub screens: Vec<ScreenState>,
    /// Ports whose guest end is open.
    pub open_ports: BTreeSet<PortId>,
}

/// A terminal's screen, as bytes that draw it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ScreenState {
    /// Which terminal.
    pub console: ConsoleId,
    /// Columns.
    pub columns: u16,
    /// Rows.
    pub rows: u16,
    /// Control sequences that draw it on an empty terminal of this size.
    pub dump: String,
}

/// The screens of a machine's terminals, drawn from its outputs.
#[derive(Debug, Default)]
pub struct Screens {}
