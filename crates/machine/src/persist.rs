//! The whole state of a machine: saved, restored, frozen, forked and digested.
//!
//! Owns what belongs to the state and what is refused of one that comes from elsewhere: it may be
//! hostile, so everything is checked or harmless. A machine at one instant is [`Frozen`]; the file
//! of a saved machine is in `file`; hashing is [`crate::digest`]'s.

mod compare;
mod file;
mod frozen;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;

use std::io;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use stackvm_riscv::{Hart, HartState};

use crate::boot::FirmwareKind;
use crate::config::{ConfigError, MachineConfig};
use crate::devices::clint::Clint;
use crate::devices::disk::Overlay;
use crate::devices::finisher::{Finisher, FinisherRequest};
use crate::devices::plic::Plic;
use crate::devices::rtc::Rtc;
use crate::devices::uart::Uart;
use crate::devices::virtio::{VirtioDevice, VirtioSlotState};
use crate::devices::vmgenid::Vmgenid;
use crate::devices::{InvalidState, Persist};
use crate::digest::Digest;
use crate::htif::Htif;
use crate::instant::Instant;
use crate::io::DiskId;
use crate::machine::{HartRun, Machine, QUANTUM_STEPS, RATE_TICKS_MAX};
use crate::memory::{FrozenRam, Ram};

pub use crate::digest::StateTrees;
pub use frozen::Frozen;

/// The instruction set, board, default rate and quantum together; a saved machine runs only where
/// the same profile is.
pub const PROFILE: &str = "virt-1";
/// Raised by bug fixes that change what a machine computes.
pub const DETERMINISM_VERSION: u32 = 1;

