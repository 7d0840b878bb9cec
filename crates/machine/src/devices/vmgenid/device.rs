//! The 16 read-only bytes.

use super::persist::VmgenidState;
use crate::devices::{Device, DeviceContext, read_bytes};

/// Bytes of an id.
pub(super) const ID_BYTES: usize = 16;

/// The generation id.
pub struct Vmgenid {
    pub(super) state: VmgenidState,
}

impl Vmgenid {
    /// The id of a machine switched on with `seed`.
    pub fn new(seed: u64) -> Self {
        Vmgenid { state: VmgenidState { id: derive(seed), edge: false } }
    }

    /// Takes a new id, derived from `seed`, and makes an interrupt edge.
    pub fn set_identity(&mut self, seed: u64) {
        self.state.id = derive(seed);
        self.state.edge = true;
    }

    /// Takes the interrupt edge, if there is one: the board passes it to the PLIC.
    pub fn take_edge(&mut self) -> bool {
        std::mem::take(&mut self.state.edge)
    }
}

impl Device for Vmgenid {
    fn read(&mut self, offset: u64, size: u8, _cx: &mut DeviceContext<'_>) -> u64 {
        read_bytes(&self.state.id, offset, size)
    }

    fn write(&mut self, _offset: u64, _size: u8, _value: u64, _cx: &mut DeviceContext<'_>) {}
}

/// The first 16 bytes of BLAKE3's key derivation from the seed (8 bytes, little-endian).
fn derive(seed: u64) -> [u8; ID_BYTES] {
    let key = blake3::derive_key("stackvm virt-1 vmgenid", &seed.to_le_bytes());
    let mut id = [0; ID_BYTES];
    id.copy_from_slice(&key[..ID_BYTES]);
    id
}
