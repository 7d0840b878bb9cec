//! Saved state of the interface.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::device::Net;
use crate::config::limits::{FRAME_BYTES_MAX, PENDING_FRAMES_MAX};
use crate::devices::{InvalidState, Persist, Validate, require};

/// Everything the guest can see of the interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NetState {
    pub(super) mac: [u8; 6],
    /// Frames the guest has not taken.
    pub(super) pending: VecDeque<Vec<u8>>,
}

impl NetState {
    pub(super) fn new(mac: [u8; 6]) -> Self {
        NetState { mac, pending: VecDeque::new() }
    }

    /// Keeps a frame for the guest, or drops it: when it is no frame, or too many wait.
    pub(super) fn accept(&mut self, frame: &[u8]) {
        let sound = (1..=FRAME_BYTES_MAX).contains(&frame.len());
        if sound && self.pending.len() < PENDING_FRAMES_MAX {
            self.pending.push_back(frame.to_vec());
        }
    }
}

impl Validate for NetState {
    fn validate(&self) -> Result<(), InvalidState> {
        let frames = self.pending.len();
        require(frames <= PENDING_FRAMES_MAX, Net::NAME, || format!("{frames} frames wait"))?;
        let longest = self.pending.iter().map(Vec::len).max().unwrap_or(0);
        require(longest <= FRAME_BYTES_MAX, Net::NAME, || format!("a frame of {longest} bytes"))
    }
}

impl Persist for Net {
    const NAME: &'static str = "virtio net";
    type State = NetState;

    fn save(&self) -> NetState {
        self.state.clone()
    }

    fn restore(&mut self, state: NetState) -> Result<(), InvalidState> {
        state.validate()?;
        self.state = state;
        Ok(())
    }
}
