//! Control and status registers: what exists, who may touch it, which bits can be written
//! (Privileged Architecture, chapters 2 to 4 and 10; Sstc, Svadu, Zicbom and Zicboz).

use serde::{Deserialize, Serialize};

use crate::hart::{Hart, Privilege};
use crate::trap::irq;

/// Fields of `mstatus`.
pub(crate) mod mstatus {
    pub(crate) const SIE: u64 = 1 << 1;
    pub(crate) const MIE: u64 = 1 << 3;
    pub(crate) const SPIE: u64 = 1 << 5;
    pub(crate) const MPIE: u64 = 1 << 7;
    pub(crate) const SPP: u64 = 1 << 8;
    pub(crate) const MPP: u64 = 3 << MPP_SHIFT;
    pub(crate) const MPP_SHIFT: u32 = 11;
    pub(crate) const FS: u64 = 3 << 13;
    pub(crate) const MPRV: u64 = 1 << 17;
    pub(crate) const SUM: u64 = 1 << 18;
    pub(crate) const MXR: u64 = 1 << 19;
    pub(crate) const TVM: u64 = 1 << 20;
    pub(crate) const TW: u64 = 1 << 21;
    pub(crate) const TSR: u64 = 1 << 22;
    pub(crate) const UXL_64: u64 = 2 << 32;
    pub(crate) const SXL_64: u64 = 2 << 34;
    pub(crate) const SD: u64 = 1 << 63;

    /// Bits S-mode sees.
    pub(super) const SUPERVISOR: u64 = SIE | SPIE | SPP | FS | SUM | MXR;
    /// Bits M-mode can write.
    pub(super) const WRITABLE: u64 = SUPERVISOR | MIE | MPIE | MPP | MPRV | TVM | TW | TSR;
}

/// Fields of `menvcfg` and `senvcfg`.
pub(crate) mod envcfg {
    pub(crate) const FIOM: u64 = 1;
    pub(crate) const CBIE: u64 = 3 << 4;
    pub(crate) const CBCFE: u64 = 1 << 6;
    pub(crate) const CBZE: u64 = 1 << 7;
    pub(crate) const ADUE: u64 = 1 << 61;
    pub(crate) const STCE: u64 = 1 << 63;

    pub(super) const SUPERVISOR: u64 = FIOM | CBIE | CBCFE | CBZE;
    pub(super) const MACHINE: u64 = SUPERVISOR | ADUE | STCE;
}

const MISA: u64 = 2 << 62 | 0x14_112d; // RV64, A C D F I M S U
/// Exceptions that can be delegated: all but ECALL from M-mode and the reserved codes.
const MEDELEG: u64 = 0xb1ff;
const FFLAGS: u64 = 0x1f;
/// M-mode's name for the three counters that exist plus the event counters that read zero.
const COUNTER_ENABLE: u64 = 0xffff_ffff;

/// The registers that hold something.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Csrs {
    pub(crate) hart_id: u64,
    pub(crate) mstatus: u64,
    pub(crate) medeleg: u64,
    pub(crate) mideleg: u64,
    pub(crate) mie: u64,
    /// Bits set by software; lines from devices are beside it in [`Hart`].
    pub(crate) mip: u64,
    pub(crate) mtvec: u64,
    pub(crate) mcounteren: u64,
    pub(crate) menvcfg: u64,
    pub(crate) mscratch: u64,
    pub(crate) mepc: u64,
    pub(crate) mcause: u64,
    pub(crate) mtval: u64,
    /// Added to the retired instructions in `mcycle`.
    pub(crate) cycle_offset: u64,
    /// Added to the retired instructions in `minstret`.
    pub(crate) instret_offset: u64,
    pub(crate) stvec: u64,
    pub(crate) scounteren: u64,
    pub(crate) senvcfg: u64,
    pub(crate) sscratch: u64,
    pub(crate) sepc: u64,
    pub(crate) scause: u64,
    pub(crate) stval: u64,
    pub(crate) satp: u64,
    pub(crate) stimecmp: u64,
    pub(crate) fcsr: u64,
    /// Whether `satp` accepts Sv48.
    pub(crate) sv48: bool,
}

