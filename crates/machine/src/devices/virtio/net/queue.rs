//! Queues of the interface (virtio 1.2 §5.1.6): frames behind a header nobody needs.

use super::device::Net;
use crate::config::limits::FRAME_BYTES_MAX;
use crate::devices::virtio::Io;
use crate::devices::virtio::queue::QueueError;
use crate::devices::virtio::transport::FEATURE_VERSION_1;
use crate::io::Output;

/// Queue of frames to the guest.
pub(super) const RECEIVE: usize = 0;
/// Queue of frames from the guest.
const TRANSMIT: usize = 1;

pub(super) const SIZES: [u16; 2] = [256, 256];

/// `struct virtio_net_hdr`.
const HEADER_BYTES: u64 = 12;
/// The same without `num_buffers`, for drivers that did not accept `VIRTIO_F_VERSION_1`.
const HEADER_BYTES_LEGACY: u64 = 10;

impl Net {
    pub(super) fn deliver(&mut self, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        let header_bytes = header_bytes(io);
        while let Some(frame) = self.state.pending.front() {
            let Some(chain) = io.pop(RECEIVE)? else { break };
            let needed = header_bytes + frame.len() as u64;
            if chain.writable_bytes() < needed {
                // The frame is lost, as on a real interface; the buffer waits for a smaller one.
                io.transport.undo_pop(RECEIVE);
                self.state.pending.pop_front();
                continue;
            }
            let mut header = [0; HEADER_BYTES as usize];
            // `num_buffers` is 1 without mergeable buffers (§5.1.6.4.1).
            header[10] = 1;
            chain.write(0, &header[..header_bytes as usize], io.cx.ram)?;
            chain.write(header_bytes, frame, io.cx.ram)?;
            self.state.pending.pop_front();
            io.complete(RECEIVE, &chain, needed as u32)?;
        }
        Ok(())
    }

    pub(super) fn transmit(&mut self, io: &mut Io<'_, '_>) -> Result<(), QueueError> {
        let header_bytes = header_bytes(io);
        while let Some(chain) = io.pop(TRANSMIT)? {
            let Some(len) = chain.readable_bytes().checked_sub(header_bytes) else {
                return Err(QueueError::Request("a frame shorter than its header"));
            };
            if (1..=FRAME_BYTES_MAX as u64).contains(&len) {
                let mut bytes = vec![0; len as usize];
                chain.read(header_bytes, &mut bytes, io.cx.ram)?;
                io.cx.outputs.push(Output::Frame { nic: self.id, bytes });
            }
            io.complete(TRANSMIT, &chain, 0)?;
        }
        Ok(())
    }
}

fn header_bytes(io: &Io<'_, '_>) -> u64 {
    if io.transport.negotiated(FEATURE_VERSION_1) { HEADER_BYTES } else { HEADER_BYTES_LEGACY }
}
