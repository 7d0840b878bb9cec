//! The state a sequence starts from.

use stackvm_tests::Rng;

use super::{Generator, Mode, POINTERS, Space};
use crate::asm::{i_type, op};
use crate::csrs;
use crate::layout::*;
use crate::runtime::INTERRUPTS;
use crate::sequence::Sequence;

mod pte {
    pub(super) const V: u64 = 1;
    pub(super) const R: u64 = 2;
    pub(super) const W: u64 = 4;
    pub(super) const X: u64 = 8;
    pub(super) const U: u64 = 16;
    pub(super) const G: u64 = 32;
    pub(super) const A: u64 = 64;
    pub(super) const D: u64 = 128;
}

const SATP_SV39: u64 = 8 << 60;
/// Exceptions that may be delegated. Not 9: the S-mode handler calls M-mode with it.
const DELEGABLE: u64 = 0b1011_0001_1111_1111;

const INTEGERS: [u64; 20] = [
    0,
    1,
    2,
    u64::MAX,
    u64::MAX - 1,
    1 << 63,
    (1 << 63) - 1,
    (1 << 63) + 1,
    1 << 31,
    (1 << 31) - 1,
    0xffff_ffff_8000_0000,
    0xffff_ffff_7fff_ffff,
    0xffff_ffff,
    1 << 32,
    0x80,
    0xff,
    0x8000,
    0xffff,
    0x5555_5555_5555_5555,
    63,
];

const SINGLES: [u32; 22] = [
    0x0000_0000, // zero
    0x3f80_0000, // one
    0x4000_0000, // two
    0x3fc0_0000, // one and a half
    0x3f7f_ffff, // the last before one
    0x0000_0001, // smallest subnormal
    0x007f_ffff, // largest subnormal
    0x0080_0000, // smallest normal
    0x0080_0001,
    0x7f7f_ffff, // largest
    0x7f80_0000, // infinity
    0x7fc0_0000, // canonical NaN
    0x7f80_0001, // signalling NaN
    0x7fff_ffff, // quiet NaN with payload
    0x4f00_0000, // 2^31
    0x4eff_ffff, // the last before it
    0x5f00_0000, // 2^63
    0x4f80_0000, // 2^32
    0x5f80_0000, // 2^64
    0x3f00_0000, // one half: ties
    0x4b7f_ffff, // odd integer with every bit of the significand
    0x3400_0000, // 2^-23
];

const DOUBLES: [u64; 22] = [
    0x0000_0000_0000_0000,
    0x3ff0_0000_0000_0000,
    0x4000_0000_0000_0000,
    0x3ff8_0000_0000_0000,
    0x3fef_ffff_ffff_ffff,
    0x0000_0000_0000_0001,
    0x000f_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x0010_0000_0000_0001,
    0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000,
    0x7ff8_0000_0000_0000,
    0x7ff0_0000_0000_0001,
    0x7fff_ffff_ffff_ffff,
    0x41df_ffff_ffc0_0000, // 2^31 - 1
    0x41e0_0000_0000_0000, // 2^31
    0x43e0_0000_0000_0000, // 2^63
    0x43f0_0000_0000_0000, // 2^64
    0x3fe0_0000_0000_0000, // one half
    0x47ef_ffff_e000_0000, // largest single
    0x36a0_0000_0000_0000, // smallest subnormal single
    0x380f_ffff_ffff_ffff, // just below the smallest normal single
];

/// The one interrupt of a sequence: of two, QEMU takes the one with the lower number first, where
/// the specification has external before software.
pub(super) fn interrupt_of(index: u64) -> u64 {
    if index.is_multiple_of(2) { INTERRUPTS & 0xff } else { INTERRUPTS & !0xff }
}

pub(super) fn integer(rng: &mut Rng) -> u64 {
    match rng.below(4) {
        0 => rng.next(),
        1 => rng.signed(12) as u64,
        2 => 1 << rng.below(64),
        _ => rng.pick(&INTEGERS),
    }
}

pub(super) fn float(rng: &mut Rng) -> u64 {
    const BOX: u64 = 0xffff_ffff_0000_0000;
    let single = match rng.below(3) {
        0 => rng.next() as u32,
        // Near each other in size, so that sums cancel and round.
        1 => (0x3f80_0000 ^ (rng.next() as u32 & 0x83ff_ffff)).wrapping_sub(0x0100_0000),
        _ => rng.pick(&SINGLES) ^ (rng.next() as u32 & 1 << 31),
    };
    match rng.below(8) {
        0..4 => BOX | u64::from(single),
        // Not properly boxed: reads as NaN in single precision.
        4 => rng.next() & BOX | u64::from(single),
        5 => rng.next(),
        6 => 0x3fe0_0000_0000_0000 ^ (rng.next() & 0x803f_ffff_ffff_ffff),
        _ => rng.pick(&DOUBLES) ^ (rng.next() & 1 << 63),
    }
}

