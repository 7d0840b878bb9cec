//! The queue of requests for randomness (virtio 1.2 §5.4.6).

use super::device::Rng;
use crate::devices::virtio::Io;
use crate::devices::virtio::queue::QueueError;

const QUEUE: usize = 0;

pub(super) const SIZES: [u16; 1] = [16];

/// Most bytes given at once; the driver asks again.
const REQUEST_BYTES_MAX: u64 = 4096;

impl Rng {
    pub(super) fn serve(&mut self, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        while let Some(chain) = io.pop(QUEUE)? {
            let len = chain.writable_bytes().min(REQUEST_BYTES_MAX);
            let mut bytes = vec![0; len as usize];
            self.draw(&mut bytes);
            chain.write(0, &bytes, io.cx.ram)?;
            io.complete(QUEUE, &chain, len as u32)?;
        }
        Ok(())
    }
}
