//! Which engine executes instructions: a choice of the host's, never of the machine's. Nothing a
//! guest computes, and no digest, depends on it.

use std::sync::OnceLock;

pub use stackvm_jit::{Limits as EngineLimits, Profile};
pub use stackvm_riscv::native::{Op, Region, Usage};

use crate::machine::Machine;

/// How often a block runs in the interpreter before it is compiled, unless it is said otherwise.
pub const HEAT: u16 = 24;

/// How instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EngineChoice {
    /// One by one.
    Interpreter,
    /// Hot code is compiled for the host.
    Compiler {
        /// How often a block runs before it is compiled, at least once.
        heat: u16,
        /// Translations that are kept of each context of a hart, if less than there is room for.
        translations_max: usize,
        /// What compiled code may use.
        limits: EngineLimits,
    },
}

impl EngineChoice {
    /// Hot code is compiled, and as many translations kept as there is room for.
    pub const fn compiler(heat: u16, limits: EngineLimits) -> EngineChoice {
        EngineChoice::Compiler { heat, translations_max: usize::MAX, limits }
    }
}

impl Default for EngineChoice {
    fn default() -> EngineChoice {
        EngineChoice::compiler(HEAT, EngineLimits::DEFAULT)
    }
}

static CHOSEN: OnceLock<EngineChoice> = OnceLock::new();

/// Has all machines that this process makes from now on begin with an engine; the first call
/// decides. Otherwise it is the default.
pub fn choose(choice: EngineChoice) {
    // A second choice would come after machines were made by the first.
    let _ = CHOSEN.set(choice);
}

/// The engine that machines of this process begin with.
pub fn chosen() -> EngineChoice {
    CHOSEN.get().copied().unwrap_or_default()
}

impl Machine {
    /// Changes the engine, at any instant.
    pub fn set_engine(&mut self, choice: EngineChoice) {
        match choice {
            EngineChoice::Interpreter => {
                self.engine.interpret();
                self.engine.limit_translations(usize::MAX);
            }
            EngineChoice::Compiler { heat, translations_max, limits } => {
                self.engine.limit_translations(translations_max);
                self.engine.compile_with(Box::new(move || stackvm_jit::compiler(limits)), heat);
            }
        }
    }

    /// Takes the reason why nothing is compiled although it should be, once the host was asked:
    /// some forbid executable memory, and for some there is no compiler.
    pub fn take_no_compiler(&mut self) -> Option<String> {
        self.engine.take_no_compiler()
    }

    /// What is compiled, if [`EngineLimits::profile`] says so.
    pub fn compiled(&self) -> Vec<Region> {
        self.engine.regions()
    }

    /// What compiling cost the host since code was last given back.
    pub fn engine_usage(&self) -> Usage {
        self.engine.usage()
    }

    /// Gives the host's clock, in nanoseconds, by which [`Usage`] says how long compiling takes;
    /// nothing else looks at it.
    pub fn set_clock(&mut self, clock: fn() -> u64) {
        self.engine.set_clock(clock);
    }

    /// Gives memory back to the host that only makes the guest faster: compiled code.
    pub fn forget_code(&mut self) {
        self.engine.forget_code();
    }
}
