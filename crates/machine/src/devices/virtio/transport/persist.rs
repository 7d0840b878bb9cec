//! Saved state of a transport.

use serde::{Deserialize, Serialize};

use super::device::Transport;
use crate::devices::virtio::queue::{QUEUE_SIZE_MAX, Queue};
use crate::devices::{InvalidState, Persist, Validate, require};

/// Everything a driver has set up in a transport.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TransportState {
    pub(super) device_features_select: u32,
    pub(super) driver_features_select: u32,
    pub(super) driver_features: u64,
    pub(super) queue_select: u16,
    pub(super) status: u8,
    pub(super) interrupt: u8,
    pub(super) config_generation: u32,
    pub(super) queues: Vec<Queue>,
}

impl TransportState {
    pub(super) fn new(queues: usize) -> Self {
        TransportState {
            device_features_select: 0,
            driver_features_select: 0,
            driver_features: 0,
            queue_select: 0,
            status: 0,
            interrupt: 0,
            config_generation: 0,
            queues: vec![Queue::default(); queues],
        }
    }
}

impl Validate for TransportState {
    fn validate(&self) -> Result<(), InvalidState> {
        for (index, queue) in self.queues.iter().enumerate() {
            // Positions are reduced by the size, so only a ready queue's size matters; addresses
            // are checked at each use.
            let sound = queue.size.is_power_of_two() && queue.size <= QUEUE_SIZE_MAX;
            require(!queue.ready || sound, Transport::NAME, || {
                format!("queue {index} has size {}", queue.size)
            })?;
        }
        Ok(())
    }
}

impl Persist for Transport {
    const NAME: &'static str = "virtio transport";
    type State = TransportState;

    fn save(&self) -> TransportState {
        self.state.clone()
    }

    fn restore(&mut self, state: TransportState) -> Result<(), InvalidState> {
        state.validate()?;
        let (has, gets) = (self.queue_count(), state.queues.len());
        require(has == gets, Transport::NAME, || format!("has {gets} queues, not {has}"))?;
        self.state = state;
        Ok(())
    }
}
