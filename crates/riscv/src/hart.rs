//! The architectural state of one hart, and how it takes traps.
//!
//! Everything here decides the future and is saved; caches (translations, decoded code) live in
//! [`crate::Engine`] and never do.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::csr::{Csrs, mstatus};
use crate::native::Frame;
use crate::pmp::Pmp;
use crate::trap::{Cause, Exception, irq};

/// Where a hart is in the hierarchy of privileges.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[repr(u8)]
pub enum Privilege {
    /// U-mode.
    User = 0,
    /// S-mode.
    Supervisor = 1,
    /// M-mode.
    Machine = 3,
}

impl Privilege {
    /// From the two-bit encoding; the reserved value 2 reads as U.
    pub(crate) fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            1 => Privilege::Supervisor,
            3 => Privilege::Machine,
            _ => Privilege::User,
        }
    }
}

/// The memory a successful LR reserved.
///
/// SC fails iff another hart stored to the line or a device to the page since, or the hart returned
/// from a trap, or executed another SC, or memory no longer holds what LR read (a store of its
/// own), or its address or size are not those of LR.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reservation {
    /// Physical address.
    pub addr: u64,
    /// 4 or 8.
    pub size: u8,
    /// What LR read, zero-extended.
    pub value: u64,
}

/// Bytes in the line that another hart's store breaks a reservation in.
pub(crate) const RESERVATION_LINE_BYTES: u64 = 64;

/// Slot that writes to `x0` go to, so that `x0` itself never needs to be zeroed.
pub(crate) const DISCARD: u8 = 32;

/// One hart.
#[repr(C)]
pub struct Hart {
    /// Indexed by a `u8` without a bounds check; only the first 32 (and [`DISCARD`]) are used.
    pub(crate) x: [u64; 256],
    pub(crate) f: [u64; 256],
    /// Not state: what compiled code needs at hand.
    pub(crate) frame: Frame,
    pub(crate) pc: u64,
    pub(crate) mode: Privilege,
    pub(crate) csr: Csrs,
    pub(crate) pmp: Pmp,
    pub(crate) reservation: Option<Reservation>,
    /// Interrupt lines from outside: MEI, SEI, MTI, MSI.
    pub(crate) lines: u64,
    /// Instructions attempted, including those that trapped.
    pub(crate) steps: u64,
    /// Instructions attempted that trapped, and so did not retire.
    pub(crate) trapped: u64,
}

/// What of a hart is saved. Fields as in the Privileged Architecture.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HartState {
    x: [u64; 32],
    f: [u64; 32],
    pc: u64,
    mode: Privilege,
    csr: Csrs,
    pmp: Pmp,
    reservation: Option<Reservation>,
    lines: u64,
    steps: u64,
    trapped: u64,
}

impl HartState {
    /// Instructions retired.
    pub fn retired(&self) -> u64 {
        self.steps - self.trapped
    }
}

/// A saved hart that no hart could ever be in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InvalidHart(&'static str);

impl fmt::Display for InvalidHart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "saved hart: {}", self.0)
    }
}

impl std::error::Error for InvalidHart {}

impl Hart {
    /// A hart after reset, in M-mode at address 0.
    pub fn new(hart_id: u64) -> Self {
        Hart {
            x: [0; 256],
            f: [0; 256],
            frame: Frame::EMPTY,
            pc: 0,
            mode: Privilege::Machine,
            csr: Csrs::new(hart_id),
            pmp: Pmp::default(),
            reservation: None,
            lines: 0,
            steps: 0,
            trapped: 0,
        }
    }

    /// Sets the hart up as firmware hands it to a supervisor: S-mode, everything delegated,
    /// counters and extensions enabled, all memory allowed (SBI specification §9, HART start).
    pub fn enter_supervisor(&mut self, pc: u64, hart_id: u64, opaque: u64) {
        self.pmp = Pmp::allow_all();
        self.csr.firmware_defaults();
        self.csr.satp = 0;
        self.csr.mstatus &= !mstatus::SIE;
        self.mode = Privilege::Supervisor;
        self.pc = pc;
        self.set_reg(10, hart_id);
        self.set_reg(11, opaque);
    }

    /// Integer register `index`.
    pub fn reg(&self, index: u8) -> u64 {
        self.x[usize::from(index & 31)]
    }

    /// Writes integer register `index`; `x0` stays zero.
    pub fn set_reg(&mut self, index: u8, value: u64) {
        if index & 31 != 0 {
            self.x[usize::from(index & 31)] = value;
        }
    }

