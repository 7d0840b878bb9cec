//! The devices of the board. Every one has the same faces: configuration, register and queue
//! handling, saved state (`Serialize`/`Deserialize` plus `validate`), tests.
//!
//! This module owns what the devices share: the traits they implement and the context they work
//! in. Where a device sits on the bus, which interrupt it has and when it runs is the board's.

pub mod clint;
pub mod disk;
pub mod finisher;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod plic;
pub mod rtc;
pub mod uart;
pub mod virtio;
pub mod vmgenid;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

use crate::instant::Instant;
use crate::io::{ConsoleId, Output, PortId};
use crate::memory::Ram;

/// What a device may touch while it handles a register access or an event.
pub struct DeviceContext<'a> {
    /// Guest memory.
    pub ram: &'a mut Ram,
    /// The instant of the access.
    pub now: Instant,
    /// Where outputs go.
    pub outputs: &'a mut Vec<Output>,
}

/// A device with registers on the bus.
///
/// Saving and restoring is a supertrait on purpose: a device that cannot be saved does not compile.
pub trait Device: Persist {
    /// Reads `size` (1, 2, 4 or 8) bytes at `offset` from the device's base. Offsets without a
    /// register read 0.
    fn read(&mut self, offset: u64, size: u8, cx: &mut DeviceContext<'_>) -> u64;

    /// Writes the low `size` (1, 2, 4 or 8) bytes of `value` at `offset` from the device's base.
    /// Offsets without a register ignore it.
    fn write(&mut self, offset: u64, size: u8, value: u64, cx: &mut DeviceContext<'_>);

    /// Level of the device's interrupt line to the PLIC. It changes only in [`Device::read`],
    /// [`Device::write`], [`Device::fire`] and on input.
    fn irq(&self) -> bool {
        false
    }

    /// When the device next does something by itself; [`Device::fire`] is due then.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Does what is due at or before `cx.now`.
    ///
    /// # Errors
    /// [`Stall`], before anything of the stalled step has changed: call again when it is cured.
    fn fire(&mut self, cx: &mut DeviceContext<'_>) -> Result<(), Stall> {
        let _ = cx;
        Ok(())
    }
}

/// State that outlives the process.
pub trait Persist {
    /// What the device is called in error messages.
    const NAME: &'static str;

    /// Everything the guest can see, as plain data.
    type State: Serialize + DeserializeOwned + Validate;

    /// A copy of the state.
    fn save(&self) -> Self::State;

    /// Replaces the state, which may come from anywhere: it is checked first, and what cannot be
    /// checked is harmless.
    ///
    /// # Errors
    /// [`InvalidState`], and the device is unchanged.
    fn restore(&mut self, state: Self::State) -> Result<(), InvalidState>;
}

/// A check of saved state that needs nothing but the state itself.
pub trait Validate {
    /// Refuses what a device could not have saved and could not survive.
    ///
    /// # Errors
    /// [`InvalidState`] with the first problem found.
    fn validate(&self) -> Result<(), InvalidState>;
}

/// Why a saved state was refused.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("saved state of {device}: {problem}")]
pub struct InvalidState {
    /// [`Persist::NAME`] of the device.
    pub device: &'static str,
    /// What is wrong.
    pub problem: String,
}

/// A host condition that keeps a device from completing something that is due. The guest never
/// sees it: the machine waits and tries again.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("{reason}")]
pub struct Stall {
    /// What happened, to what.
    pub reason: String,
}

impl DeviceContext<'_> {
    /// Adds bytes written to a terminal, joining them to the last output where that is possible.
    pub fn emit_console(&mut self, console: ConsoleId, written: &[u8]) {
        if written.is_empty() {
            return;
        }
        match self.outputs.last_mut() {
            Some(Output::Console { console: last, bytes }) if *last == console => {
                bytes.extend_from_slice(written);
            }
            _ => self.outputs.push(Output::Console { console, bytes: written.to_vec() }),
        }
    }

    /// Adds bytes written to a port, joining them to the last output where that is possible.
    pub fn emit_port(&mut self, port: PortId, written: &[u8]) {
        if written.is_empty() {
            return;
        }
        match self.outputs.last_mut() {
            Some(Output::Port { port: last, bytes }) if *last == port => {
                bytes.extend_from_slice(written);
            }
            _ => self.outputs.push(Output::Port { port, bytes: written.to_vec() }),
        }
    }
}

/// [`InvalidState`] unless `holds`; the problem is only formatted when needed.
pub(crate) fn require(
    holds: bool,
    device: &'static str,
    problem: impl FnOnce() -> String,
) -> Result<(), InvalidState> {
    if holds { Ok(()) } else { Err(InvalidState { device, problem: problem() }) }
}

/// Part of a 64-bit register that an access of `size` bytes at `at` (0 to 7) sees.
pub(crate) fn part_of_u64(register: u64, at: u64, size: u8) -> u64 {
    (register >> (8 * (at & 7))) & size_mask(size)
}

/// A 64-bit register after an access of `size` bytes at `at` (0 to 7) wrote `value`.
pub(crate) fn merge_into_u64(register: u64, at: u64, size: u8, value: u64) -> u64 {
    let mask = size_mask(size) << (8 * (at & 7));
    (register & !mask) | ((value << (8 * (at & 7))) & mask)
}

/// What an access of `size` bytes at `offset` sees of a little-endian block of bytes; 0 behind it.
pub(crate) fn read_bytes(block: &[u8], offset: u64, size: u8) -> u64 {
    let start = usize::try_from(offset).unwrap_or(usize::MAX).min(block.len());
    let end = start.saturating_add(usize::from(size.min(8))).min(block.len());
    let mut bytes = [0; 8];
    bytes[..end - start].copy_from_slice(&block[start..end]);
    u64::from_le_bytes(bytes)
}

fn size_mask(size: u8) -> u64 {
    if size >= 8 { u64::MAX } else { (1 << (8 * u32::from(size))) - 1 }
}
