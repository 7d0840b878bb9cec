//! Exceptions and interrupts, by their `mcause` numbers (Privileged Architecture, table 14).

/// A synchronous exception and the value it puts into `mtval`/`stval`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Exception {
    /// What happened.
    pub cause: Cause,
    /// Faulting address or instruction bits; 0 where the cause has none.
    pub tval: u64,
}

/// Exception codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Cause {
    /// Jump to an odd address; impossible with the C extension, listed for completeness of codes.
    InstructionMisaligned = 0,
    /// Fetch from where there is no RAM, or PMP forbids it.
    InstructionAccess = 1,
    /// Reserved encoding, or not allowed in this mode.
    IllegalInstruction = 2,
    /// EBREAK.
    Breakpoint = 3,
    /// Misaligned LR or device load.
    LoadMisaligned = 4,
    /// Load from where there is nothing, or PMP forbids it.
    LoadAccess = 5,
    /// Misaligned SC, AMO or device store.
    StoreMisaligned = 6,
    /// Store to where there is nothing, or PMP forbids it.
    StoreAccess = 7,
    /// ECALL in U-mode.
    EcallUser = 8,
    /// ECALL in S-mode.
    EcallSupervisor = 9,
    /// ECALL in M-mode.
    EcallMachine = 11,
    /// No translation for a fetch.
    InstructionPage = 12,
    /// No translation for a load.
    LoadPage = 13,
    /// No translation for a store or AMO.
    StorePage = 15,
}

impl Exception {
    /// An exception with a `tval`.
    pub(crate) fn new(cause: Cause, tval: u64) -> Self {
        Exception { cause, tval }
    }
}

/// Interrupt bits as they stand in `mip` and `mie`.
pub mod irq {
    /// Supervisor software.
    pub const SSI: u64 = 1 << 1;
    /// Machine software.
    pub const MSI: u64 = 1 << 3;
    /// Supervisor timer.
    pub const STI: u64 = 1 << 5;
    /// Machine timer.
    pub const MTI: u64 = 1 << 7;
    /// Supervisor external.
    pub const SEI: u64 = 1 << 9;
    /// Machine external.
    pub const MEI: u64 = 1 << 11;

    /// Those that can be delegated to S-mode.
    pub const SUPERVISOR: u64 = SSI | STI | SEI;
    /// All of them.
    pub const ALL: u64 = SUPERVISOR | MSI | MTI | MEI;

    /// In falling priority (Privileged Architecture §3.1.9).
    pub const PRIORITY: [u64; 6] = [MEI, MSI, MTI, SEI, SSI, STI];
}
