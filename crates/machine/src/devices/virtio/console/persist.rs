//! Saved state of the terminal.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::device::Console;
use crate::config::limits::PENDING_INPUT_BYTES_MAX;
use crate::devices::{InvalidState, Persist, Validate, require};

/// Everything the guest can see of the terminal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ConsoleState {
    /// Typed and not yet read by the guest.
    pub(super) pending: VecDeque<u8>,
    pub(super) columns: u16,
    pub(super) rows: u16,
}

impl Default for ConsoleState {
    fn default() -> Self {
        ConsoleState { pending: VecDeque::new(), columns: 80, rows: 25 }
    }
}

impl Validate for ConsoleState {
    fn validate(&self) -> Result<(), InvalidState> {
        let pending = self.pending.len();
        require(pending <= PENDING_INPUT_BYTES_MAX, Console::NAME, || {
            format!("{pending} characters wait")
        })
    }
}

impl Persist for Console {
    const NAME: &'static str = "virtio console";
    type State = ConsoleState;

    fn save(&self) -> ConsoleState {
        self.state.clone()
    }

    fn restore(&mut self, state: ConsoleState) -> Result<(), InvalidState> {
        state.validate()?;
        self.state = state;
        Ok(())
    }
}
