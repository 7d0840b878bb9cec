//! Physical memory protection (Privileged Architecture §3.7): 16 entries, granularity 4 bytes.

use serde::{Deserialize, Serialize};

use crate::hart::Privilege;
use crate::mmu::Access;

/// Entries implemented; the CSRs of the others read as zero.
pub const ENTRIES: usize = 16;

const READ: u8 = 1;
const WRITE: u8 = 2;
const EXECUTE: u8 = 4;
const LOCKED: u8 = 0x80;
/// Bits of a configuration byte that exist.
const WRITABLE: u8 = 0x9f;
/// `pmpaddr` holds bits 55..2 of an address.
const ADDR_MASK: u64 = (1 << 54) - 1;

/// The protection registers of a hart.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Pmp {
    config: [u8; ENTRIES],
    addr: [u64; ENTRIES],
}

/// What the entries say of a range.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    /// Every byte may be accessed.
    Allowed,
    /// The access fails.
    Denied,
    /// An entry covers part of the range: smaller ranges inside may be judged otherwise.
    Partial,
}

impl Pmp {
    /// One entry that lets every mode do everything: what firmware leaves behind.
    pub fn allow_all() -> Self {
        let mut pmp = Pmp::default();
        pmp.config[0] = READ | WRITE | EXECUTE | (3 << 3);
        pmp.addr[0] = ADDR_MASK;
        pmp
    }

    /// What is impossible in this state, if anything.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let reserved = |c: &u8| c & !WRITABLE != 0 || c & (READ | WRITE) == WRITE;
        if self.config.iter().any(reserved) || self.addr.iter().any(|a| a & !ADDR_MASK != 0) {
            return Err("memory protection that does not exist");
        }
        Ok(())
    }

    /// The eight configuration bytes of `pmpcfg` number `index` (even ones only on RV64).
    pub(crate) fn config_csr(&self, index: usize) -> u64 {
        let mut bytes = [0; 8];
        if let Some(config) = self.config.get(index * 4..index * 4 + 8) {
            bytes.copy_from_slice(config);
        }
        u64::from_le_bytes(bytes)
    }

    /// Writes a configuration CSR; locked bytes keep their value.
    pub(crate) fn set_config_csr(&mut self, index: usize, value: u64) {
        let Some(config) = self.config.get_mut(index * 4..index * 4 + 8) else { return };
        for (old, new) in config.iter_mut().zip(value.to_le_bytes()) {
            if *old & LOCKED != 0 {
                continue;
            }
            let mut new = new & WRITABLE;
            if new & WRITE != 0 && new & READ == 0 {
                // W without R is reserved; the nearest legal value grants neither.
                new &= !WRITE;
            }
            *old = new;
        }
    }

    /// `pmpaddr` number `index`.
    pub(crate) fn addr_csr(&self, index: usize) -> u64 {
        self.addr.get(index).copied().unwrap_or(0)
    }

    /// Writes an address CSR unless its entry, or the next one as its range's end, is locked.
    pub(crate) fn set_addr_csr(&mut self, index: usize, value: u64) {
        let locked = |i: usize| self.config.get(i).is_some_and(|c| c & LOCKED != 0);
        let next_is_locked_range =
            locked(index + 1) && self.config.get(index + 1).is_some_and(|c| c >> 3 & 3 == 1);
        if index < ENTRIES && !locked(index) && !next_is_locked_range {
            self.addr[index] = value & ADDR_MASK;
        }
    }

    /// Judges `len` bytes at `addr`.
    pub(crate) fn check(&self, addr: u64, len: u64, access: Access, mode: Privilege) -> Verdict {
        let last = addr + (len - 1);
        for entry in 0..ENTRIES {
            let Some((low, high)) = self.range(entry) else { continue };
            if last < low || addr > high {
                continue;
            }
            if addr < low || last > high {
                return Verdict::Partial;
            }
            let config = self.config[entry];
            if mode == Privilege::Machine && config & LOCKED == 0 {
                return Verdict::Allowed;
            }
            let needed = match access {
                Access::Load => READ,
                Access::Store => WRITE,
                Access::Fetch => EXECUTE,
            };
            return if config & needed != 0 { Verdict::Allowed } else { Verdict::Denied };
        }
        if mode == Privilege::Machine { Verdict::Allowed } else { Verdict::Denied }
    }

    /// First and last byte an entry covers.
    fn range(&self, entry: usize) -> Option<(u64, u64)> {
        let addr = self.addr[entry];
        match self.config[entry] >> 3 & 3 {
            1 => {
                let low = if entry == 0 { 0 } else { self.addr[entry - 1] << 2 };
                let high = addr << 2;
                (low < high).then(|| (low, high - 1))
            }
            2 => Some((addr << 2, (addr << 2) + 3)),
            3 => {
                let size_log2 = addr.trailing_ones() + 3;
                let mask = (1u64 << size_log2.min(57)) - 1;
                let low = (addr << 2) & !mask;
                Some((low, low + mask))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pmp(entries: &[(u8, u64)]) -> Pmp {
        let mut pmp = Pmp::default();
        for (i, &(config, addr)) in entries.iter().enumerate() {
            pmp.addr[i] = addr;
            pmp.config[i] = config;
        }
        pmp
    }

    #[test]
    fn ranges_judge_accesses() {
        let check = |entries: &[(u8, u64)], mode, access, addr, len, verdict| {
            assert_eq!(
                pmp(entries).check(addr, len, access, mode),
                verdict,
                "{entries:?} {addr:#x}"
            );
        };
        use Privilege::{Machine, User};
        use Verdict::{Allowed, Denied, Partial};
        check(&[], Machine, Access::Load, 0x1000, 8, Allowed);
        check(&[], User, Access::Load, 0x1000, 8, Denied);
        // NAPOT 4 KiB at 0x8000_0000, read and execute.
        let napot = (READ | EXECUTE | 3 << 3, (0x8000_0000 >> 2) | 0x1ff);
        check(&[napot], User, Access::Load, 0x8000_0ff8, 8, Allowed);
        check(&[napot], User, Access::Store, 0x8000_0ff8, 8, Denied);
        check(&[napot], User, Access::Load, 0x8000_0ffc, 8, Partial);
        check(&[napot], Machine, Access::Store, 0x8000_0000, 8, Allowed);
        check(&[(napot.0 | LOCKED, napot.1)], Machine, Access::Store, 0x8000_0000, 8, Denied);
        // TOR from the address before.
        let tor = [(0, 0x1000 >> 2), (READ | 1 << 3, 0x2000 >> 2)];
        check(&tor, User, Access::Load, 0x1ffc, 4, Allowed);
        check(&tor, User, Access::Load, 0x2000, 4, Denied);
        check(&[(READ | 2 << 3, 0x1000 >> 2)], User, Access::Load, 0x1000, 4, Allowed);
        check(&[(7 | 3 << 3, ADDR_MASK)], User, Access::Fetch, u64::MAX >> 9, 1, Allowed);
    }

    #[test]
    fn locked_entries_keep_their_value() {
        let mut pmp = pmp(&[(0, 0x400), (LOCKED | READ | 1 << 3, 0x800)]);
        pmp.set_addr_csr(0, 1);
        pmp.set_addr_csr(1, 1);
        pmp.set_config_csr(0, 0x0707);
        assert_eq!((pmp.addr[0], pmp.addr[1]), (0x400, 0x800));
        assert_eq!(pmp.config_csr(0), 0x8907);
        pmp.set_config_csr(2, u64::from(WRITE));
        assert_eq!(pmp.config_csr(2), 0, "W without R is reserved");
    }
}