/// Why a saved machine cannot be restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The file could not be read, or ends too early.
    #[error("the saved machine cannot be read")]
    Read(#[from] io::Error),
    /// It is something else.
    #[error("not a saved machine: {0}")]
    Format(String),
    /// It is from another version of this program.
    #[error("saved as {found}, this program runs {expected}")]
    Version {
        /// What the file says.
        found: String,
        /// What is needed.
        expected: String,
    },
    /// The machine it was saved from had another shape.
    #[error("the saved machine has {found} {what}, its configuration {expected}")]
    Shape {
        /// What differs.
        what: &'static str,
        /// In the file.
        found: u64,
        /// In the configuration.
        expected: u64,
    },
    /// No machine could ever be in that state.
    #[error(transparent)]
    Device(#[from] InvalidState),
    /// No machine could ever be in that state.
    #[error("{0}")]
    Invalid(String),
    /// The content is not what was saved.
    #[error("the saved machine is damaged: its digest is {found}, saved was {expected}")]
    Digest {
        /// Of what was read.
        found: Digest,
        /// As saved.
        expected: Digest,
    },
    /// The configuration itself is impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Everything but RAM and disks.
#[derive(Clone, Serialize, Deserialize)]
struct MachineState {
    profile: String,
    determinism_version: u32,
    memory_bytes: u64,
    now: Instant,
    rate_ticks: u32,
    current: u64,
    quantum_left: u64,
    firmware: SavedFirmware,
    htif: Option<Htif>,
    off: Option<FinisherRequest>,
    runs: Vec<HartRun>,
    harts: Vec<HartState>,
    uart: <Uart as Persist>::State,
    clint: <Clint as Persist>::State,
    plic: <Plic as Persist>::State,
    rtc: <Rtc as Persist>::State,
    finisher: <Finisher as Persist>::State,
    vmgenid: <Vmgenid as Persist>::State,
    slots: Vec<VirtioSlotState>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum SavedFirmware {
    Builtin,
    Guest,
}

impl Machine {
    /// The machine at this instant. Costs neither by what was written nor, but for a byte a page, by
    /// the size of RAM. Who does so again and again has to [`Machine::give_back_when_due`] in
    /// between.
    pub fn freeze(&mut self) -> Frozen {
        let ram = self.freeze_ram();
        Frozen::new(self.config.clone(), self.state(), ram, self.overlays())
    }

    /// A machine that goes on from a frozen one: the same future for the same inputs.
    ///
    /// # Panics
    /// Never: what was frozen can be thawed.
    pub fn thaw(frozen: &Frozen) -> Machine {
        let overlays = frozen.overlays().to_vec();
        Machine::from_state(frozen.config(), frozen.state().clone(), frozen.ram(), overlays)
            .expect("it was a machine before")
    }

    /// The machine of that configuration in a state that may come from anywhere.
    fn from_state(
        config: &MachineConfig,
        state: MachineState,
        ram: &FrozenRam,
        overlays: Vec<Overlay>,
    ) -> Result<Machine, RestoreError> {
        let mut machine = Machine::assemble(config)?;
        let sizes = [
            ("bytes of RAM", ram.size_bytes(), machine.board.ram.size_bytes()),
            ("disks", overlays.len() as u64, machine.disks().count() as u64),
        ];
        for (what, found, expected) in sizes {
            if found != expected {
                return Err(RestoreError::Shape { what, found, expected });
            }
        }
        machine.board.ram = Ram::thaw(ram);
        machine.set_overlays(overlays)?;
        machine.set_state(state)?;
        Ok(machine)
    }

    /// The digest of the whole state: equal for machines with the same future.
    pub fn digest(&mut self) -> Digest {
        let frozen = self.freeze();
        let digest = frozen.digest(&mut self.trees);
        drop(frozen);
        self.give_back();
        digest
    }

    /// Gives memory back to the host that earlier freezes left behind, if there is enough of it:
    /// every freeze does, as what is written after it is a copy. Before a freeze rather than after
    /// it, since what a frozen machine holds stays. Takes milliseconds where much was written, on
    /// average a small part of what the copies took.
    pub fn give_back_when_due(&mut self) {
        if self.board.ram.is_compaction_due() {
            self.give_back();
        }
    }

    /// Gives pages back to the host that no one refers to any more. Only where nobody waits: unlike
    /// a freeze, it looks at all of RAM.
    fn give_back(&mut self) {
        // Without memory for its copies nothing is given back, and the machine is as before.
        let _ = self.board.ram.compact();
        self.engine.forget_pages();
    }

    fn freeze_ram(&mut self) -> FrozenRam {
        let ram = self.board.ram.freeze();
        self.engine.forget_pages();
        ram
    }

    fn disks(&self) -> impl Iterator<Item = DiskId> + use<> {
        let count = self.board.slots.iter().filter(|slot| slot.blk().is_some()).count();
        (0..count).map(|n| DiskId(u8::try_from(n).expect("fewer than the slots")))
    }

    fn overlays(&self) -> Vec<Overlay> {
        let disks = self.board.slots.iter().filter_map(|slot| slot.blk());
        disks.map(|blk| blk.disk().overlay().clone()).collect()
    }

    fn set_overlays(&mut self, overlays: Vec<Overlay>) -> Result<(), InvalidState> {
        let disks = self.board.slots.iter_mut().filter_map(|slot| match slot.device_mut() {
            VirtioDevice::Blk(blk) => Some(blk),
            _ => None,
        });
        for (blk, overlay) in disks.zip(overlays) {
            blk.disk_mut().set_overlay(overlay)?;
        }
        Ok(())
    }

    fn state(&mut self) -> MachineState {
        for (index, hart) in self.harts.iter_mut().enumerate() {
            let turn_is_over = index != self.current || self.quantum_left == 0;
            if turn_is_over && self.runs.len() > 1 {
                self.engine.settle(index, hart);
            }
        }
        let board = &self.board;
        MachineState {
            profile: PROFILE.into(),
            determinism_version: DETERMINISM_VERSION,
            memory_bytes: board.ram.size_bytes(),
            now: self.now,
            rate_ticks: self.rate_ticks,
            current: self.current as u64,
            quantum_left: self.quantum_left,
            firmware: match self.firmware {
                FirmwareKind::Builtin => SavedFirmware::Builtin,
                FirmwareKind::None | FirmwareKind::File => SavedFirmware::Guest,
            },
            htif: self.htif.clone(),
            off: self.off,
            runs: self.runs.clone(),
            harts: self.harts.iter().map(Hart::save).collect(),
            uart: board.uart.save(),
            clint: board.clint.save(),
            plic: board.plic.save(),
            rtc: board.rtc.save(),
            finisher: board.finisher.save(),
            vmgenid: board.vmgenid.save(),
            slots: board.slots.iter().map(Persist::save).collect(),
        }
    }

    /// Takes over a state, after RAM and disks were filled.
    fn set_state(&mut self, state: MachineState) -> Result<(), RestoreError> {
        self.check_shape(&state)?;
        for (hart, saved) in self.harts.iter_mut().zip(&state.harts) {
            hart.restore(saved).map_err(|error| RestoreError::Invalid(error.to_string()))?;
        }
        // Each instruction takes a tick at least, so no counter of them can overflow.
        let steps = self.harts.iter().map(Hart::steps);
        if steps.map(u128::from).sum::<u128>() > state.now.ticks().into() {
            return Err(RestoreError::Invalid("more instructions than ticks passed".into()));
        }
        let board = &mut self.board;
        board.uart.restore(state.uart)?;
        board.clint.restore(state.clint)?;
        board.plic.restore(state.plic)?;
        board.rtc.restore(state.rtc)?;
        board.finisher.restore(state.finisher)?;
        board.vmgenid.restore(state.vmgenid)?;
        for (slot, saved) in board.slots.iter_mut().zip(state.slots) {
            slot.restore(saved)?;
        }
        self.runs = state.runs;
        self.current = state.current as usize;
        self.quantum_left = state.quantum_left;
        self.now = state.now;
        self.rate_ticks = state.rate_ticks;
        self.firmware = match state.firmware {
            SavedFirmware::Builtin => FirmwareKind::Builtin,
            SavedFirmware::Guest => FirmwareKind::None,
        };
        self.htif = state.htif;
        self.off = state.off;
        self.watch_htif();
        for index in 0..self.harts.len() {
            if self.harts.len() > 1 && (index != self.current || self.quantum_left == 0) {
                self.engine.end_turn(index, &self.harts[index], &mut self.board);
            }
        }
        Ok(())
    }

    /// Refuses what would not fit this machine or could never have been saved.
    fn check_shape(&self, state: &MachineState) -> Result<(), RestoreError> {
        if state.profile != PROFILE {
            let (found, expected) = (state.profile.clone(), PROFILE.into());
            return Err(RestoreError::Version { found, expected });
        }
        check_version("determinism", state.determinism_version, DETERMINISM_VERSION)?;
        let harts = self.harts.len() as u64;
        let equal = [
            ("bytes of RAM", state.memory_bytes, self.board.ram.size_bytes()),
            ("harts", state.harts.len() as u64, harts),
            ("hart states", state.runs.len() as u64, harts),
            ("virtio devices", state.slots.len() as u64, self.board.slots.len() as u64),
        ];
        for (what, found, expected) in equal {
            if found != expected {
                return Err(RestoreError::Shape { what, found, expected });
            }
        }
        let rate_is_legal =
            state.rate_ticks.is_power_of_two() && state.rate_ticks <= RATE_TICKS_MAX;
        if state.current >= harts || state.quantum_left > QUANTUM_STEPS || !rate_is_legal {
            return Err(RestoreError::Invalid("impossible turn or rate".into()));
        }
        Ok(())
    }
}

fn check_version(what: &str, found: u32, expected: u32) -> Result<(), RestoreError> {
    if found == expected {
        return Ok(());
    }
    let name = |version| format!("{what} version {version}");
    Err(RestoreError::Version { found: name(found), expected: name(expected) })
}

/// Reads what [`Frozen::state_bytes`] gave.
fn decode_state(bytes: &[u8]) -> Result<MachineState, RestoreError> {
    let format = |problem: String| RestoreError::Format(problem);
    let (state, rest) = postcard::take_from_bytes::<MachineState>(bytes)
        .map_err(|error| format(error.to_string()))?;
    if !rest.is_empty() {
        return Err(format(format!("{} bytes behind the state", rest.len())));
    }
    Ok(state)
}

fn encode_state(state: &MachineState) -> Vec<u8> {
    postcard::to_stdvec(state).expect("plain data")
}

#[cfg(test)]
mod tests;