    /// Floating-point register `index`, NaN-boxed as in memory.
    pub fn freg(&self, index: u8) -> u64 {
        self.f[usize::from(index & 31)]
    }

    /// The program counter.
    pub fn pc(&self) -> u64 {
        self.pc
    }

    /// Sets the program counter.
    pub fn set_pc(&mut self, pc: u64) {
        self.pc = pc & !1;
    }

    /// The privilege mode.
    pub fn mode(&self) -> Privilege {
        self.mode
    }

    /// Instructions retired.
    pub fn retired(&self) -> u64 {
        self.steps - self.trapped
    }

    /// Instant of the `stimecmp` timer as an `mtime` value, if S-mode uses it (Sstc).
    pub fn stimecmp(&self) -> Option<u64> {
        self.csr.stce().then_some(self.csr.stimecmp)
    }

    /// Sets the `stimecmp` timer, as firmware does for a supervisor that asks it to.
    pub fn set_stimecmp(&mut self, mtime: u64) {
        self.csr.stimecmp = mtime;
    }

    /// Accepts Sv48 in `satp` beside Sv39.
    pub fn offer_sv48(&mut self) {
        self.csr.sv48 = true;
    }

    /// Sets interrupt lines to what the devices drive now. `mtime` decides the Sstc timer.
    pub fn set_lines(&mut self, lines: u64, mtime: u64) {
        self.lines = lines & irq::ALL;
        if self.csr.stce() {
            if mtime >= self.csr.stimecmp {
                self.lines |= irq::STI;
            } else {
                self.lines &= !irq::STI;
            }
        }
    }

    /// Sets bits of `mip` that firmware raises for a supervisor (SSI, STI).
    pub fn raise(&mut self, bits: u64) {
        self.csr.mip |= bits & irq::SUPERVISOR;
    }

    /// Clears bits of `mip` that firmware raised.
    pub fn clear(&mut self, bits: u64) {
        self.csr.mip &= !(bits & irq::SUPERVISOR);
    }

    /// Interrupt lines as last set.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Instructions attempted, including those that trapped.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Whether WFI ends: an enabled interrupt is pending, whether or not it may be taken.
    pub fn wakes(&self) -> bool {
        self.wakes_with(self.lines)
    }

    /// Whether WFI would end if the interrupt lines were `lines`.
    pub fn wakes_with(&self, lines: u64) -> bool {
        (lines | self.csr.mip) & self.csr.mie != 0
    }

    /// Saves the hart.
    pub fn save(&self) -> HartState {
        let mut state = HartState {
            x: [0; 32],
            f: [0; 32],
            pc: self.pc,
            mode: self.mode,
            csr: self.csr.clone(),
            pmp: self.pmp.clone(),
            reservation: self.reservation,
            lines: self.lines,
            steps: self.steps,
            trapped: self.trapped,
        };
        state.x.copy_from_slice(&self.x[..32]);
        state.f.copy_from_slice(&self.f[..32]);
        state
    }

    /// Takes over a saved state, which may be hostile.
    ///
    /// # Errors
    /// [`InvalidHart`] names what no hart could hold; the hart is then unchanged.
    pub fn restore(&mut self, state: &HartState) -> Result<(), InvalidHart> {
        if state.x[0] != 0 {
            return Err(InvalidHart("x0 is not zero"));
        }
        if state.pc & 1 != 0 {
            return Err(InvalidHart("pc is odd"));
        }
        if state.trapped > state.steps {
            return Err(InvalidHart("more instructions trapped than ran"));
        }
        if let Some(r) = state.reservation
            && (!matches!(r.size, 4 | 8) || r.addr % u64::from(r.size) != 0)
        {
            return Err(InvalidHart("misaligned reservation"));
        }
        if state.csr.hart_id != self.csr.hart_id || state.csr.sv48 != self.csr.sv48 {
            return Err(InvalidHart("of another hart or without its translation modes"));
        }
        state.csr.validate().map_err(InvalidHart)?;
        state.pmp.validate().map_err(InvalidHart)?;
        self.x[..32].copy_from_slice(&state.x);
        self.f[..32].copy_from_slice(&state.f);
        self.pc = state.pc;
        self.mode = state.mode;
        self.csr = state.csr.clone();
        self.pmp = state.pmp.clone();
        self.reservation = state.reservation;
        self.lines = state.lines & irq::ALL;
        self.steps = state.steps;
        self.trapped = state.trapped;
        Ok(())
    }

    /// `mip` as software reads it: lines from devices and what firmware or software set.
    pub(crate) fn pending(&self) -> u64 {
        self.lines | self.csr.mip
    }

