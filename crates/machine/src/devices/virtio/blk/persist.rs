//! Saved state of the disk's requests.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::device::Blk;
use super::queue::REQUEST_BYTES_MAX;
use crate::devices::virtio::queue::{CHAIN_DESCRIPTORS_MAX, Chain, QUEUE_SIZE_MAX};
use crate::devices::{InvalidState, Persist, Validate, require};
use crate::instant::Instant;

/// The requests in flight. The blocks the guest has written are saved apart, see [`Blk::disk`].
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BlkState {
    /// In the order in which they complete.
    pub(super) requests: VecDeque<Request>,
}

/// One request in flight.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) chain: Chain,
    pub(super) operation: Operation,
    /// When its data moves.
    pub(super) complete_at: Instant,
}

/// What a request asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Operation {
    Read {
        sector: u64,
        bytes: u32,
    },
    Write {
        sector: u64,
        bytes: u32,
    },
    Flush,
    GetId,
    /// Answered with an error status.
    Refuse {
        status: u8,
    },
}

impl Validate for BlkState {
    fn validate(&self) -> Result<(), InvalidState> {
        let requests = self.requests.len();
        require(requests <= usize::from(QUEUE_SIZE_MAX), Blk::NAME, || {
            format!("{requests} requests in flight")
        })?;
        for Request { chain, operation, .. } in &self.requests {
            let segments = chain.readable.len() + chain.writable.len();
            require(segments <= CHAIN_DESCRIPTORS_MAX, Blk::NAME, || {
                format!("a request of {segments} buffers")
            })?;
            let (Operation::Read { bytes, .. } | Operation::Write { bytes, .. }) = *operation
            else {
                continue;
            };
            require(u64::from(bytes) <= REQUEST_BYTES_MAX, Blk::NAME, || {
                format!("a request of {bytes} bytes")
            })?;
        }
        Ok(())
    }
}

impl Persist for Blk {
    const NAME: &'static str = "virtio blk";
    type State = BlkState;

    fn save(&self) -> BlkState {
        self.state.clone()
    }

    fn restore(&mut self, state: BlkState) -> Result<(), InvalidState> {
        state.validate()?;
        self.state = state;
        Ok(())
    }
}
