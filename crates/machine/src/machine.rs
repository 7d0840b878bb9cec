//! The machine: harts and board on one virtual clock.

use crate::{ConfigError, Input, Instant, MachineConfig, Output, PortId};

/// Why [`Machine::run`] came back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The instant asked for was reached.
    Until,
    /// The guest switched the machine off; the code is the finisher's or HTIF's (0 is success).
    PowerOff {
        /// Exit code.
        code: u32,
    },
    /// The guest asked for a reset. The caller makes a new machine.
    Reset,
    /// A host condition (unreadable disk content) must be cured first; running again goes on.
    Stalled {
        /// What happened, to what.
        reason: String,
    },
}

/// A running computer.
pub struct Machine {}

impl Machine {
    /// Switches a machine on.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn new(config: &MachineConfig) -> Result<Machine, ConfigError> {
        let _ = config;
        todo!()
    }

    /// Runs to exactly `until`, or to an earlier stop. Never fails: a misbehaving guest is a guest
    /// trap or a device error state.
    pub fn run(&mut self, until: Instant) -> Stop {
        let _ = until;
        todo!()
    }

    /// The instant reached.
    pub fn now(&self) -> Instant {
        todo!()
    }

    /// Applies an input at [`Machine::now`]. Inputs that name absent devices are ignored.
    pub fn input(&mut self, input: Input) {
        let _ = input;
        todo!()
    }

    /// Takes what left the machine since the last call, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        todo!()
    }

    /// When every hart waits in WFI: the instant of the next timer or device event
    /// ([`Instant::MAX`] if there is none). `None` while any hart is busy.
    pub fn idle_until(&self) -> Option<Instant> {
        todo!()
    }

    /// Bytes of input a port still takes before its guest must read.
    pub fn port_room_bytes(&self, port: PortId) -> usize {
        let _ = port;
        todo!()
    }

    /// Instructions retired by all harts.
    pub fn retired(&self) -> u64 {
        todo!()
    }
}
