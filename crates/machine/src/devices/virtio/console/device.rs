//! Configuration of the terminal (virtio 1.2 §5.3.4).

use super::persist::ConsoleState;
use super::queue;
use crate::config::limits::PENDING_INPUT_BYTES_MAX;
use crate::devices::DeviceContext;
use crate::devices::virtio::queue::QueueError;
use crate::devices::virtio::{Function, HostEvent, Io};
use crate::io::ConsoleId;

const FEATURE_SIZE: u64 = 1 << 0;

/// A terminal.
pub struct Console {
    pub(super) id: ConsoleId,
    pub(super) state: ConsoleState,
}

impl Console {
    /// The terminal whose output is labelled `id`, of 80 by 25 characters.
    pub fn new(id: ConsoleId) -> Self {
        Console { id, state: ConsoleState::default() }
    }

    /// How many bytes of input the terminal still takes; those beyond are lost.
    pub fn room_bytes(&self) -> usize {
        PENDING_INPUT_BYTES_MAX.saturating_sub(self.state.pending.len())
    }
}

impl Function for Console {
    fn device_id(&self) -> u32 {
        3
    }

    fn features(&self) -> u64 {
        FEATURE_SIZE
    }

    fn queue_sizes(&self) -> Vec<u16> {
        queue::SIZES.to_vec()
    }

    fn config(&self) -> Vec<u8> {
        let mut config = Vec::with_capacity(12);
        config.extend(self.state.columns.to_le_bytes());
        config.extend(self.state.rows.to_le_bytes());
        config.extend(1_u32.to_le_bytes());
        config.extend(0_u32.to_le_bytes());
        config
    }

    fn notify(&mut self, queue: usize, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        match queue {
            queue::RECEIVE => self.deliver(io),
            _ => self.transmit(io),
        }
    }

    fn event(&mut self, event: HostEvent<'_>, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        match event {
            HostEvent::Input(bytes) => {
                let taken = bytes.len().min(self.room_bytes());
                self.state.pending.extend(&bytes[..taken]);
                self.deliver(io)
            }
            HostEvent::Resize { columns, rows } => {
                if (columns, rows) != (self.state.columns, self.state.rows) {
                    (self.state.columns, self.state.rows) = (columns, rows);
                    io.transport.config_changed();
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What was typed stays: it is for whichever driver comes next.
    fn reset(&mut self, _cx: &mut DeviceContext<'_>) {}
}