/// What has to happen after a CSR was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum After {
    /// Nothing; interrupts are looked at anyway.
    Nothing,
    /// Translations or permissions may have changed.
    Translation,
    /// Another address space applies.
    AddressSpace,
    /// A timer moved: the machine must look at its deadlines.
    Timer,
}

/// The CSR does not exist or may not be touched here: an illegal-instruction exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Illegal;

impl Csrs {
    pub(crate) fn new(hart_id: u64) -> Self {
        Csrs {
            hart_id,
            mstatus: mstatus::UXL_64 | mstatus::SXL_64,
            medeleg: 0,
            mideleg: 0,
            mie: 0,
            mip: 0,
            mtvec: 0,
            mcounteren: 0,
            menvcfg: envcfg::ADUE,
            mscratch: 0,
            mepc: 0,
            mcause: 0,
            mtval: 0,
            cycle_offset: 0,
            instret_offset: 0,
            stvec: 0,
            scounteren: 0,
            senvcfg: 0,
            sscratch: 0,
            sepc: 0,
            scause: 0,
            stval: 0,
            satp: 0,
            stimecmp: u64::MAX,
            fcsr: 0,
            sv48: false,
        }
    }

    /// What the built-in firmware sets before it enters the supervisor.
    pub(crate) fn firmware_defaults(&mut self) {
        self.medeleg = MEDELEG & !(1 << 9);
        self.mideleg = irq::SUPERVISOR;
        self.mcounteren = COUNTER_ENABLE;
        self.scounteren = COUNTER_ENABLE;
        self.menvcfg = envcfg::MACHINE;
        self.mstatus = mstatus::UXL_64 | mstatus::SXL_64;
    }

    pub(crate) fn stce(&self) -> bool {
        self.menvcfg & envcfg::STCE != 0
    }

    /// What is impossible in this state, if anything.
    pub(crate) fn validate(&self) -> Result<(), &'static str> {
        let fixed = mstatus::UXL_64 | mstatus::SXL_64;
        if self.mstatus & !mstatus::WRITABLE != fixed {
            return Err("mstatus has bits that do not exist");
        }
        if self.mstatus & mstatus::MPP == 2 << mstatus::MPP_SHIFT {
            return Err("mstatus.MPP is the reserved mode");
        }
        if (self.mip & !irq::SUPERVISOR) | (self.mie & !irq::ALL) != 0 {
            return Err("interrupt bits that do not exist");
        }
        if self.medeleg & !MEDELEG != 0 || self.mideleg & !irq::SUPERVISOR != 0 {
            return Err("delegation that does not exist");
        }
        if (self.mepc | self.sepc) & 1 != 0 || (self.mtvec | self.stvec) & 2 != 0 {
            return Err("misaligned trap address");
        }
        let satp_is_legal = match self.satp >> 60 {
            0 => self.satp == 0,
            8 => true,
            9 => self.sv48,
            _ => false,
        };
        if !satp_is_legal || self.fcsr > 0xff {
            return Err("satp or fcsr out of range");
        }
        if self.menvcfg & !envcfg::MACHINE != 0 || self.senvcfg & !envcfg::SUPERVISOR != 0 {
            return Err("environment bits that do not exist");
        }
        let reserved = |register| register & envcfg::CBIE == 2 << 4;
        if reserved(self.menvcfg) || reserved(self.senvcfg) {
            return Err("a reserved behaviour of CBO.INVAL");
        }
        if (self.mcounteren | self.scounteren) & !COUNTER_ENABLE != 0 {
            return Err("counters that do not exist");
        }
        Ok(())
    }

    fn set_status(&mut self, value: u64, mask: u64) -> After {
        let old = self.mstatus;
        let mut new = (old & !mask) | (value & mask);
        if new & mstatus::MPP == 2 << mstatus::MPP_SHIFT {
            new = (new & !mstatus::MPP) | (old & mstatus::MPP);
        }
        self.mstatus = new;
        // SUM and MPRV choose another table; MXR changes what is in one.
        if (old ^ new) & mstatus::MXR != 0 { After::Translation } else { After::Nothing }
    }

    fn status(&self, mask: u64) -> u64 {
        let dirty = self.mstatus & mstatus::FS == mstatus::FS;
        self.mstatus & mask | if dirty { mstatus::SD } else { 0 }
    }

    /// A write with a mode this hart lacks changes nothing (Privileged Architecture §12.1.11).
    fn legal_satp(&self, value: u64) -> u64 {
        match value >> 60 {
            0 if value == 0 => 0,
            // Bare with other bits set is unspecified; it reads back as bare.
            0 => 0,
            8 => value & !(0xf << 60) & SATP_FIELDS | 8 << 60,
            9 if self.sv48 => value & SATP_FIELDS | 9 << 60,
            _ => self.satp,
        }
    }
}

