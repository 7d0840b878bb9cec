//! Instructions that end a block: CSRs, traps and returns, WFI, fences.

use crate::bus::Bus;
use crate::csr::{After, mstatus};
use crate::hart::{DISCARD, Privilege};
use crate::op::{Code, Op};
use crate::run::{Exit, Firmware, Runner};
use crate::trap::{Cause, Exception};

impl<B: Bus> Runner<'_, B> {
    /// Executes a block-ending instruction at `hart.pc`, of which `left` steps were left, and moves
    /// `pc` on.
    #[inline(never)]
    pub(crate) fn system(&mut self, op: Op, left: i64) -> Result<(), Exception> {
        let next = self.hart.pc.wrapping_add(op.len());
        match op.code {
            Code::Csrrw
            | Code::Csrrs
            | Code::Csrrc
            | Code::Csrrwi
            | Code::Csrrsi
            | Code::Csrrci => {
                let result = self.csr(op, left);
                self.legal(result)?;
            }
            Code::Ecall => return self.ecall(),
            Code::Ebreak => return Err(Exception::new(Cause::Breakpoint, self.hart.pc)),
            Code::Sret => {
                let tsr = self.hart.csr.mstatus & mstatus::TSR != 0;
                let allowed = self.hart.mode == Privilege::Machine
                    || (self.hart.mode == Privilege::Supervisor && !tsr);
                self.legal(allowed.then_some(()))?;
                self.hart.sret();
                return Ok(());
            }
            Code::Mret => {
                self.legal((self.hart.mode == Privilege::Machine).then_some(()))?;
                self.hart.mret();
                return Ok(());
            }
            Code::Wfi => self.wfi()?,
            Code::SfenceVma => {
                // Translations are never stale here; only the right to ask is checked.
                let tvm = self.hart.csr.mstatus & mstatus::TVM != 0;
                let allowed = self.hart.mode == Privilege::Machine
                    || (self.hart.mode == Privilege::Supervisor && !tvm);
                self.legal(allowed.then_some(()))?;
            }
            // Decoded code is never stale either.
            Code::FenceI => {}
            Code::Pause => self.exit = Some(Exit::Pause),
            _ => {
                let exception = Exception::new(Cause::IllegalInstruction, 0);
                return Err(self.with_bits(exception));
            }
        }
        self.hart.pc = next;
        Ok(())
    }

    fn legal(&mut self, allowed: Option<()>) -> Result<(), Exception> {
        match allowed {
            Some(()) => Ok(()),
            None => Err(self.with_bits(Exception::new(Cause::IllegalInstruction, 0))),
        }
    }

    fn ecall(&mut self) -> Result<(), Exception> {
        let supervisor = self.hart.mode == Privilege::Supervisor;
        if supervisor && self.turn.firmware == Firmware::Caller {
            self.exit = Some(Exit::Firmware);
            return Ok(());
        }
        Err(self.hart.ecall())
    }

    fn wfi(&mut self) -> Result<(), Exception> {
        let allowed = match self.hart.mode {
            Privilege::Machine => true,
            Privilege::Supervisor => self.hart.csr.mstatus & mstatus::TW == 0,
            Privilege::User => false,
        };
        self.legal(allowed.then_some(()))?;
        if !self.hart.wakes() {
            self.exit = Some(Exit::Wfi);
        }
        Ok(())
    }

    fn csr(&mut self, op: Op, left: i64) -> Option<()> {
        let number = op.imm as u16;
        let retired = self.retired(left);
        let source = match op.code {
            Code::Csrrw | Code::Csrrs | Code::Csrrc => self.hart.x[usize::from(op.rs1)],
            _ => u64::from(op.rs1),
        };
        let replaces = matches!(op.code, Code::Csrrw | Code::Csrrwi);
        // CSRRW without a destination does not read; CSRRS and CSRRC of x0 do not write.
        let reads = !replaces || op.rd != DISCARD;
        let writes = replaces || op.rs1 != 0;
        let mtime = self.bus.mtime(self.now_ticks(left));
        let old = if reads { self.hart.csr_read(number, retired, mtime).ok()? } else { 0 };
        if writes {
            // The supervisor's external interrupt line is no part of what is modified in mip
            // (§3.1.9): only the bit software wrote is.
            let base = match number {
                0x344 => self.hart.csr.mip,
                0x144 => self.hart.csr.mip & self.hart.csr.mideleg,
                _ => old,
            };
            let new = match op.code {
                Code::Csrrw | Code::Csrrwi => source,
                Code::Csrrs | Code::Csrrsi => base | source,
                _ => base & !source,
            };
            match self.hart.csr_write(number, new, retired).ok()? {
                After::Nothing => {}
                After::Translation => self.engine.flush_translations(),
                After::AddressSpace => {
                    self.engine.tlbs[self.index].switch(self.hart.csr.satp);
                }
                After::Timer => self.exit = Some(Exit::Devices),
            }
        }
        if reads {
            self.hart.x[usize::from(op.rd)] = old;
        }
        Some(())
    }
}
