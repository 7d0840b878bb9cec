//! Branches, jumps, loops and calls. Branches go forward over whole items, loops count down.

use super::{COUNTER, Generator, Mode, Space};
use crate::asm::{RA, addi, b_type, i_type, jal, li, op};
use crate::layout::*;

impl Generator {
    pub(super) fn flow(&mut self) {
        match self.rng.below(8) {
            0..3 => self.skip(),
            3 => self.skip_compressed(),
            4 => self.repeat(),
            5 => self.jump_register(),
            _ => self.call(),
        }
    }

    /// Some items to jump over, and their length in bytes.
    fn body(&mut self) -> (usize, i64) {
        let first = self.sequence.items.len();
        for _ in 0..1 + self.rng.below(3) {
            self.add_simple();
        }
        let bytes = self.sequence.items[first..].iter().map(|item| 2 * item.len() as i64).sum();
        (first, bytes)
    }

    fn insert(&mut self, at: usize, words: &[u32]) {
        self.sequence.push_all(words);
        let item = self.sequence.items.pop().expect("just pushed");
        self.sequence.items.insert(at, item);
    }

    fn skip(&mut self) {
        let (first, bytes) = self.body();
        let (rs1, rs2, rd) = (self.rs(), self.rs(), self.rd());
        let word = match self.rng.below(4) {
            0 => jal(rd, bytes + 4),
            // 2 and 3 are reserved.
            _ => b_type(self.rng.below(8) as u32, rs1, rs2, bytes + 4),
        };
        self.insert(first, &[word]);
    }

    /// `c.j`, `c.beqz`, `c.bnez` forward.
    fn skip_compressed(&mut self) {
        let (first, bytes) = self.body();
        let offset = (bytes + 2) as u32;
        let bit = |from: u32, to: u32| (offset >> from & 1) << to;
        let parcel = match self.rng.below(3) {
            0 => {
                let places = [(11, 12), (4, 11), (9, 10), (8, 9), (10, 8), (6, 7), (7, 6)];
                let low = [(3, 5), (2, 4), (1, 3), (5, 2)];
                let imm = places.iter().chain(&low).fold(0, |imm, (f, t)| imm | bit(*f, *t));
                0xa001 | imm
            }
            which => {
                let places = [(8, 12), (4, 11), (3, 10), (7, 6), (6, 5), (2, 4), (1, 3), (5, 2)];
                let imm = places.iter().fold(0, |imm, (f, t)| imm | bit(*f, *t));
                let reg = self.rng.below(8) as u32;
                0x8001 | ((which as u32 + 1) | 4) << 13 | reg << 7 | imm
            }
        };
        self.sequence.items.insert(first, vec![parcel as u16]);
    }

    fn repeat(&mut self) {
        let rounds = 1 + self.rng.below(5) as i64;
        self.sequence.push(addi(COUNTER, 0, rounds));
        let (_, bytes) = self.body();
        self.sequence.push_all(&[addi(COUNTER, COUNTER, -1), b_type(1, COUNTER, 0, -(bytes + 4))]);
    }

    /// `auipc` and `jalr` forward, to an odd address at times: the lowest bit is ignored.
    fn jump_register(&mut self) {
        let (first, bytes) = self.body();
        let (via, link) = (self.rd_not_zero(), self.rd());
        let odd = self.rng.below(2) as i64;
        let jalr = i_type(op::JALR, 0, link, via, bytes + 8 + odd);
        self.insert(first, &[op::AUIPC | via << 7, jalr]);
    }

    /// Calls a stub, through any mapping of it, or nothing at all: a fetch fault goes to `ra`.
    fn call(&mut self) {
        let stub = self.rng.pick(&[STUB, STUB, STUB_STRADDLING]);
        let in_window = (WINDOW_PAGES - SCRATCH_PAGES) * 4096;
        let translated = self.space == Space::Sv39 && self.mode != Mode::Machine;
        let choices = if translated { 8 } else { 2 };
        let target = match self.rng.below(choices) {
            0 => SCRATCH + stub,
            1 => NOWHERE,
            2..6 => WINDOW + in_window + stub,
            6 => self.rng.pick(&[MEGAPAGE, GIGAPAGE + (SCRATCH - BASE)]) + stub,
            _ => self.rng.pick(&[0, MEGAPAGE_MISALIGNED, 1 << 40 | WINDOW, 1 << 63, !0xfff]),
        };
        let via = self.rd_not_zero();
        let mut words = li(via, target);
        words.push(i_type(op::JALR, 0, RA, via, 0));
        self.sequence.push_all(&words);
    }
}
