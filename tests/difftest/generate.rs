//! Random sequences. The state a sequence starts from decides what its instructions may do, so it
//! is drawn first; then come the instructions, by kind.
//!
//! Registers [`POINTERS`] always hold addresses that were chosen on purpose and [`COUNTER`] is for
//! loops: no other instruction writes them, so that a random store cannot reach the runtime.

mod compressed;
mod float;
mod flow;
mod integer;
mod memory;
mod state;
mod system;

use stackvm_tests::Rng;

use crate::asm::Reg;
use crate::sequence::Sequence;

/// Registers that hold addresses; all but the first can be used by compressed loads.
const POINTERS: [Reg; 4] = [2, 8, 9, 10];
/// The loop counter.
const COUNTER: Reg = 31;

const ITEMS_MAX: u64 = 48;

/// The mode a sequence runs in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    User = 0,
    Supervisor = 1,
    Machine = 3,
}

/// Where addresses lead.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Space {
    Bare,
    Sv39,
}

/// A sequence under construction.
struct Generator {
    rng: Rng,
    mode: Mode,
    space: Space,
    sequence: Sequence,
}

/// The `index`-th sequence of a seed.
pub(crate) fn sequence(seed: u64, index: u64) -> Sequence {
    let mut generator = Generator::start(Rng::part(seed, index), index);
    let items = 4 + generator.rng.below(ITEMS_MAX - 4) as usize;
    // Most sequences have a theme, so that related instructions meet.
    let theme = generator.rng.below(10);
    while generator.sequence.items.len() < items {
        let kind = if generator.rng.one_in(3) { generator.rng.below(10) } else { theme };
        generator.add(kind);
    }
    generator.sequence
}

impl Generator {
    /// Adds one item (or a few) of a kind.
    fn add(&mut self, kind: u64) {
        match kind {
            0 | 1 => self.integer(),
            2 | 3 => self.float(),
            4 | 5 => self.memory(),
            6 => self.compressed(),
            7 => self.atomic(),
            8 => self.flow(),
            _ => self.system(),
        }
    }

    /// Adds a straight-line item that is neither a jump nor longer than one instruction.
    fn add_simple(&mut self) {
        match self.rng.below(4) {
            0 => self.integer(),
            1 => self.float(),
            2 => self.memory(),
            _ => self.compressed(),
        }
    }

    /// Any register, to read.
    fn rs(&mut self) -> Reg {
        self.rng.below(32) as Reg
    }

    /// A register that may be written.
    fn rd(&mut self) -> Reg {
        loop {
            let reg = self.rng.below(32) as Reg;
            if may_write(reg) {
                return reg;
            }
        }
    }

    fn pointer(&mut self) -> Reg {
        self.rng.pick(&POINTERS)
    }
}

fn may_write(reg: Reg) -> bool {
    reg != COUNTER && !POINTERS.contains(&reg)
}