impl Generator {
    /// Draws everything but the instructions.
    pub(super) fn start(mut rng: Rng, index: u64) -> Generator {
        let (mode, space) = match rng.below(8) {
            0..3 => (Mode::Machine, Space::Bare),
            // M-mode that uses MPRV to see what the others see.
            3 => (Mode::Machine, Space::Sv39),
            4 => (Mode::Supervisor, rng.pick(&[Space::Bare, Space::Sv39])),
            5 => (Mode::Supervisor, Space::Sv39),
            6 => (Mode::User, rng.pick(&[Space::Bare, Space::Sv39])),
            _ => (Mode::User, Space::Sv39),
        };
        let sequence = Sequence { index, fill: rng.next(), ..Sequence::default() };
        let mut generator = Generator { rng, mode, space, sequence };
        for reg in 1..32 {
            generator.sequence.regs[reg] = integer(&mut generator.rng);
        }
        for reg in 0..32 {
            generator.sequence.floats[reg] = float(&mut generator.rng);
        }
        generator.poke_scratch();
        if space == Space::Sv39 {
            generator.page_tables();
        }
        generator.control_registers();
        for reg in POINTERS {
            generator.sequence.regs[reg as usize] = generator.address();
        }
        generator
    }

    fn poke(&mut self, addr: u64, value: u64) {
        self.sequence.pokes.push((addr, value));
    }

    /// Interesting values for loads, and the stubs that return to `ra`.
    fn poke_scratch(&mut self) {
        for _ in 0..24 {
            let at = self.rng.below((DATA_PAGES * 4096) / 8) * 8;
            let value = match self.rng.below(2) {
                0 => integer(&mut self.rng),
                _ => float(&mut self.rng),
            };
            self.poke(SCRATCH + at, value);
        }
        let ret = u64::from(i_type(op::JALR, 0, 0, 1, 0));
        self.poke(SCRATCH + STUB, ret);
        self.poke(SCRATCH + STUB_STRADDLING - 6, ret << 48);
        self.poke(SCRATCH + STUB_STRADDLING + 2, ret >> 16);
    }

    /// An address for a pointer register.
    pub(super) fn address(&mut self) -> u64 {
        let in_page = match self.rng.below(4) {
            0 | 1 => self.rng.below(512) * 8,
            2 => 4096 - self.rng.below(16),
            _ => self.rng.below(4096),
        };
        let offset = (1 + self.rng.below(DATA_PAGES - 1)) * 4096 + in_page;
        if self.rng.one_in(24) {
            return NOWHERE + in_page;
        }
        if self.space == Space::Bare {
            return SCRATCH + offset;
        }
        match self.rng.below(32) {
            0..20 => WINDOW + self.rng.below(WINDOW_PAGES - 2) * 4096 + in_page,
            20..24 => MEGAPAGE + offset,
            24..27 => GIGAPAGE + (SCRATCH - BASE) + offset,
            27 => MEGAPAGE_MISALIGNED + offset,
            // Bits 63 to 39 differ from bit 38.
            28 => (1 << (39 + self.rng.below(25))) | (WINDOW + in_page),
            29 => 0xffff_ffff_ffff_f000_u64.wrapping_add(in_page),
            _ => SCRATCH + offset,
        }
    }

    /// A leaf's flags: mostly right for this mode, each wrong now and then.
    pub(super) fn leaf_flags(&mut self) -> u64 {
        let mut flags = pte::V | pte::R | pte::W | pte::X | pte::A | pte::D;
        if self.mode == Mode::User || self.rng.one_in(3) {
            flags |= pte::U;
        }
        for (bit, odds) in [
            (pte::V, 16),
            (pte::R, 8),
            (pte::W, 5),
            (pte::X, 3),
            (pte::U, 8),
            (pte::A, 4),
            (pte::D, 3),
            (pte::G, 4),
        ] {
            if self.rng.one_in(odds) {
                flags ^= bit;
            }
        }
        // Software may use bits 8 and 9; bits 54 to 63 must be zero without more extensions.
        flags |= self.rng.below(4) << 8;
        if self.rng.one_in(32) {
            flags |= 1 << (54 + self.rng.below(10));
        }
        flags
    }

    fn page_tables(&mut self) {
        let leaf = |addr: u64, flags: u64| addr >> 2 | flags;
        let table = |page: u64| TABLES + page * 4096;
        let user = if self.mode == Mode::User { pte::U } else { 0 };
        let mut odd = 0;
        if self.rng.one_in(24) {
            // Reserved in a pointer to the next table.
            odd = self.rng.pick(&[pte::A, pte::D, pte::U, 1 << 54, 1 << 61, 1 << 63]);
        }
        self.poke(table(0) + 8 * (WINDOW >> 30), leaf(table(2), pte::V | odd));
        self.poke(table(0) + 8 * 2, leaf(table(1), pte::V));
        let flags = self.leaf_flags();
        self.poke(table(0) + 8 * (GIGAPAGE >> 30), leaf(BASE, flags));
        let all = pte::V | pte::R | pte::W | pte::X | pte::A | pte::D;
        self.poke(table(1), leaf(BASE, all));
        for addr in (CODE..SCRATCH).step_by(1 << 21) {
            let code = pte::V | pte::R | pte::X | pte::A | user;
            self.poke(table(1) + ((addr - BASE) >> 21) * 8, leaf(addr, code));
        }
        let flags = self.leaf_flags();
        self.poke(table(1) + ((SCRATCH - BASE) >> 21) * 8, leaf(SCRATCH, flags));
        self.poke(table(2), leaf(table(3), pte::V));
        let flags = self.leaf_flags();
        self.poke(table(2) + 8, leaf(SCRATCH, flags));
        let flags = self.leaf_flags() | pte::V | pte::R;
        self.poke(table(2) + 16, leaf(SCRATCH + 4096, flags));
        for page in 0..WINDOW_PAGES {
            // The last two are the stubs' pages, in order.
            let to = match WINDOW_PAGES - page {
                2 => SCRATCH_PAGES - 2,
                1 => SCRATCH_PAGES - 1,
                _ => 1 + self.rng.below(DATA_PAGES - 1),
            };
            let flags = self.leaf_flags();
            self.poke(table(3) + 8 * page, leaf(SCRATCH + to * 4096, flags));
        }
    }

