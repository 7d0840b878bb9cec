//! Queues of the terminal (virtio 1.2 §5.3.2): characters to and from the guest.

use super::device::Console;
use crate::devices::virtio::Io;
use crate::devices::virtio::queue::{Chain, QueueError};
use crate::io::ConsoleId;
use crate::memory::Ram;

/// Queue of characters to the guest.
pub(super) const RECEIVE: usize = 0;
/// Queue of characters from the guest.
const TRANSMIT: usize = 1;

/// Linux fills a receive queue with whole pages, so a long queue costs guest memory.
pub(super) const SIZES: [u16; 2] = [16, 32];

/// Most bytes in one chain from the guest; Linux sends up to 64 KiB.
const TRANSMIT_BYTES_MAX: u64 = 1 << 20;

impl Console {
    pub(super) fn deliver(&mut self, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        while !self.state.pending.is_empty() {
            let Some(chain) = io.pop(RECEIVE)? else { break };
            let written = fill(&chain, &mut self.state.pending, io.cx.ram)?;
            io.complete(RECEIVE, &chain, written)?;
        }
        Ok(())
    }

    pub(super) fn transmit(&mut self, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        let id: ConsoleId = self.id;
        while let Some(chain) = io.pop(TRANSMIT)? {
            let bytes = gather(&chain, io.cx.ram)?;
            io.cx.emit_console(id, &bytes);
            io.complete(TRANSMIT, &chain, 0)?;
        }
        Ok(())
    }
}

/// Moves as many pending bytes into a chain as fit, and says how many.
pub(in crate::devices::virtio) fn fill(
    chain: &Chain,
    pending: &mut std::collections::VecDeque<u8>,
    ram: &mut Ram,
) -> Result<u32, QueueError> {
    let room = usize::try_from(chain.writable_bytes()).unwrap_or(usize::MAX);
    let bytes: Vec<u8> = pending.iter().copied().take(room).collect();
    chain.write(0, &bytes, ram)?;
    pending.drain(..bytes.len());
    Ok(bytes.len() as u32)
}

/// All bytes a chain brings.
pub(in crate::devices::virtio) fn gather(chain: &Chain, ram: &Ram) -> Result<Vec<u8>, QueueError> {
    let len = chain.readable_bytes();
    if len > TRANSMIT_BYTES_MAX {
        return Err(QueueError::Request("more than 1 MiB written at once"));
    }
    let mut bytes = vec![0; len as usize];
    chain.read(0, &mut bytes, ram)?;
    Ok(bytes)
}
