//! A bench for tests: harts over a few pages of RAM and one device, and an assembler.

pub(crate) mod asm;

use crate::bus::{Bus, BusFault, PAGE_BYTES, RAM_BASE, RamPage};
use crate::engine::Engine;
use crate::hart::{Hart, Privilege};
use crate::run::{Exit, Firmware, Turn};
use crate::trap::Cause;

/// Pages of RAM.
pub(crate) const PAGES: u32 = 64;
/// Where the device is: 16 bytes of registers that hold what was written.
pub(crate) const DEVICE: u64 = 0x1000_0000;
/// Where programs begin, and the first page for data.
pub(crate) const CODE: u64 = RAM_BASE;
pub(crate) const DATA: u64 = RAM_BASE + 8 * PAGE_BYTES;
/// Where M-mode's handler is: `j .`, so that a trap shows by where the hart stays.
pub(crate) const HANDLER: u64 = RAM_BASE + 4 * PAGE_BYTES;
/// Where the root page table is put.
pub(crate) const ROOT: u64 = RAM_BASE + 16 * PAGE_BYTES;

#[derive(Clone)]
#[repr(align(4096))]
struct Page([u8; PAGE_BYTES as usize]);

/// RAM and one device.
pub(crate) struct TestBus {
    pages: Vec<Page>,
    pub(crate) registers: [u8; 16],
    /// Address, size and instant of each access to the device.
    pub(crate) accesses: Vec<(u64, u8, u64)>,
}

impl Bus for TestBus {
    fn ram_pages(&self) -> u32 {
        PAGES
    }

    fn page(&self, page: RamPage) -> *const u8 {
        self.pages[page.0 as usize].0.as_ptr()
    }

    fn page_mut(&mut self, page: RamPage) -> *mut u8 {
        self.pages[page.0 as usize].0.as_mut_ptr()
    }

    fn load(&mut self, addr: u64, size: u8, now_ticks: u64) -> Result<u64, BusFault> {
        let at = addr.checked_sub(DEVICE).filter(|at| *at < 16).ok_or(BusFault)? as usize;
        self.accesses.push((addr, size, now_ticks));
        let mut bytes = [0; 8];
        bytes[..usize::from(size)].copy_from_slice(&self.registers[at..at + usize::from(size)]);
        Ok(u64::from_le_bytes(bytes))
    }

    fn store(&mut self, addr: u64, size: u8, value: u64, now_ticks: u64) -> Result<(), BusFault> {
        let at = addr.checked_sub(DEVICE).filter(|at| *at < 16).ok_or(BusFault)? as usize;
        self.accesses.push((addr, size, now_ticks));
        let bytes = &value.to_le_bytes()[..usize::from(size)];
        self.registers[at..at + usize::from(size)].copy_from_slice(bytes);
        Ok(())
    }

    fn mtime(&self, now_ticks: u64) -> u64 {
        now_ticks / 16
    }
}

/// Harts on a [`TestBus`].
pub(crate) struct Rig {
    pub(crate) engine: Engine,
    pub(crate) harts: Vec<Hart>,
    pub(crate) bus: TestBus,
    /// Instructions run so far, each of which takes 16 ticks.
    pub(crate) steps: u64,
}

impl Rig {
    /// One hart in M-mode at [`CODE`], where `program` is.
    pub(crate) fn new(program: &[u32]) -> Rig {
        Rig::with_harts(1, program)
    }

    pub(crate) fn with_harts(harts: usize, program: &[u32]) -> Rig {
        let pages = vec![Page([0; PAGE_BYTES as usize]); PAGES as usize];
        let mut rig = Rig {
            engine: Engine::new(harts, PAGES),
            harts: (0..harts as u64).map(Hart::new).collect(),
            bus: TestBus { pages, registers: [0; 16], accesses: Vec::new() },
            steps: 0,
        };
        for hart in &mut rig.harts {
            hart.set_pc(CODE);
            hart.csr.mtvec = HANDLER;
            hart.pmp = crate::pmp::Pmp::allow_all();
        }
        rig.poke(CODE, &asm::bytes(program));
        rig.poke(HANDLER, &asm::bytes(&[asm::SPIN]));
        rig
    }

    /// The hart of most tests.
    pub(crate) fn hart(&mut self) -> &mut Hart {
        &mut self.harts[0]
    }

