//! Saved state of the generation id.

use serde::{Deserialize, Serialize};

use super::device::{ID_BYTES, Vmgenid};
use crate::devices::{InvalidState, Persist, Validate};

/// The id, and whether its interrupt is still to be delivered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmgenidState {
    pub(super) id: [u8; ID_BYTES],
    pub(super) edge: bool,
}

impl Validate for VmgenidState {
    /// Every id is possible.
    fn validate(&self) -> Result<(), InvalidState> {
        Ok(())
    }
}

impl Persist for Vmgenid {
    const NAME: &'static str = "vmgenid";
    type State = VmgenidState;

    fn save(&self) -> VmgenidState {
        self.state.clone()
    }

    fn restore(&mut self, state: VmgenidState) -> Result<(), InvalidState> {
        state.validate()?;
        self.state = state;
        Ok(())
    }
}
