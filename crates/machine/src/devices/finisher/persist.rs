//! Saved state of the test finisher.

use serde::{Deserialize, Serialize};

use super::device::{Finisher, FinisherRequest};
use crate::devices::{InvalidState, Persist, Validate};

/// What the guest has asked for.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FinisherState {
    pub(super) request: Option<FinisherRequest>,
}

impl Validate for FinisherState {
    /// Every request is possible.
    fn validate(&self) -> Result<(), InvalidState> {
        Ok(())
    }
}

impl Persist for Finisher {
    const NAME: &'static str = "finisher";
    type State = FinisherState;

    fn save(&self) -> FinisherState {
        self.state.clone()
    }

    fn restore(&mut self, state: FinisherState) -> Result<(), InvalidState> {
        state.validate()?;
        self.state = state;
        Ok(())
    }
}
