//! `struct fw_dynamic_info`, by which the stage before tells dynamic firmware what to start next
//! (OpenSBI docs/firmware/fw_dynamic.md).

/// Length of the structure.
pub(super) const BYTES: usize = 48;

const MAGIC: u64 = 0x4942_534f;
const VERSION: u64 = 2;
/// The supervisor mode's encoding (Priv. spec §1.2).
const NEXT_MODE_SUPERVISOR: u64 = 1;

/// The structure for a kernel at `next_addr` (0 if there is none), entered in S-mode; hart 0 boots.
pub(super) fn encode(next_addr: u64) -> [u8; BYTES] {
    const OPTIONS: u64 = 0;
    const BOOT_HART: u64 = 0;
    let fields = [MAGIC, VERSION, next_addr, NEXT_MODE_SUPERVISOR, OPTIONS, BOOT_HART];
    let mut bytes = [0; BYTES];
    for (slot, field) in bytes.chunks_exact_mut(8).zip(fields) {
        slot.copy_from_slice(&field.to_le_bytes());
    }
    bytes
}