    fn control_registers(&mut self) {
        let rng = &mut self.rng;
        let mode = self.mode as u64;
        // FS is off or dirty: QEMU makes it dirty when a register is written, here any instruction
        // of floating point does. MPP is the mode to enter.
        let fs = if rng.one_in(8) { 0 } else { 3 };
        let mut mstatus = fs << 13 | mode << 11;
        // SUM, MXR, TVM, TW.
        for (bit, odds) in [(18, 2), (19, 2), (20, 6), (21, 6)] {
            mstatus |= u64::from(rng.one_in(odds)) << bit;
        }
        // MPRV; leaving M-mode clears it, and M-mode goes on with MPP = U.
        mstatus |= u64::from(self.space == Space::Sv39 && mode == 3 && !rng.one_in(4)) << 17;
        let mut set = vec![(csrs::FCSR, rng.below(32) | rng.below(5) << 5)];
        if rng.one_in(12) {
            set[0].1 = rng.below(256);
        }
        if self.space == Space::Sv39 {
            set.push((csrs::SATP, SATP_SV39 | TABLES >> 12));
        }
        if rng.one_in(2) {
            // Misaligned and access faults go the same way: see `unify_misaligned`.
            let causes = rng.next() & DELEGABLE & !0xf0;
            set.push((csrs::MEDELEG, causes | rng.pick(&[0, 0x30, 0xc0, 0xf0])));
        } else {
            // TSR: only where no S-mode handler needs its SRET.
            mstatus |= u64::from(rng.one_in(4)) << 22;
        }
        // Bits: FIOM, CBIE (2 is reserved), CBCFE, CBZE; ADUE, STCE.
        let cbie = rng.pick(&[0, 1, 3]) << 4;
        let adue = u64::from(!rng.one_in(5)) << 61;
        set.push((csrs::MENVCFG, rng.next() & 0x80000000_000000c1 | cbie | adue));
        let cbie = rng.pick(&[0, 1, 3]) << 4;
        set.push((csrs::SENVCFG, rng.next() & 0xc1 | cbie));
        set.push((csrs::MCOUNTEREN, rng.below(8)));
        set.push((csrs::SCOUNTEREN, rng.below(8)));
        set.push((csrs::SEPC, rng.next() & !1));
        if rng.one_in(4) {
            // MPIE, SPIE, SIE; what is pending comes at once.
            mstatus |= rng.next() & 0xa2;
            let interrupt = interrupt_of(self.sequence.index);
            for number in [csrs::MIDELEG, csrs::MIE, csrs::MIP] {
                set.push((number, rng.next() & interrupt));
            }
        }
        self.sequence.mstatus = mstatus;
        self.sequence.csrs = set;
        // An access that only begins in an entry fails in every mode; QEMU lets M-mode pass.
        if self.mode != Mode::Machine && self.rng.one_in(3) {
            self.protect_scratch();
        }
    }

    /// PMP entries over the scratch memory, none of them locked: a lock lasts until reset.
    fn protect_scratch(&mut self) {
        let mut config = 0;
        for entry in 0..4 {
            // No entry smaller than an access: QEMU only looks at an access's two ends.
            let offset = self.rng.below(DATA_PAGES * 4096) & !63;
            // A TOR entry begins at the address of the one before; the first would begin at zero
            // and cover the runtime.
            let (kind, addr) = match self.rng.below(4) {
                0 => (0, (SCRATCH + offset) >> 2),
                1 if entry > 0 => (1, (SCRATCH + offset) >> 2),
                1 => (0, (SCRATCH + offset) >> 2),
                _ => {
                    let size_log2 = 6 + self.rng.below(9);
                    let ones = (1 << (size_log2 - 3)) - 1;
                    (3, ((SCRATCH + offset) >> 2) & !(2 * ones + 1) | ones)
                }
            };
            // Write without read is reserved.
            let rights = self.rng.pick(&[0, 1, 3, 4, 5, 7]);
            config |= (kind << 3 | rights) << (8 * entry);
            self.sequence.csrs.push((csrs::PMPADDR0 + entry as u32, addr));
        }
        self.sequence.csrs.push((csrs::PMPCFG0, config));
    }
}