    /// The interrupt to take now, if any.
    pub(crate) fn interrupt(&self) -> Option<u64> {
        let ready = self.pending() & self.csr.mie;
        if ready == 0 {
            return None;
        }
        let m_enabled = self.mode < Privilege::Machine || self.csr.mstatus & mstatus::MIE != 0;
        let s_enabled = self.mode < Privilege::Supervisor
            || (self.mode == Privilege::Supervisor && self.csr.mstatus & mstatus::SIE != 0);
        let for_m = if m_enabled { ready & !self.csr.mideleg } else { 0 };
        let for_s = if s_enabled { ready & self.csr.mideleg } else { 0 };
        let takeable = if for_m != 0 { for_m } else { for_s };
        irq::PRIORITY.into_iter().find(|bit| takeable & bit != 0)
    }

    /// Enters the handler of an interrupt (one bit of `mip`).
    pub(crate) fn take_interrupt(&mut self, bit: u64) {
        let to_supervisor = self.csr.mideleg & bit != 0;
        let code = u64::from(bit.trailing_zeros());
        self.enter_trap((1 << 63) | code, 0, self.pc, to_supervisor, code);
    }

    /// Enters the handler of an exception raised by the instruction at `pc`.
    pub(crate) fn take_exception(&mut self, exception: Exception, pc: u64) {
        let code = exception.cause as u64;
        let to_supervisor = self.mode < Privilege::Machine && self.csr.medeleg >> code & 1 != 0;
        self.trapped += 1;
        self.enter_trap(code, exception.tval, pc, to_supervisor, 0);
    }

    /// `vector` is the slot a vectored `tvec` adds, 0 for exceptions.
    fn enter_trap(&mut self, cause: u64, tval: u64, pc: u64, to_supervisor: bool, vector: u64) {
        let csr = &mut self.csr;
        let status = csr.mstatus;
        let tvec = if to_supervisor {
            (csr.scause, csr.sepc, csr.stval) = (cause, pc, tval);
            let mut new = status & !(mstatus::SIE | mstatus::SPIE | mstatus::SPP);
            if status & mstatus::SIE != 0 {
                new |= mstatus::SPIE;
            }
            if self.mode == Privilege::Supervisor {
                new |= mstatus::SPP;
            }
            csr.mstatus = new;
            self.mode = Privilege::Supervisor;
            csr.stvec
        } else {
            (csr.mcause, csr.mepc, csr.mtval) = (cause, pc, tval);
            let mut new = status & !(mstatus::MIE | mstatus::MPIE | mstatus::MPP);
            if status & mstatus::MIE != 0 {
                new |= mstatus::MPIE;
            }
            new |= (self.mode as u64) << mstatus::MPP_SHIFT;
            csr.mstatus = new;
            self.mode = Privilege::Machine;
            csr.mtvec
        };
        let vectored = tvec & 1 != 0;
        self.pc = (tvec & !3) + if vectored { vector * 4 } else { 0 };
    }

    /// MRET.
    pub(crate) fn mret(&mut self) {
        let status = self.csr.mstatus;
        let mode = Privilege::from_bits(status >> mstatus::MPP_SHIFT);
        let mut new = status & !(mstatus::MIE | mstatus::MPP);
        if status & mstatus::MPIE != 0 {
            new |= mstatus::MIE;
        }
        new |= mstatus::MPIE;
        if mode != Privilege::Machine {
            new &= !mstatus::MPRV;
        }
        self.csr.mstatus = new;
        self.leave_trap(mode, self.csr.mepc);
    }

    /// SRET.
    pub(crate) fn sret(&mut self) {
        let status = self.csr.mstatus;
        let mode = if status & mstatus::SPP != 0 { Privilege::Supervisor } else { Privilege::User };
        let mut new = status & !(mstatus::SIE | mstatus::SPP | mstatus::MPRV);
        if status & mstatus::SPIE != 0 {
            new |= mstatus::SIE;
        }
        new |= mstatus::SPIE;
        self.csr.mstatus = new;
        self.leave_trap(mode, self.csr.sepc);
    }

    fn leave_trap(&mut self, mode: Privilege, pc: u64) {
        self.mode = mode;
        self.pc = pc;
        self.reservation = None;
    }

    /// The exception of an ECALL in this mode.
    pub(crate) fn ecall(&self) -> Exception {
        let cause = match self.mode {
            Privilege::User => Cause::EcallUser,
            Privilege::Supervisor => Cause::EcallSupervisor,
            Privilege::Machine => Cause::EcallMachine,
        };
        Exception::new(cause, 0)
    }
}

#[cfg(test)]
mod tests;
