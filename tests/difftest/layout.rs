//! Where things are in the guest's memory.

pub(crate) use stackvm_tests::elf::BASE;

/// S-mode frame, M-mode frame (at +1024) and the runtime's variables.
pub(crate) const FRAME: u64 = BASE + 0x1_0000;
pub(crate) const M_FRAME: i64 = 1024;
/// Variables, as offsets into the frame's page.
pub(crate) mod slot {
    pub(crate) const MSTATUS: i64 = 1536;
    pub(crate) const SSTATUS: i64 = 1544;
    pub(crate) const CAUSE: i64 = 1552;
    pub(crate) const LOG: i64 = 1560;
    pub(crate) const LOG_END: i64 = 1568;
    pub(crate) const DESCRIPTOR: i64 = 1576;
    pub(crate) const END_PC: i64 = 1584;
    pub(crate) const CODE_LOW: i64 = 1592;
    pub(crate) const INDEX: i64 = 1600;
}
/// The record of the sequence that runs; see [`crate::record`].
pub(crate) const RECORD: u64 = BASE + 0x1_8000;
/// Page tables of the sequence that runs: root, level 1 for `BASE`, level 1 and 0 for `WINDOW`.
pub(crate) const TABLES: u64 = BASE + 0x8_0000;
pub(crate) const TABLES_BYTES: u64 = 4 * 4096;
/// The sequences' code, mapped at its own address in every mode.
pub(crate) const CODE: u64 = BASE + 0x20_0000;
pub(crate) const CODE_SLOT_BYTES: u64 = 4096;
/// One fewer than fit, for what crosses into the next.
pub(crate) const CODE_SLOTS: u64 = 0xa0_0000 / CODE_SLOT_BYTES - 1;
/// The memory that sequences read and write, at a 2 MiB boundary.
pub(crate) const SCRATCH: u64 = BASE + 0xc0_0000;
pub(crate) const SCRATCH_PAGES: u64 = 8;
pub(crate) const SCRATCH_BYTES: u64 = SCRATCH_PAGES * 4096;
/// Scratch pages that hold data; the two after them hold stubs that return to `ra`.
pub(crate) const DATA_PAGES: u64 = 6;
/// A stub in the last page, and one that straddles the last two.
pub(crate) const STUB: u64 = 7 * 4096 + 0x100;
pub(crate) const STUB_STRADDLING: u64 = 7 * 4096 - 2;
/// Descriptors, one after the other; see [`crate::sequence`].
pub(crate) const DESCRIPTORS: u64 = BASE + 0x100_0000;

/// Virtual addresses of the Sv39 sequences, none of them a physical address of anything: sixteen
/// small pages …
pub(crate) const WINDOW: u64 = 0x2_4000_0000;
pub(crate) const WINDOW_PAGES: u64 = 16;
/// … a megapage over SCRATCH, one that is misaligned (so that it always faults) …
pub(crate) const MEGAPAGE: u64 = WINDOW + 0x20_0000;
pub(crate) const MEGAPAGE_MISALIGNED: u64 = WINDOW + 0x40_0000;
/// … and a gigapage over the start of RAM.
pub(crate) const GIGAPAGE: u64 = 0x1_4000_0000;
/// Physical addresses where the board has nothing.
pub(crate) const NOWHERE: u64 = 0x1_2345_6000;
