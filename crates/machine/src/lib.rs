//! The deterministic computer: memory, bus, devices, virtual clock, save and restore, digest.
//!
//! A machine is a pure function of where it started and what was put into it. This crate therefore
//! does no I/O, reads no clock, starts no thread and asks no host for randomness: inputs come in
//! through [`Input`], stamped with the instant they arrive at, and outputs leave as [`Output`].

mod board;
pub mod boot;
pub mod config;
pub mod devices;
pub mod digest;
pub mod engine;
mod htif;
pub mod instant;
pub mod io;
pub mod machine;
pub mod memory;
pub mod persist;
mod reset;
mod sbi;
#[cfg(any(test, feature = "fuzz"))]
mod testing;
mod watch;

pub use config::{ConfigError, DiskConfig, Firmware, MachineConfig};
pub use digest::StateTrees;
pub use instant::Instant;
pub use io::{ConsoleId, DiskId, Input, NicId, Output, PortId};
pub use machine::{Machine, Stop};
pub use persist::{Frozen, RestoreError};
pub use watch::{WatchedStore, Writer};
