//! Which engine executes instructions: a choice of the host's, never of the machine's. Nothing a
//! guest computes, and no digest, depends on it.

pub use stackvm_jit::Limits as EngineLimits;

use crate::machine::Machine;

/// How often a block runs in the interpreter before it is compiled.
const HEAT: u16 = 24;

/// How instructions are executed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EngineChoice {
    /// One by one.
    Interpreter,
    /// Hot code is compiled for the host.
    Compiler {
        /// How often a block runs before it is compiled, at least once.
        heat: u16,
        /// What compiled code may use.
        limits: EngineLimits,
    },
}

impl Default for EngineChoice {
    fn default() -> EngineChoice {
        EngineChoice::Compiler { heat: HEAT, limits: EngineLimits::DEFAULT }
    }
}

impl Machine {
    /// Changes the engine, at any instant.
    pub fn set_engine(&mut self, choice: EngineChoice) {
        match choice {
            EngineChoice::Interpreter => self.engine.interpret(),
            EngineChoice::Compiler { heat, limits } => {
                self.engine.compile_with(Box::new(move || stackvm_jit::compiler(limits)), heat);
            }
        }
    }

    /// Why nothing is compiled although it should be, once the host was asked.
    pub fn no_compiler(&self) -> Option<&str> {
        self.engine.no_compiler()
    }

    /// Gives memory back to the host that only makes the guest faster: compiled code.
    pub fn forget_code(&mut self) {
        self.engine.forget_code();
    }
}
