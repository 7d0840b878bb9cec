//! Loads, stores, cache-block instructions, atomics; and new addresses for the pointers.

use super::{Generator, Mode, Space};
use crate::asm::{Reg, addi, b_type, i_type, li, op, r_type, s_type};

impl Generator {
    pub(super) fn memory(&mut self) {
        let (base, imm) = (self.pointer(), self.offset());
        let (rd, rs2) = (self.rd(), self.rs());
        let word = match self.rng.below(16) {
            // 7 is reserved.
            0..5 => {
                i_type(op::LOAD, self.rng.below(if rd == 3 { 8 } else { 7 }) as u32, rd, base, imm)
            }
            5..9 => s_type(op::STORE, self.rng.below(4) as u32, base, rs2, imm),
            9 | 10 => self.float_load(base, imm),
            11 | 12 => s_type(op::STORE_FP, 2 + self.rng.below(2) as u32, base, rs2, imm),
            13 => return self.cache_block(base),
            14 => return self.new_address(),
            _ => addi(base, base, self.rng.signed(7)),
        };
        self.sequence.push(word);
    }

    fn offset(&mut self) -> i64 {
        match self.rng.below(4) {
            0 => 0,
            1 => self.rng.signed(12),
            2 => self.rng.signed(12) & !7,
            _ => self.rng.signed(5),
        }
    }

    /// `cbo.inval`, `cbo.clean`, `cbo.flush`, `cbo.zero`, and what is reserved beside them. At the
    /// start of a block: on a fault QEMU reports that and we report what the register holds.
    fn cache_block(&mut self, base: Reg) {
        let kinds = [0, 1, 2, 4];
        let kind = if self.rng.one_in(8) { self.rng.below(4096) } else { self.rng.pick(&kinds) };
        self.sequence.push_all(&[
            i_type(op::OP_IMM, 7, base, base, -64),
            i_type(op::MISC_MEM, 2, 0, base, kind as i64),
        ]);
    }

    pub(super) fn new_address(&mut self) {
        let (pointer, address) = (self.pointer(), self.address());
        self.sequence.push_all(&li(pointer, address));
    }

    /// AMOs, and LR/SC pairs.
    pub(super) fn atomic(&mut self) {
        let (rd, base, rs2) = (self.rd(), self.pointer(), self.rs());
        let width = 2 + self.rng.below(2) as u32;
        let ordering = self.rng.below(4) as u32;
        match self.rng.below(8) {
            0..5 => {
                let f5 = self.rng.pick(&[0x00, 0x01, 0x04, 0x08, 0x0c, 0x10, 0x14, 0x18, 0x1c]);
                // Byte and half-word AMOs are another extension's.
                let width = if self.rng.one_in(16) { self.rng.below(8) as u32 } else { width };
                self.sequence.push(r_type(op::AMO, width, f5 << 2 | ordering, rd, base, rs2));
            }
            5 => self.align(base),
            6 => self.reserve(base, width, ordering, rs2),
            _ => self.store_conditional_alone(width),
        }
    }

    /// Makes a pointer a multiple of eight, so that atomics succeed now and then.
    fn align(&mut self, base: Reg) {
        self.sequence.push(i_type(op::OP_IMM, 7, base, base, -8));
    }

    /// LR, then SC of the same size to the same address. (QEMU compares the old value instead of
    /// watching for stores, and looks at nothing when it has no reservation, so an SC after a
    /// store or after an LR that trapped differs by design.)
    fn reserve(&mut self, base: Reg, width: u32, ordering: u32, rs2: Reg) {
        let (mark, loaded, rd) = (self.rd_not_zero(), self.rd_not_zero(), self.rd());
        if mark == loaded {
            return self.align(base);
        }
        if !self.rng.one_in(4) {
            self.align(base);
        }
        // An LR that traps leaves the mark in its destination.
        self.sequence.push_all(&[
            addi(mark, 0, 0x5a5),
            addi(loaded, mark, 0),
            r_type(op::AMO, width, 0x02 << 2 | ordering, loaded, base, 0),
            b_type(0, loaded, mark, 8),
            r_type(op::AMO, width, 0x03 << 2 | ordering, rd, base, rs2),
        ]);
    }

    /// SC without reservation fails. Where it may write: QEMU looks no further, we check the page.
    fn store_conditional_alone(&mut self, width: u32) {
        if (self.mode, self.space) != (Mode::Machine, Space::Bare) {
            return self.memory();
        }
        let (rd, rs2, via) = (self.rd(), self.rs(), self.rd_not_zero());
        let mut words = li(via, crate::layout::SCRATCH + 4096);
        words.push(r_type(op::AMO, width, 0x03 << 2, rd, via, rs2));
        self.sequence.push_all(&words);
    }

    pub(super) fn rd_not_zero(&mut self) -> Reg {
        loop {
            let reg = self.rd();
            if reg != 0 {
                return reg;
            }
        }
    }
}
