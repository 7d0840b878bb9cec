//! Which engine executes instructions: a choice of the host's, never of the machine's. Nothing a
//! guest computes, and no digest, depends on it.

use stackvm_jit::Limits;

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
        limits: Limits,
    },
}

impl Default for EngineChoice {
    fn default() -> EngineChoice {
        EngineChoice::Compiler { heat: HEAT, limits: Limits::default() }
    }
}

impl Machine {
    /// Changes the engine, at any instant.
    ///
    /// # Errors
    /// Why this host has no compiler; the machine is then left to the interpreter.
    pub fn set_engine(&mut self, choice: EngineChoice) -> Result<(), String> {
        self.engine.drop_compiler();
        if let EngineChoice::Compiler { heat, limits } = choice {
            self.engine.set_compiler(stackvm_jit::compiler(limits)?, heat);
        }
        Ok(())
    }
}