    /// Puts bytes into RAM before anything has run there; the caches do not hear of it.
    pub(crate) fn poke(&mut self, addr: u64, bytes: &[u8]) {
        for (addr, byte) in (addr..).zip(bytes) {
            let offset = addr - RAM_BASE;
            let page = &mut self.bus.pages[(offset / PAGE_BYTES) as usize];
            page.0[(offset % PAGE_BYTES) as usize] = *byte;
        }
    }

    /// [`Rig::poke`] of a doubleword.
    pub(crate) fn poke_u64(&mut self, addr: u64, value: u64) {
        self.poke(addr, &value.to_le_bytes());
    }

    /// The doubleword at any address in RAM.
    pub(crate) fn peek(&self, addr: u64) -> u64 {
        let byte = |addr: u64| {
            let offset = addr - RAM_BASE;
            let page = &self.bus.pages[(offset / PAGE_BYTES) as usize];
            page.0[(offset % PAGE_BYTES) as usize]
        };
        (0..8).rev().fold(0, |value, at| value << 8 | u64::from(byte(addr + at)))
    }

    /// As the device writing to RAM.
    pub(crate) fn device_writes(&mut self, addr: u64, value: u64) {
        self.poke_u64(addr, value);
        let page = RamPage(((addr - RAM_BASE) / PAGE_BYTES) as u32);
        self.engine.device_wrote(page, &mut self.harts);
    }

    /// Runs hart `index` for at most `steps` instructions.
    pub(crate) fn run_hart(&mut self, index: usize, steps: u64) -> Exit {
        let turn = Turn {
            steps,
            now_ticks: self.steps * 16,
            ticks_per_step: 16,
            firmware: Firmware::Guest,
        };
        let hart = &mut self.harts[index];
        let before = hart.steps();
        let exit = self.engine.run(index, hart, &mut self.bus, turn);
        self.steps += hart.steps() - before;
        exit
    }

    /// Runs hart 0 for exactly `steps` instructions, whatever exits there are between.
    pub(crate) fn run(&mut self, steps: u64) {
        let end = self.harts[0].steps() + steps;
        while self.harts[0].steps() < end {
            let left = end - self.harts[0].steps();
            self.run_hart(0, left);
        }
    }

    /// Runs until hart 0 is in M-mode's handler; returns cause, `mtval` and `mepc`.
    pub(crate) fn run_to_trap(&mut self) -> (u64, u64, u64) {
        for _ in 0..10_000 {
            if self.harts[0].pc() == HANDLER {
                let csr = &self.harts[0].csr;
                return (csr.mcause, csr.mtval, csr.mepc);
            }
            self.run(1);
        }
        panic!("no trap; pc is {:#x}", self.harts[0].pc());
    }

    /// As [`Rig::run_to_trap`], of an exception that must be `cause`; returns `mtval` and `mepc`.
    pub(crate) fn expect_trap(&mut self, cause: Cause) -> (u64, u64) {
        let (found, tval, epc) = self.run_to_trap();
        assert_eq!(found, cause as u64, "cause; tval {tval:#x}, epc {epc:#x}");
        (tval, epc)
    }

    /// Sv39 with an identity mapping of RAM as one gigapage at `0x8000_0000`, for all of S-mode, in
    /// S-mode. Other mappings go through [`Rig::map`].
    pub(crate) fn enable_paging(&mut self, mode: Privilege) {
        self.poke_u64(ROOT + 2 * 8, pte(RAM_BASE, 0xcf));
        let hart = self.hart();
        hart.csr.satp = 8 << 60 | ROOT >> 12;
        hart.mode = mode;
        hart.csr.stvec = HANDLER;
    }

    /// Maps the page of `va` (below 2 MiB) to `pa` with `flags`, with tables behind [`ROOT`].
    pub(crate) fn map(&mut self, va: u64, pa: u64, flags: u64) {
        assert!(va < 2 << 20);
        self.poke_u64(ROOT, pte(ROOT + PAGE_BYTES, 1));
        self.poke_u64(ROOT + PAGE_BYTES, pte(LEAF_TABLE, 1));
        self.poke_u64(leaf_entry(va), pte(pa, flags));
    }
}

/// The table that [`Rig::map`] writes entries to.
pub(crate) const LEAF_TABLE: u64 = ROOT + 2 * PAGE_BYTES;

/// Where the entry for `va` is that [`Rig::map`] writes.
pub(crate) fn leaf_entry(va: u64) -> u64 {
    LEAF_TABLE + va / PAGE_BYTES * 8
}

/// A page-table entry.
pub(crate) fn pte(pa: u64, flags: u64) -> u64 {
    pa >> 12 << 10 | flags
}

/// Numbers from a seed (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}
