//! The end of a branch's log: how far it is good, in a file of four slots that are overwritten in
//! place. So an idle log does not grow, and an append is two small writes.
//!
//! Two *live* slots are written in turn with each append; what a crash leaves half-written is one of
//! them, and the other is whole. They may reach the disk before what they speak of. Two *safe* slots
//! are written in turn after what they speak of was synced: after a power loss, one of them holds.

use stackvm_machine::Instant;
use stackvm_store::ReadAt;

/// Bytes of a slot.
const SLOT_BYTES: usize = 64;
/// Slots lie in sectors of their own: a torn write hurts one.
const SLOT_SPACING: u64 = 512;
const SLOTS: u64 = 4;
/// Bytes of a tail file.
pub(super) const TAIL_BYTES: u64 = SLOT_SPACING * SLOTS;
const MAGIC: [u8; 8] = *b"SVMTAIL1";

/// How far a log is good.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Tail {
    /// Grows with each write.
    pub(super) sequence: u64,
    /// Where the last block begins, with its header, which is not written yet.
    pub(super) block_start: u64,
    /// Bytes of its entries.
    pub(super) bytes: u32,
    /// Their CRC-32.
    pub(super) crc: u32,
    /// How many they are.
    pub(super) entries: u32,
    /// When the first one was.
    pub(super) first_at: Instant,
    /// Entries of the branch before this block.
    pub(super) first_entry: u64,
    /// How far the machine was shown.
    pub(super) reached: Instant,
}

impl Tail {
    /// Number of the branch's entries.
    pub(super) fn count(&self) -> u64 {
        self.first_entry + u64::from(self.entries)
    }

    /// Where its live slot is.
    pub(super) fn live_offset(&self) -> u64 {
        self.sequence % 2 * SLOT_SPACING
    }

    /// Where the `n`-th safe slot written is.
    pub(super) fn safe_offset(n: u64) -> u64 {
        (2 + n % 2) * SLOT_SPACING
    }

    pub(super) fn to_slot(self) -> [u8; SLOT_BYTES] {
        let mut slot = [0; SLOT_BYTES];
        slot[4..8].copy_from_slice(&self.crc.to_le_bytes());
        slot[8..16].copy_from_slice(&self.sequence.to_le_bytes());
        slot[16..24].copy_from_slice(&self.block_start.to_le_bytes());
        slot[24..28].copy_from_slice(&self.bytes.to_le_bytes());
        slot[28..32].copy_from_slice(&self.entries.to_le_bytes());
        slot[32..40].copy_from_slice(&self.first_at.ticks().to_le_bytes());
        slot[40..48].copy_from_slice(&self.first_entry.to_le_bytes());
        slot[48..56].copy_from_slice(&self.reached.ticks().to_le_bytes());
        slot[56..].copy_from_slice(&MAGIC);
        let crc = crc32fast::hash(&slot[4..]);
        slot[..4].copy_from_slice(&crc.to_le_bytes());
        slot
    }

    fn from_slot(slot: &[u8; SLOT_BYTES]) -> Option<Tail> {
        let word = |at: usize| u32::from_le_bytes(slot[at..at + 4].try_into().expect("4 bytes"));
        let long = |at: usize| u64::from_le_bytes(slot[at..at + 8].try_into().expect("8 bytes"));
        if slot[56..] != MAGIC || word(0) != crc32fast::hash(&slot[4..]) {
            return None;
        }
        let tail = Tail {
            crc: word(4),
            sequence: long(8),
            block_start: long(16),
            bytes: word(24),
            entries: word(28),
            first_at: Instant::from_ticks(long(32)),
            first_entry: long(40),
            reached: Instant::from_ticks(long(48)),
        };
        // What follows adds these up.
        let small = tail.block_start < 1 << 60 && tail.first_entry < 1 << 60;
        (small && tail.entries <= tail.bytes).then_some(tail)
    }

    /// The slots of a tail file that are whole, the latest first, and where the next safe slot
    /// belongs so that the best one there is stays.
    pub(super) fn read(file: &dyn ReadAt) -> (Vec<Tail>, u64) {
        let mut found = Vec::new();
        for n in 0..SLOTS {
            let mut slot = [0; SLOT_BYTES];
            let read = file.read_at(n * SLOT_SPACING, &mut slot);
            if let Some(tail) = read.ok().and_then(|()| Tail::from_slot(&slot)) {
                found.push((n, tail));
            }
        }
        let best_safe = found.iter().filter(|(n, _)| *n >= 2).max_by_key(|(_, t)| t.sequence);
        let next_safe = best_safe.map_or(0, |(n, _)| n + 1);
        found.sort_by_key(|(_, tail)| std::cmp::Reverse(tail.sequence));
        (found.into_iter().map(|(_, tail)| tail).collect(), next_safe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_slot_is_no_slot() {
        let tail = Tail { sequence: 7, bytes: 100, entries: 3, ..Tail::default() };
        let slot = tail.to_slot();
        assert_eq!(Tail::from_slot(&slot), Some(tail));
        for bit in 0..SLOT_BYTES * 8 {
            let mut slot = slot;
            slot[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Tail::from_slot(&slot), None, "bit {bit}");
        }
    }

    #[test]
    fn the_latest_slot_comes_first_and_the_best_safe_one_is_not_overwritten() {
        let mut file = vec![0; TAIL_BYTES as usize];
        let mut put = |offset: u64, sequence| {
            let slot = Tail { sequence, ..Tail::default() }.to_slot();
            file[offset as usize..][..SLOT_BYTES].copy_from_slice(&slot);
        };
        put(0, 10);
        put(512, 11);
        put(Tail::safe_offset(0), 4);
        put(Tail::safe_offset(1), 8);
        let (found, next_safe) = Tail::read(&file);
        assert_eq!(found.iter().map(|t| t.sequence).collect::<Vec<_>>(), [11, 10, 8, 4]);
        assert_eq!(Tail::safe_offset(next_safe), Tail::safe_offset(0));
    }
}
