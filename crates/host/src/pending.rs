//! Stands in for what the machine does not offer yet; its own methods come before these.

use std::io::{self, Read, Write};

use stackvm_machine::{ConfigError, Machine, MachineConfig};

pub(crate) trait Pending: Sized {
    fn save(&mut self, _sink: &mut dyn Write) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn restore(_config: &MachineConfig, _source: &mut dyn Read) -> io::Result<Self> {
        Err(io::ErrorKind::Unsupported.into())
    }
    fn digest(&mut self) -> String {
        String::new()
    }
    fn reset(&mut self, config: &MachineConfig) -> Result<(), ConfigError>;
}

impl Pending for Machine {
    fn reset(&mut self, config: &MachineConfig) -> Result<(), ConfigError> {
        *self = Machine::new(config)?;
        Ok(())
    }
}
