//! Saved state of the PLIC.

use serde::{Deserialize, Serialize};

use super::device::{PRIORITY_MAX, Plic, SOURCES, WORDS};
use crate::config::limits::HARTS_MAX;
use crate::devices::{InvalidState, Persist, Validate, require};

/// Everything the guest can see of the PLIC.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PlicState {
    /// Priority of each source, by id; source 0 is a placeholder.
    pub(super) priorities: Vec<u8>,
    /// Requests not yet claimed, one bit per source.
    pub(super) pending: [u32; WORDS],
    /// Sources claimed and not completed.
    pub(super) claimed: [u32; WORDS],
    /// Levels of the lines.
    pub(super) levels: [u32; WORDS],
    pub(super) contexts: Vec<ContextState>,
}

/// One interrupt target.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct ContextState {
    pub(super) enables: [u32; WORDS],
    pub(super) threshold: u8,
}

impl Validate for PlicState {
    fn validate(&self) -> Result<(), InvalidState> {
        let sources = self.priorities.len();
        require(sources == SOURCES as usize + 1, Plic::NAME, || format!("{sources} priorities"))?;
        let contexts = self.contexts.len();
        require((2..=2 * HARTS_MAX as usize).contains(&contexts), Plic::NAME, || {
            format!("{contexts} contexts")
        })?;
        let mut levels = self.priorities.iter().chain(self.contexts.iter().map(|c| &c.threshold));
        require(levels.all(|&level| level <= PRIORITY_MAX), Plic::NAME, || {
            format!("a priority or threshold is above {PRIORITY_MAX}")
        })?;
        let mut zero = [self.pending[0], self.claimed[0], self.levels[0]].into_iter();
        require(zero.all(|word| word & 1 == 0), Plic::NAME, || "source 0 is in use".into())
    }
}

impl Persist for Plic {
    const NAME: &'static str = "plic";
    type State = PlicState;

    fn save(&self) -> PlicState {
        self.state.clone()
    }

    fn restore(&mut self, state: PlicState) -> Result<(), InvalidState> {
        state.validate()?;
        let (has, gets) = (self.state.contexts.len(), state.contexts.len());
        require(has == gets, Plic::NAME, || format!("has {gets} contexts, not {has}"))?;
        self.state = state;
        Ok(())
    }
}
