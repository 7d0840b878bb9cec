//! Saved state of the source of randomness.

use serde::{Deserialize, Serialize};

use super::device::Rng;
use crate::devices::{InvalidState, Persist, Validate, require};

/// Which stream, and how much of it has been given out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct RngState {
    pub(super) seed: u64,
    pub(super) position: u64,
}

impl Validate for RngState {
    fn validate(&self) -> Result<(), InvalidState> {
        // Half the stream is more than any machine draws, and leaves positions room to grow.
        let position = self.position;
        require(position < 1 << 63, Rng::NAME, || format!("has given out {position} bytes"))
    }
}

impl Persist for Rng {
    const NAME: &'static str = "virtio rng";
    type State = RngState;

    fn save(&self) -> RngState {
        self.state.clone()
    }

    fn restore(&mut self, state: RngState) -> Result<(), InvalidState> {
        state.validate()?;
        self.state = state;
        Ok(())
    }
}
