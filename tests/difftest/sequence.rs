//! One random sequence: code, and everything the hart and memory hold when it starts.

use crate::csrs;
use crate::layout::*;

/// A descriptor's fields, as byte offsets; all are 64 bits wide.
pub(crate) mod field {
    use crate::csrs;

    /// First instruction; zero ends the list.
    pub(crate) const PC: i64 = 0;
    /// The `ecall` after the last instruction.
    pub(crate) const END_PC: i64 = 8;
    pub(crate) const INDEX: i64 = 16;
    pub(crate) const MSTATUS: i64 = 24;
    /// Start of the pattern in the scratch memory.
    pub(crate) const FILL: i64 = 32;
    /// What is written to [`CSRS`], in that order.
    pub(crate) const CSR_VALUES: i64 = 40;
    /// `mstatus` first: floating point must be on while its registers are loaded.
    pub(crate) const CSRS: [u32; 21] = [
        csrs::MSTATUS,
        csrs::SATP,
        csrs::MEDELEG,
        csrs::PMPADDR0,
        csrs::PMPADDR0 + 1,
        csrs::PMPADDR0 + 2,
        csrs::PMPADDR0 + 3,
        csrs::PMPCFG0,
        csrs::MENVCFG,
        csrs::SENVCFG,
        csrs::MCOUNTEREN,
        csrs::SCOUNTEREN,
        csrs::FCSR,
        csrs::SEPC,
        csrs::SCAUSE,
        csrs::STVAL,
        csrs::MCAUSE,
        csrs::MTVAL,
        csrs::MIDELEG,
        csrs::MIE,
        csrs::MIP,
    ];
    /// `x0` to `x31`.
    pub(crate) const REGS: i64 = CSR_VALUES + 8 * CSRS.len() as i64;
    pub(crate) const FLOATS: i64 = REGS + 8 * 32;
    pub(crate) const POKES_COUNT: i64 = FLOATS + 8 * 32;
    /// Pairs of address and value, stored before the sequence starts.
    pub(crate) const POKES: i64 = POKES_COUNT + 8;
}

/// One instruction, or a few that belong together, as 16-bit parcels.
pub(crate) type Item = Vec<u16>;

/// State of the machine and code to run from it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sequence {
    pub(crate) index: u64,
    pub(crate) items: Vec<Item>,
    pub(crate) mstatus: u64,
    pub(crate) fill: u64,
    /// Values for [`field::CSRS`] after `mstatus`; absent ones are zero.
    pub(crate) csrs: Vec<(u32, u64)>,
    pub(crate) regs: [u64; 32],
    pub(crate) floats: [u64; 32],
    pub(crate) pokes: Vec<(u64, u64)>,
}

impl Sequence {
    /// Adds a 32-bit instruction.
    pub(crate) fn push(&mut self, word: u32) {
        self.items.push(vec![word as u16, (word >> 16) as u16]);
    }

    /// Adds instructions that only make sense together.
    pub(crate) fn push_all(&mut self, words: &[u32]) {
        self.items.push(words.iter().flat_map(|w| [*w as u16, (w >> 16) as u16]).collect());
    }

    pub(crate) fn code_bytes(&self) -> u64 {
        self.items.iter().map(|item| 2 * item.len() as u64).sum()
    }

    fn descriptor(&self, pc: u64) -> Vec<u64> {
        const FS_ON: u64 = 3 << 13;
        let mut words = vec![pc, pc + self.code_bytes(), self.index, self.mstatus, self.fill];
        for number in field::CSRS {
            let value = self.csrs.iter().find(|(csr, _)| *csr == number).map_or(0, |csr| csr.1);
            words.push(if number == csrs::MSTATUS { FS_ON } else { value });
        }
        words.extend(self.regs);
        words.extend(self.floats);
        words.push(self.pokes.len() as u64);
        words.extend(self.pokes.iter().flat_map(|(addr, value)| [*addr, *value]));
        words
    }
}

/// Where a sequence's code is: it depends on nothing else in the program, so that a sequence does
/// the same alone as among others. The code crosses a page boundary, some with an instruction.
fn code_address(index: u64) -> u64 {
    CODE + index % CODE_SLOTS * CODE_SLOT_BYTES + 0xe00 + index % 0x100 * 2
}

/// The memory image of a program that runs `sequences`, from [`BASE`].
pub(crate) fn image(runtime: &[u8], sequences: &[Sequence]) -> Vec<u8> {
    const ECALL: u32 = 0x73;
    let mut image = runtime.to_vec();
    image.resize((DESCRIPTORS - BASE) as usize, 0);
    for sequence in sequences {
        let pc = code_address(sequence.index);
        assert!(sequence.code_bytes() + 4 <= CODE_SLOT_BYTES - 0x200, "too long for its slot");
        let parcels = sequence.items.iter().flatten().flat_map(|parcel| parcel.to_le_bytes());
        let code: Vec<u8> = parcels.chain(ECALL.to_le_bytes()).collect();
        let at = (pc - BASE) as usize;
        image[at..at + code.len()].copy_from_slice(&code);
    }
    let descriptors = sequences.iter().flat_map(|s| s.descriptor(code_address(s.index)));
    image.extend(descriptors.chain([0]).flat_map(u64::to_le_bytes));
    image
}
