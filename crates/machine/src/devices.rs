//! The devices of the board. Every one has the same faces: configuration, register and queue
//! handling, saved state (`Serialize`/`Deserialize` plus `validate`), tests.

pub mod disk;

use crate::instant::Instant;
use crate::io::Output;
use crate::memory::Ram;

/// What a device may touch while it handles a register access or an event.
pub struct DeviceContext<'a> {
    /// Guest memory.
    pub ram: &'a mut Ram,
    /// The instant of the access.
    pub now: Instant,
    /// Where outputs go.
    pub outputs: &'a mut Vec<Output>,
}
