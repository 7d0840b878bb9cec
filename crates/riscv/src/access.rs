//! Loads and stores that the TLB does not answer: misses, misaligned and page-crossing accesses,
//! device registers, watched pages.
#![expect(unsafe_code, reason = "guest memory is reached through host addresses")]

use crate::bus::{Bus, PAGE_BYTES, RamPage};
use crate::engine::{Engine, StoreKind};
use crate::mmu::{Access, ram_page};
use crate::run::{Exit, Runner};
use crate::tlb::Tables;
use crate::trap::Exception;

const OFFSET: u64 = PAGE_BYTES - 1;

/// Where a store of an instruction goes.
pub(crate) enum Target {
    /// An unwatched page of RAM: the host address of the first byte.
    Host(*mut u8),
    /// A watched page of RAM: the physical address.
    Watched(u64),
    /// A device: the physical address.
    Device(u64),
}

impl<B: Bus> Runner<'_, B> {
    /// Loads `size` bytes, zero-extended; `left` steps were left before the instruction.
    #[inline(never)]
    pub(crate) fn load(&mut self, va: u64, size: u8, left: i64) -> Result<u64, Exception> {
        let len = u64::from(size);
        if (va & OFFSET) + len > PAGE_BYTES {
            return self.load_crossing(va, len);
        }
        if let Some(host) = self.read_address(va, len)? {
            let mut bytes = [0; 8];
            // SAFETY: `len` bytes at `host` are inside a live page, as the sum above shows.
            unsafe { std::ptr::copy_nonoverlapping(host, bytes.as_mut_ptr(), usize::from(size)) };
            return Ok(u64::from_le_bytes(bytes));
        }
        if !va.is_multiple_of(len) {
            return Err(Access::Load.misaligned(va));
        }
        let pa = self.engine.translate(self.hart, self.bus, va, len, Access::Load)?;
        self.exit = Some(Exit::Devices);
        self.bus.load(pa, size, self.now_ticks(left)).map_err(|_| Access::Load.access_fault(va))
    }

    /// Stores the low `size` bytes of `value`; `left` as for [`Runner::load`].
    #[inline(never)]
    pub(crate) fn store(
        &mut self,
        va: u64,
        size: u8,
        value: u64,
        left: i64,
    ) -> Result<(), Exception> {
        let len = u64::from(size);
        if (va & OFFSET) + len > PAGE_BYTES {
            return self.store_crossing(va, len, value);
        }
        match self.store_target(va, len)? {
            Target::Host(host) => {
                let bytes = value.to_le_bytes();
                // SAFETY: `len` bytes at `host` are inside an unshared live page.
                unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), host, usize::from(size)) };
                Ok(())
            }
            Target::Watched(pa) => {
                self.engine.store_ram(self.bus, pa, size, value, StoreKind::Instruction);
                Ok(())
            }
            Target::Device(_) if !va.is_multiple_of(len) => Err(Access::Store.misaligned(va)),
            Target::Device(pa) => {
                self.exit = Some(Exit::Devices);
                self.bus
                    .store(pa, size, value, self.now_ticks(left))
                    .map_err(|_| Access::Store.access_fault(va))
            }
        }
    }

    /// Host address of `len` bytes of RAM for reading, which do not cross a page; `None` for
    /// devices.
    pub(crate) fn read_address(
        &mut self,
        va: u64,
        len: u64,
    ) -> Result<Option<*const u8>, Exception> {
        let context = self.hart.data_context();
        let tables = self.engine.tlbs[self.index].tables(context);
        let cached = tables.read[Tables::data_index(va)];
        if cached.tag == va & !OFFSET {
            return Ok(Some(cached.addend.wrapping_add(va) as *const u8));
        }
        let pa = self.engine.translate(self.hart, self.bus, va, len, Access::Load)?;
        let Some(page) = ram_page(pa, self.bus.ram_pages()) else { return Ok(None) };
        let host = self.bus.page(page);
        if Engine::page_is_uniform(self.hart, pa, Access::Load) {
            let place = self.engine.tlbs[self.index].place(context, va);
            self.engine.note_cached(page, self.index, place);
            self.engine.tlbs[self.index].tables(context).insert_read(va, page, host);
        }
        // SAFETY: an offset into the page.
        Ok(Some(unsafe { host.add((pa & OFFSET) as usize) }))
    }

    /// Where a store of `len` bytes goes, which do not cross a page.
    pub(crate) fn store_target(&mut self, va: u64, len: u64) -> Result<Target, Exception> {
        let context = self.hart.data_context();
        let tables = self.engine.tlbs[self.index].tables(context);
        let cached = tables.write[Tables::data_index(va)];
        if cached.tag == va & !OFFSET {
            return Ok(Target::Host(cached.addend.wrapping_add(va) as *mut u8));
        }
        let pa = self.engine.translate(self.hart, self.bus, va, len, Access::Store)?;
        let Some(page) = ram_page(pa, self.bus.ram_pages()) else { return Ok(Target::Device(pa)) };
        if self.engine.is_watched(page) {
            return Ok(Target::Watched(pa));
        }
        let host = self.engine.page_mut(self.bus, page);
        if Engine::page_is_uniform(self.hart, pa, Access::Store) {
            let place = self.engine.tlbs[self.index].place(context, va);
            self.engine.note_cached(page, self.index, place);
            self.engine.tlbs[self.index].tables(context).insert_write(va, page, host);
        }
        // SAFETY: an offset into the page.
        Ok(Target::Host(unsafe { host.add((pa & OFFSET) as usize) }))
    }

    /// The RAM on both sides of a page boundary that `len` bytes at `va` touch: physical address
    /// and length of each part. Both are checked before anything happens.
    fn split(&mut self, va: u64, len: u64, access: Access) -> Result<[(u64, u64); 2], Exception> {
        let first = PAGE_BYTES - (va & OFFSET);
        let parts = [(va, first), (va.wrapping_add(first), len - first)];
        let mut split = [(0, 0); 2];
        for (part, (va_part, len_part)) in split.iter_mut().zip(parts) {
            let pa = self.engine.translate(self.hart, self.bus, va_part, len_part, access)?;
            if ram_page(pa, self.bus.ram_pages()).is_none() {
                return Err(access.misaligned(va));
            }
            *part = (pa, len_part);
        }
        Ok(split)
    }

    fn load_crossing(&mut self, va: u64, len: u64) -> Result<u64, Exception> {
        let mut bytes = [0; 8];
        let mut filled = 0;
        for (pa, len) in self.split(va, len, Access::Load)? {
            let page = self.page_of(pa);
            // SAFETY: `split` cut at the page boundary; the bus gives a readable page.
            let host = unsafe { self.bus.page(page).add((pa & OFFSET) as usize) };
            for i in 0..len as usize {
                // SAFETY: inside the page, as above.
                bytes[filled + i] = unsafe { *host.add(i) };
            }
            filled += len as usize;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    fn store_crossing(&mut self, va: u64, len: u64, value: u64) -> Result<(), Exception> {
        let [(first, first_len), (second, second_len)] = self.split(va, len, Access::Store)?;
        let kind = StoreKind::Instruction;
        self.engine.store_ram(self.bus, first, first_len as u8, value, kind);
        let rest = value >> (8 * first_len);
        self.engine.store_ram(self.bus, second, second_len as u8, rest, kind);
        Ok(())
    }

    fn page_of(&self, pa: u64) -> RamPage {
        ram_page(pa, self.bus.ram_pages()).expect("split() looked")
    }
}

#[cfg(test)]
mod tests;
