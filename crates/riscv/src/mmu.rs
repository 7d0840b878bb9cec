//! Address translation: Sv39 and Sv48 page walks with hardware A and D bits (Privileged
//! Architecture §12.3 to 12.5, Svadu), and physical memory protection.

use crate::bus::{Bus, PAGE_BYTES, PAGE_SHIFT, RAM_BASE, RamPage};
use crate::csr::{envcfg, mstatus};
use crate::engine::{Engine, StoreKind, page_flag};
use crate::hart::{Hart, Privilege};
use crate::pmp::Verdict;
use crate::tlb::Context;
use crate::trap::{Cause, Exception};

/// What an access is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    Load,
    Store,
    Fetch,
}

impl Access {
    fn page_fault(self, va: u64) -> Exception {
        let cause = match self {
            Access::Load => Cause::LoadPage,
            Access::Store => Cause::StorePage,
            Access::Fetch => Cause::InstructionPage,
        };
        Exception::new(cause, va)
    }

    pub(crate) fn access_fault(self, va: u64) -> Exception {
        let cause = match self {
            Access::Load => Cause::LoadAccess,
            Access::Store => Cause::StoreAccess,
            Access::Fetch => Cause::InstructionAccess,
        };
        Exception::new(cause, va)
    }

    pub(crate) fn misaligned(self, va: u64) -> Exception {
        let cause = match self {
            Access::Load => Cause::LoadMisaligned,
            Access::Store => Cause::StoreMisaligned,
            Access::Fetch => Cause::InstructionMisaligned,
        };
        Exception::new(cause, va)
    }
}

pub(crate) mod pte {
    pub(crate) const VALID: u64 = 1 << 0;
    pub(super) const READ: u64 = 1 << 1;
    pub(super) const WRITE: u64 = 1 << 2;
    pub(crate) const EXECUTE: u64 = 1 << 3;
    pub(super) const USER: u64 = 1 << 4;
    pub(super) const ACCESSED: u64 = 1 << 6;
    pub(super) const DIRTY: u64 = 1 << 7;
    pub(super) const PPN_SHIFT: u32 = 10;
    pub(super) const PPN: u64 = (1 << 44) - 1;
    /// Reserved bits and the extensions this hart lacks (Svnapot, Svpbmt).
    pub(super) const RESERVED: u64 = 0xffc0_0000_0000_0000;
}

impl Hart {
    /// The privilege that loads and stores have (`mstatus.MPRV`).
    pub(crate) fn data_mode(&self) -> Privilege {
        let status = self.csr.mstatus;
        if status & mstatus::MPRV != 0 && self.mode == Privilege::Machine {
            Privilege::from_bits(status >> mstatus::MPP_SHIFT)
        } else {
            self.mode
        }
    }

    /// The translations that loads and stores use.
    pub(crate) fn data_context(&self) -> Context {
        match self.data_mode() {
            Privilege::User => Context::User,
            Privilege::Machine => Context::Machine,
            Privilege::Supervisor if self.csr.mstatus & mstatus::SUM != 0 => Context::SupervisorSum,
            Privilege::Supervisor => Context::Supervisor,
        }
    }

    /// The translations that fetches use.
    pub(crate) fn fetch_context(&self) -> Context {
        match self.mode {
            Privilege::User => Context::User,
            Privilege::Supervisor => Context::Supervisor,
            Privilege::Machine => Context::Machine,
        }
    }
}

/// The page of RAM that holds a physical address.
pub(crate) fn ram_page(pa: u64, ram_pages: u32) -> Option<RamPage> {
    let page = pa.wrapping_sub(RAM_BASE) >> PAGE_SHIFT;
    (page < u64::from(ram_pages)).then_some(RamPage(page as u32))
}

impl Engine {
    /// Translates `va` and checks protection for `len` bytes, which do not cross a page.
    pub(crate) fn translate<B: Bus>(
        &mut self,
        hart: &Hart,
        bus: &mut B,
        va: u64,
        len: u64,
        access: Access,
    ) -> Result<u64, Exception> {
        let mode = if access == Access::Fetch { hart.mode } else { hart.data_mode() };
        let pa = match hart.csr.satp >> 60 {
            _ if mode == Privilege::Machine => va,
            8 => self.walk(hart, bus, va, access, mode, 3)?,
            9 => self.walk(hart, bus, va, access, mode, 4)?,
            _ => va,
        };
        if pa.checked_add(len - 1).is_none()
            || hart.pmp.check(pa, len, access, mode) != Verdict::Allowed
        {
            return Err(access.access_fault(va));
        }
        Ok(pa)
    }

