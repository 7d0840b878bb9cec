//! Saved state of the CLINT.

use serde::{Deserialize, Serialize};

use super::device::Clint;
use crate::config::limits::HARTS_MAX;
use crate::devices::{InvalidState, Persist, Validate, require};

/// Everything the guest can see of the CLINT beside the clock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ClintState {
    /// Software interrupt of each hart.
    pub(super) msip: Vec<bool>,
    /// Timer comparator of each hart, in `mtime` steps.
    pub(super) mtimecmp: Vec<u64>,
    /// What a guest's write to `mtime` added to the clock (modulo 2^64).
    pub(super) mtime_offset: u64,
}

impl Validate for ClintState {
    fn validate(&self) -> Result<(), InvalidState> {
        let (msip, mtimecmp) = (self.msip.len(), self.mtimecmp.len());
        require(msip == mtimecmp && (1..=HARTS_MAX as usize).contains(&msip), Clint::NAME, || {
            format!("{msip} software interrupts and {mtimecmp} comparators")
        })
    }
}

impl Persist for Clint {
    const NAME: &'static str = "clint";
    type State = ClintState;

    fn save(&self) -> ClintState {
        self.state.clone()
    }

    fn restore(&mut self, state: ClintState) -> Result<(), InvalidState> {
        state.validate()?;
        let (has, gets) = (self.state.msip.len(), state.msip.len());
        require(has == gets, Clint::NAME, || format!("is for {gets} harts, not {has}"))?;
        self.state = state;
        Ok(())
    }
}
