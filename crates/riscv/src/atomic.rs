//! LR, SC and AMOs (Unprivileged ISA, chapter 13), and cache-block operations.
#![expect(unsafe_code, reason = "guest memory is reached through host addresses")]

use crate::access::Target;
use crate::bus::Bus;
use crate::csr::{envcfg, mstatus};
use crate::engine::StoreKind;
use crate::hart::{Privilege, Reservation};
use crate::int;
use crate::mmu::{Access, ram_page};
use crate::op::{Code, Op};
use crate::run::Runner;
use crate::trap::{Cause, Exception};

/// Bytes that CBO instructions work on.
const CACHE_BLOCK_BYTES: u64 = 64;

impl<B: Bus> Runner<'_, B> {
    /// Everything that touches memory beside plain integer loads and stores, and floating point.
    #[inline(never)]
    pub(crate) fn memory_or_float(&mut self, op: Op, left: i64) -> Result<(), Exception> {
        use Code::*;
        let va = self.hart.x[usize::from(op.rs1)];
        match op.code {
            LrW => self.load_reserved(op, va, 4),
            LrD => self.load_reserved(op, va, 8),
            ScW => self.store_conditional(op, va, 4),
            ScD => self.store_conditional(op, va, 8),
            AmoW => self.amo(op, va, 4),
            AmoD => self.amo(op, va, 8),
            CboZero => self.cbo_zero(va),
            CboInval | CboClean | CboFlush => self.cbo_manage(op.code, va),
            Flw | Fld | Fsw | Fsd => self.float_memory(op, va, left),
            _ => self.float(op),
        }
    }

    fn float_memory(&mut self, op: Op, base: u64, left: i64) -> Result<(), Exception> {
        if self.hart.csr.mstatus & mstatus::FS == 0 {
            return Err(Exception::new(Cause::IllegalInstruction, 0));
        }
        let va = base.wrapping_add(op.imm as u64);
        match op.code {
            Code::Flw => {
                let value = self.load(va, 4, left)?;
                self.hart.f[usize::from(op.rd)] = 0xffff_ffff_0000_0000 | value;
            }
            Code::Fld => self.hart.f[usize::from(op.rd)] = self.load(va, 8, left)?,
            Code::Fsw => return self.store(va, 4, self.hart.f[usize::from(op.rs2)], left),
            _ => return self.store(va, 8, self.hart.f[usize::from(op.rs2)], left),
        }
        self.hart.csr.mstatus |= mstatus::FS;
        Ok(())
    }

    fn load_reserved(&mut self, op: Op, va: u64, size: u8) -> Result<(), Exception> {
        if !va.is_multiple_of(size.into()) {
            return Err(Access::Load.misaligned(va));
        }
        let pa = self.reserved_pa(va, size)?;
        let value = self.engine.read_ram(self.bus, pa);
        let value = if size == 4 { value >> (8 * (pa & 4)) & 0xffff_ffff } else { value };
        self.hart.reservation = Some(Reservation { addr: pa, size, value });
        self.set_integer(op.rd, if size == 4 { int::sext(value) } else { value });
        Ok(())
    }

    /// The physical address in RAM that an LR reads.
    fn reserved_pa(&mut self, va: u64, size: u8) -> Result<u64, Exception> {
        let context = self.hart.data_context();
        if let Some(pa) = self.engine.tlbs[self.index].tables(context).read_pa(va) {
            return Ok(pa);
        }
        // Fills the entry.
        if self.read_address(va, size.into())?.is_none() {
            return Err(Access::Load.access_fault(va));
        }
        self.engine.translate(self.hart, self.bus, va, size.into(), Access::Load)
    }

    fn store_conditional(&mut self, op: Op, va: u64, size: u8) -> Result<(), Exception> {
        if !va.is_multiple_of(size.into()) {
            return Err(Access::Store.misaligned(va));
        }
        let Some(reserved) = self.hart.reservation else {
            self.set_integer(op.rd, 1);
            return Ok(());
        };
        let context = self.hart.data_context();
        let pa = match self.engine.tlbs[self.index].tables(context).write_pa(va) {
            Some(pa) => pa,
            None => self.engine.translate(self.hart, self.bus, va, size.into(), Access::Store)?,
        };
        self.hart.reservation = None;
        // LR reserves RAM alone, but a restored reservation may name anything.
        let in_ram = ram_page(pa, self.bus.ram_pages()).is_some();
        let mut fails = reserved.addr != pa || reserved.size != size || !in_ram;
        if !fails {
            let now = self.engine.read_ram(self.bus, pa);
            let now = if size == 4 { now >> (8 * (pa & 4)) & 0xffff_ffff } else { now };
            fails = now != reserved.value;
        }
        if !fails {
            let value = self.hart.x[usize::from(op.rs2)];
            self.engine.store_ram(self.bus, pa, size, value, StoreKind::Instruction);
        }
        self.set_integer(op.rd, fails.into());
        Ok(())
    }

    fn amo(&mut self, op: Op, va: u64, size: u8) -> Result<(), Exception> {
        if !va.is_multiple_of(size.into()) {
            return Err(Access::Store.misaligned(va));
        }
        let operand = self.hart.x[usize::from(op.rs2)];
        let old = match self.store_target(va, size.into())? {
            Target::Host(host) if size == 4 => {
                let host = host.cast::<u32>();
                // SAFETY: four aligned bytes of an unshared live page.
                unsafe {
                    let old = u32::from_le(*host);
                    *host = (combine_32(op.imm, old, operand as u32)).to_le();
                    old as i32 as u64
                }
            }
            Target::Host(host) => {
                let host = host.cast::<u64>();
                // SAFETY: eight aligned bytes of an unshared live page.
                unsafe {
                    let old = u64::from_le(*host);
                    *host = combine_64(op.imm, old, operand).to_le();
                    old
                }
            }
            Target::Watched(pa) => {
                let both = self.engine.read_ram(self.bus, pa);
                let (old, new) = if size == 4 {
                    let old = (both >> (8 * (pa & 4))) as u32;
                    (old as i32 as u64, u64::from(combine_32(op.imm, old, operand as u32)))
                } else {
                    (both, combine_64(op.imm, both, operand))
                };
                self.engine.store_ram(self.bus, pa, size, new, StoreKind::Instruction);
                old
            }
            Target::Device(_) => return Err(Access::Store.access_fault(va)),
        };
        self.set_integer(op.rd, old);
        Ok(())
    }

    /// CBO.ZERO (Zicboz).
    fn cbo_zero(&mut self, va: u64) -> Result<(), Exception> {
        if !self.block_operation_enabled(envcfg::CBZE) {
            return Err(Exception::new(Cause::IllegalInstruction, 0));
        }
        let start = va & !(CACHE_BLOCK_BYTES - 1);
        let at = |e: Exception| if e.tval == start { Exception { tval: va, ..e } } else { e };
        match self.store_target(start, CACHE_BLOCK_BYTES).map_err(at)? {
            // SAFETY: an aligned block of an unshared live page.
            Target::Host(host) => unsafe { host.write_bytes(0, CACHE_BLOCK_BYTES as usize) },
            Target::Watched(pa) => {
                for offset in (0..CACHE_BLOCK_BYTES).step_by(8) {
                    let kind = StoreKind::Instruction;
                    self.engine.store_ram(self.bus, pa + offset, 8, 0, kind);
                }
            }
            Target::Device(_) => return Err(Access::Store.access_fault(va)),
        }
        Ok(())
    }

    /// CBO.INVAL, CBO.CLEAN, CBO.FLUSH (Zicbom): there is no cache, so only the checks are left.
    fn cbo_manage(&mut self, code: Code, va: u64) -> Result<(), Exception> {
        let enable = if code == Code::CboInval { envcfg::CBIE } else { envcfg::CBCFE };
        if !self.block_operation_enabled(enable) {
            return Err(Exception::new(Cause::IllegalInstruction, 0));
        }
        // Allowed where a load or a store is; if neither, it fails as a store.
        let start = va & !(CACHE_BLOCK_BYTES - 1);
        let len = CACHE_BLOCK_BYTES;
        if self.engine.translate(self.hart, self.bus, start, len, Access::Load).is_err() {
            let stored = self.engine.translate(self.hart, self.bus, start, len, Access::Store);
            stored.map_err(|e| Exception { tval: va, ..e })?;
        }
        Ok(())
    }

    /// Whether `menvcfg` and `senvcfg` let this mode use a cache-block operation.
    fn block_operation_enabled(&self, field: u64) -> bool {
        let csr = &self.hart.csr;
        match self.hart.mode {
            Privilege::Machine => true,
            Privilege::Supervisor => csr.menvcfg & field != 0,
            Privilege::User => csr.menvcfg & field != 0 && csr.senvcfg & field != 0,
        }
    }

    fn set_integer(&mut self, rd: u8, value: u64) {
        self.hart.x[usize::from(rd)] = value;
    }
}

/// What an AMO stores; `funct5` as encoded. SC and LR never come here.
fn combine_64(funct5: i32, old: u64, operand: u64) -> u64 {
    match funct5 {
        0x00 => old.wrapping_add(operand),
        0x01 => operand,
        0x04 => old ^ operand,
        0x08 => old | operand,
        0x0c => old & operand,
        0x10 => (old as i64).min(operand as i64) as u64,
        0x14 => (old as i64).max(operand as i64) as u64,
        0x18 => old.min(operand),
        _ => old.max(operand),
    }
}

/// As [`combine_64`], of words.
fn combine_32(funct5: i32, old: u32, operand: u32) -> u32 {
    match funct5 {
        // The comparisons depend on the width; sign extension keeps both kinds of order.
        0x10 | 0x14 => combine_64(funct5, old as i32 as u64, operand as i32 as u64) as u32,
        _ => combine_64(funct5, old.into(), operand.into()) as u32,
    }
}

#[cfg(test)]
mod tests;