    /// The physical address of the aligned eight bytes at `va`, if `hart` may load them: for
    /// firmware that takes an argument from a supervisor's memory.
    pub fn translate_load<B: Bus>(&mut self, hart: &Hart, bus: &mut B, va: u64) -> Option<u64> {
        if !va.is_multiple_of(8) {
            return None;
        }
        self.translate(hart, bus, va, 8, Access::Load).ok()
    }

    /// Whether protection says the same of the whole page, so that it can be cached.
    pub(crate) fn page_is_uniform(hart: &Hart, pa: u64, access: Access) -> bool {
        let mode = if access == Access::Fetch { hart.mode } else { hart.data_mode() };
        let page = pa & !(PAGE_BYTES - 1);
        hart.pmp.check(page, PAGE_BYTES, access, mode) == Verdict::Allowed
    }

    fn walk<B: Bus>(
        &mut self,
        hart: &Hart,
        bus: &mut B,
        va: u64,
        access: Access,
        mode: Privilege,
        levels: u32,
    ) -> Result<u64, Exception> {
        let va_bits = 12 + 9 * levels;
        if (va as i64) << (64 - va_bits) >> (64 - va_bits) != va as i64 {
            return Err(access.page_fault(va));
        }
        let mut table = (hart.csr.satp & pte::PPN) << PAGE_SHIFT;
        for level in (0..levels).rev() {
            let shift = 12 + 9 * level;
            let entry_addr = table + (va >> shift & 511) * 8;
            let entry =
                self.read_pte(hart, bus, entry_addr, level).ok_or(access.access_fault(va))?;
            let rwx = entry & (pte::READ | pte::WRITE | pte::EXECUTE);
            if entry & pte::VALID == 0
                || entry & pte::RESERVED != 0
                || rwx & (pte::READ | pte::WRITE) == pte::WRITE
            {
                return Err(access.page_fault(va));
            }
            let target = (entry >> pte::PPN_SHIFT & pte::PPN) << PAGE_SHIFT;
            if rwx == 0 {
                if entry & (pte::ACCESSED | pte::DIRTY | pte::USER) != 0 {
                    return Err(access.page_fault(va));
                }
                table = target;
                continue;
            }
            let offset_mask = (1 << shift) - 1;
            if target & offset_mask != 0 || !leaf_allows(hart, entry, access, mode) {
                return Err(access.page_fault(va));
            }
            self.mark_used(hart, bus, entry_addr, entry, access, va)?;
            return Ok(target | va & offset_mask);
        }
        Err(access.page_fault(va))
    }

    /// Reads a page-table entry and has its page watched: from now on a store to it drops the
    /// translations made from it.
    fn read_pte<B: Bus>(&mut self, hart: &Hart, bus: &mut B, addr: u64, level: u32) -> Option<u64> {
        let allowed = hart.pmp.check(addr, 8, Access::Load, Privilege::Supervisor);
        let page = ram_page(addr, bus.ram_pages()).filter(|_| allowed == Verdict::Allowed)?;
        self.watch(page, page_flag::TABLE);
        if level != 0 {
            self.note_upper_table(page);
        }
        Some(self.read_ram(bus, addr))
    }

    /// Sets A, and D for a store. Without Svadu the guest's handler has to (Svade).
    fn mark_used<B: Bus>(
        &mut self,
        hart: &Hart,
        bus: &mut B,
        addr: u64,
        entry: u64,
        access: Access,
        va: u64,
    ) -> Result<(), Exception> {
        let dirty = if access == Access::Store { pte::DIRTY } else { 0 };
        let used = entry | pte::ACCESSED | dirty;
        if used == entry {
            return Ok(());
        }
        if hart.csr.menvcfg & envcfg::ADUE == 0 {
            return Err(access.page_fault(va));
        }
        if hart.pmp.check(addr, 8, Access::Store, Privilege::Supervisor) != Verdict::Allowed {
            return Err(access.access_fault(va));
        }
        self.store_ram(bus, addr, 8, used, StoreKind::AccessedOrDirty);
        Ok(())
    }
}

fn leaf_allows(hart: &Hart, entry: u64, access: Access, mode: Privilege) -> bool {
    let status = hart.csr.mstatus;
    let user_page = entry & pte::USER != 0;
    let by_mode = match mode {
        Privilege::User => user_page,
        _ => !user_page || (status & mstatus::SUM != 0 && access != Access::Fetch),
    };
    let readable = if status & mstatus::MXR != 0 { pte::READ | pte::EXECUTE } else { pte::READ };
    let by_kind = match access {
        Access::Load => entry & readable != 0,
        Access::Store => entry & pte::WRITE != 0,
        Access::Fetch => entry & pte::EXECUTE != 0,
    };
    by_mode && by_kind
}

#[cfg(test)]
mod tests;
