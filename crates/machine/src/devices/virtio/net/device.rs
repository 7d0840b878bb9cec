//! Configuration of the interface (virtio 1.2 §5.1.4).

use super::persist::NetState;
use super::queue;
use crate::devices::DeviceContext;
use crate::devices::virtio::queue::QueueError;
use crate::devices::virtio::{Function, HostEvent, Io};
use crate::io::NicId;

const FEATURE_MAC: u64 = 1 << 5;
const FEATURE_STATUS: u64 = 1 << 16;
const STATUS_LINK_UP: u16 = 1;

/// A network interface.
pub struct Net {
    pub(super) id: NicId,
    pub(super) state: NetState,
}

impl Net {
    /// The interface `id` of a machine switched on with `seed`.
    pub fn new(id: NicId, seed: u64) -> Self {
        Net { id, state: NetState::new(derive_mac(seed, id)) }
    }

    /// The interface's address.
    pub fn mac(&self) -> [u8; 6] {
        self.state.mac
    }
}

impl Function for Net {
    fn device_id(&self) -> u32 {
        1
    }

    fn features(&self) -> u64 {
        FEATURE_MAC | FEATURE_STATUS
    }

    fn queue_sizes(&self) -> Vec<u16> {
        queue::SIZES.to_vec()
    }

    fn config(&self) -> Vec<u8> {
        let mut config = self.state.mac.to_vec();
        config.extend(STATUS_LINK_UP.to_le_bytes());
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
            HostEvent::Frame(bytes) => {
                self.state.accept(bytes);
                self.deliver(io)
            }
            HostEvent::Identity { seed } => {
                self.state.mac = derive_mac(seed, self.id);
                io.transport.config_changed();
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Frames that waited were for the driver that is gone.
    fn reset(&mut self, _cx: &mut DeviceContext<'_>) {
        self.state.pending.clear();
    }
}

/// The first six bytes of BLAKE3's key derivation from seed (8 bytes, little-endian) and interface
/// number (1 byte), made a locally administered unicast address.
fn derive_mac(seed: u64, nic: NicId) -> [u8; 6] {
    let mut material = seed.to_le_bytes().to_vec();
    material.push(nic.0);
    let [a, b, c, d, e, f, ..] = blake3::derive_key("stackvm virt-1 nic mac", &material);
    [(a & 0xfc) | 0x02, b, c, d, e, f]
}