/// ASID and PPN of `satp`; PPNs above 44 bits do not exist.
const SATP_FIELDS: u64 = (1 << 60) - 1;

fn legal_tvec(value: u64) -> u64 {
    value & !2
}

impl Hart {
    /// Reads a CSR. `instret` counts what retired before this instruction, `mtime` is the timer.
    pub(crate) fn csr_read(&self, number: u16, retired: u64, mtime: u64) -> Result<u64, Illegal> {
        self.csr_access(number)?;
        let c = &self.csr;
        Ok(match number {
            0x001 => c.fcsr & FFLAGS,
            0x002 => c.fcsr >> 5,
            0x003 => c.fcsr,
            0xc00 | 0xb00 => retired.wrapping_add(c.cycle_offset),
            0xc01 => mtime,
            0xc02 | 0xb02 => retired.wrapping_add(c.instret_offset),
            0x100 => c.status(mstatus::SUPERVISOR | mstatus::UXL_64),
            0x104 => c.mie & c.mideleg,
            0x105 => c.stvec,
            0x106 => c.scounteren,
            0x10a => c.senvcfg,
            0x140 => c.sscratch,
            0x141 => c.sepc,
            0x142 => c.scause,
            0x143 => c.stval,
            0x144 => self.pending() & c.mideleg,
            0x14d => c.stimecmp,
            0x180 => c.satp,
            0x300 => c.status(u64::MAX),
            0x301 => MISA,
            0x302 => c.medeleg,
            0x303 => c.mideleg,
            0x304 => c.mie,
            0x305 => c.mtvec,
            0x306 => c.mcounteren,
            0x30a => c.menvcfg,
            0x340 => c.mscratch,
            0x341 => c.mepc,
            0x342 => c.mcause,
            0x343 => c.mtval,
            0x344 => self.pending(),
            0x3a0..=0x3af => self.pmp.config_csr(usize::from(number - 0x3a0)),
            0x3b0..=0x3ef => self.pmp.addr_csr(usize::from(number - 0x3b0)),
            0xf14 => c.hart_id,
            // Event counters and selectors, mcountinhibit, the identification registers and the
            // trigger module: present, zero.
            _ => 0,
        })
    }

    /// Writes a CSR that [`Hart::csr_read`] can read.
    pub(crate) fn csr_write(
        &mut self,
        number: u16,
        value: u64,
        retired: u64,
    ) -> Result<After, Illegal> {
        self.csr_access(number)?;
        if number >> 10 == 3 {
            return Err(Illegal);
        }
        match number {
            0x001..=0x003 => self.write_fcsr(number, value),
            0x100 | 0x104..=0x106 | 0x10a | 0x140..=0x144 | 0x14d | 0x180 => {
                return Ok(self.write_supervisor(number, value));
            }
            0x3a0..=0x3af => {
                self.pmp.set_config_csr(usize::from(number - 0x3a0), value);
                return Ok(After::Translation);
            }
            0x3b0..=0x3ef => {
                self.pmp.set_addr_csr(usize::from(number - 0x3b0), value);
                return Ok(After::Translation);
            }
            // The write counts as done after this instruction retired.
            0xb00 => self.csr.cycle_offset = value.wrapping_sub(retired + 1),
            0xb02 => self.csr.instret_offset = value.wrapping_sub(retired + 1),
            _ => return Ok(self.write_machine(number, value)),
        }
        Ok(After::Nothing)
    }

    fn write_fcsr(&mut self, number: u16, value: u64) {
        let c = &mut self.csr;
        c.fcsr = match number {
            0x001 => c.fcsr & !FFLAGS | value & FFLAGS,
            0x002 => c.fcsr & FFLAGS | (value & 7) << 5,
            _ => value & 0xff,
        };
        c.mstatus |= mstatus::FS;
    }

