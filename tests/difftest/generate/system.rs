//! CSRs, privileged instructions, fences, and changes to translation while it is in use.

use super::{Generator, Mode, Space, state};
use crate::asm::{csr, i_type, li, op, s_type};
use crate::csrs;
use crate::layout::*;

/// CSRs whose every bit is defined and the same on both sides. Not among them: `misa` (QEMU may
/// clear letters), ids, counters and `time` (they count different things), `mip`/`sip` (timers),
/// `mtvec`, `stvec`, `mscratch`, `sscratch` (the runtime's), hpm counters and triggers (QEMU has
/// some, we need not).
const READABLE: [u32; 21] = [
    0x001, // fflags
    0x002, // frm
    0x003, // fcsr
    csrs::SSTATUS,
    csrs::SIE,
    csrs::SCOUNTEREN,
    csrs::SENVCFG,
    csrs::SEPC,
    csrs::SCAUSE,
    csrs::STVAL,
    csrs::SATP,
    csrs::MSTATUS,
    csrs::MIE,
    csrs::MENVCFG,
    csrs::MEPC,
    csrs::MCAUSE,
    csrs::MTVAL,
    csrs::PMPCFG0,
    csrs::PMPADDR0,
    csrs::PMPADDR0 + 1,
    csrs::MHARTID,
];

/// CSRs that exist but whose value means nothing here: only whether they may be read.
const COUNTERS: [u32; 5] = [0xc00, 0xc01, 0xc02, 0xb00, 0x14d];

/// CSRs that do not exist.
const ABSENT: [u32; 10] = [0x600, 0x680, 0x800, 0xcc0, 0x5c0, 0x9c0, 0x7c0, 0xc20, 0x008, 0x015];

/// CSRs that take any value.
const WRITABLE: [u32; 6] =
    [0x001, csrs::SEPC, csrs::STVAL, csrs::MEPC, csrs::MTVAL, csrs::SCOUNTEREN];

impl Generator {
    pub(super) fn system(&mut self) {
        match self.rng.below(16) {
            0..5 => {
                let (rd, number) = (self.rd(), self.rng.pick(&READABLE));
                self.sequence.push(csr(2, rd, number, 0));
            }
            5 => {
                let number = self.rng.pick(&COUNTERS);
                self.sequence.push(csr(2, 0, number, 0));
            }
            6 => self.forbidden_csr(),
            7 | 8 => self.write_csr(),
            9 | 10 => self.change_status(),
            11 if self.rng.one_in(2) => self.interrupts(),
            11 => self.fence(),
            12 => self.environment(),
            13 => self.change_page_table(),
            14 => self.patch_code(),
            _ => self.new_address(),
        }
    }

    fn forbidden_csr(&mut self) {
        let (rd, source) = (self.rd(), self.rs());
        let f3 = self.rng.pick(&[1, 2, 3, 5, 6, 7]);
        let number = match self.rng.below(2) {
            0 => self.rng.pick(&ABSENT),
            // Read-only: writing traps, also from M-mode.
            _ => self.rng.pick(&[0xf11, 0xf14, 0xc00]),
        };
        let source = if number & 0xc00 == 0xc00 { source.max(1) } else { source };
        self.sequence.push(csr(f3, rd, number, source));
    }

    fn write_csr(&mut self) {
        let (rd, via) = (self.rd(), self.rd_not_zero());
        let number = self.rng.pick(&WRITABLE);
        let value = match number {
            // Only these bits of it exist everywhere.
            csrs::SCOUNTEREN => self.rng.below(8),
            // Always even; QEMU masks it only on the way to `pc`.
            csrs::SEPC | csrs::MEPC => state::integer(&mut self.rng) & !1,
            _ => state::integer(&mut self.rng),
        };
        let mut words = li(via, value);
        // SCOUNTEREN is replaced whole; in the others bits may be set and cleared.
        let f3 = if number == csrs::SCOUNTEREN { 1 } else { self.rng.pick(&[1, 2, 3]) };
        words.push(csr(f3, rd, number, via));
        self.sequence.push_all(&words);
    }

    /// Sets or clears fields of `mstatus` or `sstatus`.
    fn change_status(&mut self) {
        const FIELDS: [u64; 11] = [
            1 << 1,  // SIE
            1 << 5,  // SPIE
            1 << 7,  // MPIE
            1 << 8,  // SPP
            3 << 13, // FS: both bits, see `control_registers`
            1 << 17, // MPRV
            1 << 18, // SUM
            1 << 19, // MXR
            1 << 20, // TVM
            1 << 21, // TW
            1 << 22, // TSR
        ];
        let (rd, via) = (self.rd(), self.rd_not_zero());
        let mut fields = self.rng.pick(&FIELDS) | self.rng.pick(&FIELDS);
        let number = if self.mode == Mode::Machine { csrs::MSTATUS } else { csrs::SSTATUS };
        let mut f3 = self.rng.pick(&[2, 3]);
        if number == csrs::MSTATUS && self.rng.one_in(3) {
            // MPP: to S or to M; back to U by clearing.
            fields |= self.rng.pick(&[1 << 11, 3 << 11]);
            // Setting one bit of MPP over another value would make it 2, which is reserved.
            if f3 == 2 {
                let mut words = li(via, 3 << 11);
                words.push(csr(3, 0, number, via));
                words.extend(li(via, fields));
                words.push(csr(2, rd, number, via));
                return self.sequence.push_all(&words);
            }
            fields |= 3 << 11;
            f3 = 3;
        }
        let mut words = li(via, fields);
        words.push(csr(f3, rd, number, via));
        self.sequence.push_all(&words);
    }

