//! Saved state of the serial port.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::device::{FIFO_BYTES, Uart};
use crate::config::limits::PENDING_INPUT_BYTES_MAX;
use crate::devices::{InvalidState, Persist, Validate, require};

/// Everything the guest can see of the serial port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct UartState {
    /// Characters on the line that the guest has not read.
    pub(super) pending: VecDeque<u8>,
    /// Characters sent in loopback mode and not read back.
    pub(super) looped: VecDeque<u8>,
    pub(super) ier: u8,
    pub(super) fcr: u8,
    pub(super) lcr: u8,
    pub(super) mcr: u8,
    pub(super) scratch: u8,
    pub(super) divisor: u16,
    /// The transmitter became empty and the guest has not yet seen it in IIR.
    pub(super) transmit_pending: bool,
    /// It asks for an interrupt because of that and has not yet been given to the PLIC.
    pub(super) transmit_edge: bool,
}

impl Validate for UartState {
    fn validate(&self) -> Result<(), InvalidState> {
        let (pending, looped) = (self.pending.len(), self.looped.len());
        require(pending <= PENDING_INPUT_BYTES_MAX, Uart::NAME, || {
            format!("{pending} characters wait")
        })?;
        require(looped <= FIFO_BYTES, Uart::NAME, || format!("{looped} characters looped back"))
    }
}

impl Persist for Uart {
    const NAME: &'static str = "uart";
    type State = UartState;

    fn save(&self) -> UartState {
        self.state.clone()
    }

    fn restore(&mut self, state: UartState) -> Result<(), InvalidState> {
        state.validate()?;
        self.state = state;
        Ok(())
    }
}
