//! Saved state of the ports.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::device::Multiport;
use super::queue::CONTROL_MESSAGES_MAX;
use crate::config::limits::{PENDING_INPUT_BYTES_MAX, PORTS_MAX};
use crate::devices::{InvalidState, Persist, Validate, require};

/// Most things that wait at a port: between two pieces of data at most a close and an open.
const ITEMS_MAX: usize = 3 * PENDING_INPUT_BYTES_MAX + 3;

/// Everything the guest can see of the ports.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MultiportState {
    pub(super) ports: Vec<PortState>,
    /// Control messages that wait for a buffer.
    pub(super) control: VecDeque<Message>,
}

/// One port.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct PortState {
    /// The guest's driver knows the port.
    pub(super) ready: bool,
    /// A program in the guest has it open.
    pub(super) guest_open: bool,
    /// The host's end is open, as far as the guest has been told (or will be, once it is ready).
    pub(super) connected: bool,
    /// What the host did and the guest has not seen, in order.
    pub(super) items: VecDeque<Item>,
}

/// Something the host did to a port.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Item {
    Open,
    Data(VecDeque<u8>),
    Close,
}

/// A control message to the guest.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Message {
    pub(super) port: u32,
    pub(super) event: u16,
    pub(super) value: u16,
}

impl MultiportState {
    pub(super) fn new(ports: usize) -> Self {
        MultiportState { ports: vec![PortState::default(); ports], control: VecDeque::new() }
    }
}

impl PortState {
    /// Whether the host's end is open, by what the host did last.
    pub(super) fn host_open(&self) -> bool {
        let last = self.items.iter().rev().find(|item| !matches!(item, Item::Data(_)));
        last.map_or(self.connected, |item| *item == Item::Open)
    }

    pub(super) fn pending_bytes(&self) -> usize {
        let lengths = self.items.iter().map(|item| match item {
            Item::Data(data) => data.len(),
            Item::Open | Item::Close => 0,
        });
        lengths.fold(0, usize::saturating_add)
    }
}

impl Validate for MultiportState {
    fn validate(&self) -> Result<(), InvalidState> {
        let (ports, control) = (self.ports.len(), self.control.len());
        require((1..=PORTS_MAX).contains(&ports), Multiport::NAME, || format!("{ports} ports"))?;
        require(control <= CONTROL_MESSAGES_MAX, Multiport::NAME, || {
            format!("{control} control messages wait")
        })?;
        for message in &self.control {
            require((message.port as usize) < ports, Multiport::NAME, || {
                format!("a message about port {} of {ports}", message.port)
            })?;
        }
        for (index, port) in self.ports.iter().enumerate() {
            let (bytes, items) = (port.pending_bytes(), port.items.len());
            require(
                bytes <= PENDING_INPUT_BYTES_MAX && items <= ITEMS_MAX,
                Multiport::NAME,
                || format!("{bytes} bytes in {items} pieces wait at port {index}"),
            )?;
        }
        Ok(())
    }
}

impl Persist for Multiport {
    const NAME: &'static str = "virtio multiport console";
    type State = MultiportState;

    fn save(&self) -> MultiportState {
        self.state.clone()
    }

    fn restore(&mut self, state: MultiportState) -> Result<(), InvalidState> {
        state.validate()?;
        let (has, gets) = (self.state.ports.len(), state.ports.len());
        require(has == gets, Multiport::NAME, || format!("has {gets} ports, not {has}"))?;
        self.state = state;
        Ok(())
    }
}