    /// Raises, enables and delegates interrupts, or waits for one that is pending.
    fn interrupts(&mut self) {
        const WFI: u32 = 0x1050_0073;
        const MSTATUS_MIE: u32 = 1 << 3;
        let interrupt = state::interrupt_of(self.sequence.index);
        let (via, bits) = (self.rd_not_zero(), self.rng.next() & interrupt);
        // Other bits of `mip` follow timers, so nothing is read.
        let f3 = self.rng.pick(&[2, 3]);
        let mut words = li(via, bits);
        match (self.mode, self.rng.below(4)) {
            (Mode::Machine, 0) => {
                words = vec![csr(7, 0, csrs::MSTATUS, MSTATUS_MIE)];
                words.extend(li(via, interrupt));
                words.push(csr(2, 0, csrs::MIE, via));
                words.push(csr(2, 0, csrs::MIP, via));
                words.push(WFI);
            }
            (Mode::Machine, 1) => words.push(csr(f3 + 4, 0, csrs::MSTATUS, MSTATUS_MIE)),
            (Mode::Machine, _) => {
                let number = self.rng.pick(&[csrs::MIP, csrs::MIE, csrs::MIDELEG]);
                words.push(csr(f3, 0, number, via));
            }
            _ => words.push(csr(f3, 0, self.rng.pick(&[csrs::SIP, csrs::SIE]), via)),
        }
        self.sequence.push_all(&words);
    }

    fn fence(&mut self) {
        let (rs1, rs2) = (self.rs(), self.rs());
        let word = match self.rng.below(4) {
            // Reserved fields of a fence are ignored.
            0 => op::MISC_MEM | self.rng.next() as u32 & 0xfff0_0000,
            1 => op::MISC_MEM | 1 << 12,
            2 => 0x1200_0073 | rs1 << 15 | rs2 << 20,
            _ => i_type(op::MISC_MEM, 3 + self.rng.below(5) as u32, 0, rs1, 0),
        };
        self.sequence.push(word);
    }

    /// Calls, breakpoints, and what a mode may not do.
    fn environment(&mut self) {
        const MRET: u32 = 0x3020_0073;
        const SRET: u32 = 0x1020_0073;
        const URET: u32 = 0x0020_0073;
        const DRET: u32 = 0x7b20_0073;
        let mut words = vec![0x73, 0x10_0073, URET, DRET];
        match self.mode {
            // No WFI: where it is allowed nothing would end it, and where it is not QEMU reports
            // a wrong pc if it crosses pages.
            Mode::User => words.extend([MRET, SRET]),
            Mode::Supervisor => words.push(MRET),
            Mode::Machine => {}
        }
        let word = self.rng.pick(&words);
        self.sequence.push(word);
    }

    /// A new entry for a page of the window, then `sfence.vma`: S-mode sees the tables.
    fn change_page_table(&mut self) {
        // With TVM the flush traps, and QEMU goes on with what it remembers.
        let flush_traps = self.sequence.mstatus >> 20 & 1 == 1;
        if self.space != Space::Sv39 || self.mode != Mode::Supervisor || flush_traps {
            return self.fence();
        }
        let page = self.rng.below(WINDOW_PAGES - 2);
        let to = SCRATCH + 4096 * (1 + self.rng.below(DATA_PAGES - 1));
        let entry = to >> 2 | self.leaf_flags();
        let (at, value) = (self.rd_not_zero(), self.rd_not_zero());
        if at == value {
            return self.fence();
        }
        let mut words = li(at, TABLES + 3 * 4096 + 8 * page);
        words.extend(li(value, entry));
        words.push(s_type(op::STORE, 3, at, value, 0));
        // All of it, or one address (which QEMU's coarser flush includes).
        words.push(0x1200_0073);
        self.sequence.push_all(&words);
    }

    /// Overwrites an instruction ahead, then `fence.i`. Code is writable only in M-mode.
    fn patch_code(&mut self) {
        if self.mode != Mode::Machine || self.sequence.mstatus >> 17 & 1 == 1 {
            return self.fence();
        }
        let (at, value) = (self.rd_not_zero(), self.rd_not_zero());
        if at == value {
            return self.fence();
        }
        let rd = self.rd();
        let new = crate::asm::addi(rd, self.rs(), self.rng.signed(12));
        let li_value = li(value, u64::from(new));
        // auipc; li; sh; srli; sh; fence.i; the patched instruction
        let patched = 4 * (li_value.len() as i64 + 5);
        let mut words = vec![op::AUIPC | at << 7];
        words.extend(li_value);
        words.push(s_type(op::STORE, 1, at, value, patched));
        words.push(i_type(op::OP_IMM, 5, value, value, 16));
        words.push(s_type(op::STORE, 1, at, value, patched + 2));
        words.push(op::MISC_MEM | 1 << 12);
        words.push(crate::asm::addi(0, 0, 0));
        self.sequence.push_all(&words);
    }
}
