//! Configuration of the ports (virtio 1.2 §5.3.4), and the host's end of them.

use super::persist::{Item, MultiportState, PortState};
use super::queue;
use crate::config::limits::{PENDING_INPUT_BYTES_MAX, PORTS_MAX};
use crate::devices::DeviceContext;
use crate::devices::virtio::queue::QueueError;
use crate::devices::virtio::{Function, HostEvent, Io};
use crate::io::{Output, PortId};

const FEATURE_MULTIPORT: u64 = 1 << 1;

/// The ports.
pub struct Multiport {
    pub(super) names: Vec<String>,
    pub(super) state: MultiportState,
}

impl Multiport {
    /// Ports with these names, in this order.
    ///
    /// # Panics
    /// If there are none or more than [`PORTS_MAX`]; the machine's configuration was checked.
    pub fn new(names: Vec<String>) -> Self {
        assert!((1..=PORTS_MAX).contains(&names.len()), "{} ports", names.len());
        let state = MultiportState::new(names.len());
        Multiport { names, state }
    }

    /// How many bytes of input a port still takes; those beyond are lost. 0 for an absent port.
    pub fn room_bytes(&self, port: PortId) -> usize {
        let state = self.state.ports.get(usize::from(port.0));
        state.map_or(0, |port| PENDING_INPUT_BYTES_MAX.saturating_sub(port.pending_bytes()))
    }

    /// Whether a program in the guest has the port open.
    pub fn guest_open(&self, port: PortId) -> bool {
        self.state.ports.get(usize::from(port.0)).is_some_and(|port| port.guest_open)
    }
}

impl PortState {
    fn open(&mut self) {
        if !self.host_open() {
            self.items.push_back(Item::Open);
        }
    }

    fn close(&mut self) {
        if !self.host_open() {
            return;
        }
        // An end that opened and closed with nothing between them would tell the guest nothing.
        if self.items.back() == Some(&Item::Open) {
            self.items.pop_back();
        } else {
            self.items.push_back(Item::Close);
        }
    }

    fn input(&mut self, bytes: &[u8]) {
        let room = PENDING_INPUT_BYTES_MAX.saturating_sub(self.pending_bytes());
        let taken = &bytes[..bytes.len().min(room)];
        if taken.is_empty() {
            return;
        }
        match self.items.back_mut() {
            Some(Item::Data(data)) => data.extend(taken),
            _ => self.items.push_back(Item::Data(taken.iter().copied().collect())),
        }
    }
}

impl Function for Multiport {
    fn device_id(&self) -> u32 {
        3
    }

    fn features(&self) -> u64 {
        FEATURE_MULTIPORT
    }

    fn queue_sizes(&self) -> Vec<u16> {
        queue::sizes(self.names.len())
    }

    fn config(&self) -> Vec<u8> {
        // Columns and rows mean nothing without `F_SIZE`; emergency write is not offered.
        let mut config = vec![0; 4];
        config.extend((self.names.len() as u32).to_le_bytes());
        config.extend([0; 4]);
        config
    }

    fn notify(&mut self, queue: usize, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        self.serve(queue, io)
    }

    fn event(&mut self, event: HostEvent<'_>, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        let (HostEvent::PortOpen(id) | HostEvent::PortClose(id) | HostEvent::PortInput(id, _)) =
            event
        else {
            return Ok(());
        };
        let Some(port) = self.state.ports.get_mut(usize::from(id.0)) else { return Ok(()) };
        match event {
            HostEvent::PortOpen(_) => port.open(),
            HostEvent::PortClose(_) => port.close(),
            HostEvent::PortInput(_, bytes) => port.input(bytes),
            _ => {}
        }
        self.advance(usize::from(id.0), io)
    }

    /// The guest's ends close; the host's stay as they are, and a new driver is told of them.
    fn reset(&mut self, cx: &mut DeviceContext<'_>) {
        self.state.control.clear();
        for (index, port) in self.state.ports.iter_mut().enumerate() {
            port.ready = false;
            if std::mem::take(&mut port.guest_open) {
                cx.outputs.push(Output::PortClosed { port: PortId(index as u8) });
            }
        }
    }
}