    fn write_supervisor(&mut self, number: u16, value: u64) -> After {
        let c = &mut self.csr;
        match number {
            0x100 => return c.set_status(value, mstatus::SUPERVISOR),
            0x104 => c.mie = c.mie & !c.mideleg | value & c.mideleg,
            0x105 => c.stvec = legal_tvec(value),
            0x106 => c.scounteren = value & COUNTER_ENABLE,
            0x10a => c.senvcfg = legal_envcfg(value & envcfg::SUPERVISOR, c.senvcfg),
            0x140 => c.sscratch = value,
            0x141 => c.sepc = value & !1,
            0x142 => c.scause = value,
            0x143 => c.stval = value,
            0x144 => {
                let mask = irq::SSI & c.mideleg;
                c.mip = c.mip & !mask | value & mask;
            }
            0x14d => {
                c.stimecmp = value;
                return After::Timer;
            }
            _ => {
                let new = c.legal_satp(value);
                if new != c.satp {
                    c.satp = new;
                    return After::AddressSpace;
                }
            }
        }
        After::Nothing
    }

    fn write_machine(&mut self, number: u16, value: u64) -> After {
        let c = &mut self.csr;
        match number {
            0x300 => return c.set_status(value, mstatus::WRITABLE),
            0x302 => c.medeleg = value & MEDELEG,
            0x303 => c.mideleg = value & irq::SUPERVISOR,
            0x304 => c.mie = value & irq::ALL,
            0x305 => c.mtvec = legal_tvec(value),
            0x306 => c.mcounteren = value & COUNTER_ENABLE,
            0x30a => {
                c.menvcfg = legal_envcfg(value & envcfg::MACHINE, c.menvcfg);
                self.lines &= !irq::STI;
                return After::Timer;
            }
            0x340 => c.mscratch = value,
            0x341 => c.mepc = value & !1,
            0x342 => c.mcause = value,
            0x343 => c.mtval = value,
            0x344 => {
                // With Sstc the timer alone decides STIP.
                let mask = if c.stce() { irq::SUPERVISOR & !irq::STI } else { irq::SUPERVISOR };
                c.mip = c.mip & !mask | value & mask;
            }
            _ => {}
        }
        After::Nothing
    }

    /// Whether the CSR exists and this mode may touch it.
    fn csr_access(&self, number: u16) -> Result<(), Illegal> {
        let allowed = self.mode as u16 >= number >> 8 & 3;
        let c = &self.csr;
        let special = match number {
            0x001..=0x003 => c.mstatus & mstatus::FS != 0,
            0xc00..=0xc1f => self.counter_enabled(u32::from(number - 0xc00)),
            0x14d => self.mode == Privilege::Machine || (c.stce() && c.mcounteren & 2 != 0),
            0x180 => self.mode != Privilege::Supervisor || c.mstatus & mstatus::TVM == 0,
            0x100 | 0x104..=0x106 | 0x10a | 0x140..=0x144 => true,
            0x300..=0x306 | 0x30a | 0x320 | 0x323..=0x33f | 0x340..=0x344 => true,
            0x3a0..=0x3af => number & 1 == 0,
            0x3b0..=0x3ef => true,
            0x7a0..=0x7a3 => true,
            0xb00 | 0xb02..=0xb1f | 0xf11..=0xf15 => true,
            _ => false,
        };
        if allowed && special { Ok(()) } else { Err(Illegal) }
    }

    fn counter_enabled(&self, counter: u32) -> bool {
        let bit = 1 << counter;
        match self.mode {
            Privilege::Machine => true,
            Privilege::Supervisor => self.csr.mcounteren & bit != 0,
            Privilege::User => self.csr.mcounteren & self.csr.scounteren & bit != 0,
        }
    }
}

/// CBIE = 2 is reserved: the field keeps its old value.
fn legal_envcfg(new: u64, old: u64) -> u64 {
    if new & envcfg::CBIE == 2 << 4 { new & !envcfg::CBIE | old & envcfg::CBIE } else { new }
}

#[cfg(test)]
mod tests;
