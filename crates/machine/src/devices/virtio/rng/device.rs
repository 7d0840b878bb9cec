//! The source of randomness: no configuration, one stream.

use super::persist::RngState;
use super::queue;
use crate::devices::DeviceContext;
use crate::devices::virtio::queue::QueueError;
use crate::devices::virtio::{Function, HostEvent, Io};

/// A source of randomness.
pub struct Rng {
    pub(super) state: RngState,
}

impl Rng {
    /// The source of a machine switched on with `seed`.
    pub fn new(seed: u64) -> Self {
        Rng { state: RngState { seed, position: 0 } }
    }

    /// Takes the next bytes from the stream: BLAKE3's extendable output of the seed (8 bytes,
    /// little-endian) in key derivation mode.
    pub(super) fn draw(&mut self, bytes: &mut [u8]) {
        let mut hasher = blake3::Hasher::new_derive_key("stackvm virt-1 virtio rng");
        hasher.update(&self.state.seed.to_le_bytes());
        let mut stream = hasher.finalize_xof();
        stream.set_position(self.state.position);
        stream.fill(bytes);
        self.state.position += bytes.len() as u64;
    }
}

impl Function for Rng {
    fn device_id(&self) -> u32 {
        4
    }

    fn features(&self) -> u64 {
        0
    }

    fn queue_sizes(&self) -> Vec<u16> {
        queue::SIZES.to_vec()
    }

    fn config(&self) -> Vec<u8> {
        Vec::new()
    }

    fn notify(&mut self, _queue: usize, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        self.serve(io)
    }

    fn event(&mut self, event: HostEvent<'_>, _io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        if let HostEvent::Identity { seed } = event {
            self.state = RngState { seed, position: 0 };
        }
        Ok(())
    }

    /// The stream goes on: no driver gets bytes another has had.
    fn reset(&mut self, _cx: &mut DeviceContext<'_>) {}
}
