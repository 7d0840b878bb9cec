//! What the fuzz target and its bounded sibling do with arbitrary bytes: no panic, bounded memory.

use std::sync::Arc;

use super::index::{MAGIC, TRAILER_BYTES, VERSION};
use super::{Pack, PackSet};
use crate::chunks::Chunks;

/// Reads `input` as a pack and every chunk that it names. To get past the hash of the index, it is
/// put right first.
pub fn read(input: &[u8]) {
    let mut bytes = input.to_vec();
    for _ in 0..2 {
        if let Ok(pack) = Pack::open("input", Arc::new(bytes.clone())) {
            let ids = pack.ids().to_vec();
            let set = PackSet::new();
            set.add(pack);
            let _ = set.bases_of(0);
            for id in ids {
                // Refusing is as good as reading.
                let _ = (set.get(&id), set.difference_depth(&id));
            }
        }
        put_right(&mut bytes);
    }
}

/// Makes magic numbers, versions and the index's hash fit.
fn put_right(bytes: &mut [u8]) {
    let len = bytes.len();
    if len < 16 + TRAILER_BYTES as usize {
        return;
    }
    bytes[..12].copy_from_slice(MAGIC);
    bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
    bytes[len - 12..].copy_from_slice(MAGIC);
    bytes[len - 16..len - 12].copy_from_slice(&VERSION.to_le_bytes());
    let at = len - TRAILER_BYTES as usize;
    let table_at = u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    let Some(start) = usize::try_from(table_at).ok().filter(|&start| start <= at) else { return };
    let hash = *blake3::hash(&bytes[start..at + 32]).as_bytes();
    bytes[at + 32..at + 64].copy_from_slice(&hash);
}
