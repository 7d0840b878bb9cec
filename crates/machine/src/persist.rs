//! The whole state of a machine: saved, restored, frozen, forked and digested.
//!
//! Owns the file format of a saved machine and the digest's parts. A restored state may be
//! hostile: everything is checked or harmless, and nothing is believed about lengths.
//!
//! # Format
//!
//! All integers are little-endian. `STACKVM\0`, format version (`u32`), length of the state
//! (`u32`) and the state (postcard); then RAM and each disk as records of a page number (`u64`)
//! and 4096 bytes, ended by the page number `u64::MAX`; at last the machine's digest (32 bytes).
//! Pages of zeroes in RAM and blocks that the guest has not written are left out.

#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;

use std::io::{self, Read, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use stackvm_riscv::{Hart, HartState};

use crate::boot::FirmwareKind;
use crate::config::{ConfigError, MachineConfig};
use crate::devices::clint::Clint;
use crate::devices::disk::{BLOCK_BYTES, Overlay};
use crate::devices::finisher::{Finisher, FinisherRequest};
use crate::devices::plic::Plic;
use crate::devices::rtc::Rtc;
use crate::devices::uart::Uart;
use crate::devices::virtio::{VirtioDevice, VirtioSlotState};
use crate::devices::vmgenid::Vmgenid;
use crate::devices::{InvalidState, Persist};
use crate::digest::{Digest, StateHasher, tree_root};
use crate::htif::Htif;
use crate::instant::Instant;
use crate::io::DiskId;
use crate::machine::{HartRun, Machine, QUANTUM_STEPS, RATE_TICKS_MAX};
use crate::memory::{FrozenRam, PAGE_BYTES, Ram};

const MAGIC: [u8; 8] = *b"STACKVM\0";
/// Raised when a saved machine of before can no longer be read.
const FORMAT_VERSION: u32 = 1;
/// Most bytes the state beside RAM and disks takes: devices hold at most a few MiB of input each.
const STATE_BYTES_MAX: u32 = 128 << 20;
/// Ends the records of RAM or a disk.
const NO_PAGE: u64 = u64::MAX;

/// The instruction set, board, default rate and quantum together; a saved machine runs only where
/// the same profile is.
pub const PROFILE: &str = "virt-1";
/// Raised by bug fixes that change what a machine computes.
pub const DETERMINISM_VERSION: u32 = 1;

/// A machine at one instant, immutable: any number of machines can go on from it.
#[derive(Clone)]
pub struct Frozen {
    config: MachineConfig,
    state: MachineState,
    ram: FrozenRam,
    overlays: Vec<Overlay>,
}

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
    /// The machine at this instant. Costs neither by the size of RAM nor by what was written.
    pub fn freeze(&mut self) -> Frozen {
        let ram = self.freeze_ram();
        Frozen { config: self.config.clone(), state: self.state(), ram, overlays: self.overlays() }
    }

    /// A machine that goes on from a frozen one: the same future for the same inputs.
    ///
    /// # Panics
    /// Never: what was frozen can be thawed.
    pub fn thaw(frozen: &Frozen) -> Machine {
        let mut machine = Machine::assemble(&frozen.config).expect("it was a machine before");
        machine.board.ram = Ram::thaw(&frozen.ram);
        machine.set_overlays(frozen.overlays.clone()).expect("the same disks as before");
        machine.set_state(frozen.state.clone()).expect("a machine's own state");
        machine
    }

    /// Writes the whole machine to `sink`.
    ///
    /// # Errors
    /// The sink's.
    pub fn save(&mut self, sink: &mut dyn Write) -> io::Result<()> {
        let ram = self.freeze_ram();
        let state = postcard::to_stdvec(&self.state()).map_err(io::Error::other)?;
        let length = u32::try_from(state.len()).map_err(io::Error::other)?;
        sink.write_all(&MAGIC)?;
        sink.write_all(&FORMAT_VERSION.to_le_bytes())?;
        sink.write_all(&length.to_le_bytes())?;
        sink.write_all(&state)?;
        let mut result = Ok(());
        ram.for_each_nonzero_page(|page, bytes| {
            if result.is_ok() {
                result = write_page(sink, page.into(), bytes);
            }
        });
        result?;
        sink.write_all(&NO_PAGE.to_le_bytes())?;
        for overlay in self.overlays() {
            for (block, bytes) in overlay.iter() {
                write_page(sink, block, bytes)?;
            }
            sink.write_all(&NO_PAGE.to_le_bytes())?;
        }
        sink.write_all(self.digest().as_bytes())
    }

    /// The machine that [`Machine::save`] wrote, from the same configuration (whose kernel, initrd
    /// and firmware files are not looked at).
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn restore(config: &MachineConfig, source: &mut dyn Read) -> Result<Machine, RestoreError> {
        let mut machine = Machine::read(config, source)?;
        let mut expected = [0; 32];
        source.read_exact(&mut expected)?;
        let found = machine.digest();
        if *found.as_bytes() != expected {
            return Err(RestoreError::Digest { found, expected: Digest::from_bytes(expected) });
        }
        Ok(machine)
    }

    /// Reads all but the digest.
    fn read(config: &MachineConfig, source: &mut dyn Read) -> Result<Machine, RestoreError> {
        let mut head = [0; 16];
        source.read_exact(&mut head)?;
        if head[..8] != MAGIC {
            return Err(RestoreError::Format("it does not begin with STACKVM".into()));
        }
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
        check_version("format", word(8), FORMAT_VERSION)?;
        let state = read_state(source, word(12))?;
        let mut machine = Machine::assemble(config)?;
        let pages = machine.board.ram.size_bytes() / PAGE_BYTES as u64;
        while let Some((page, bytes)) = read_page(source, pages, "RAM")? {
            machine.board.ram.reserve(1).map_err(ConfigError::HostMemory)?;
            let addr = crate::memory::RAM_BASE + page * PAGE_BYTES as u64;
            machine.board.ram.write(addr, &*bytes).expect("the page is inside RAM");
        }
        machine.board.ram.take_written();
        let mut overlays = Vec::new();
        for disk in machine.disks() {
            let sectors = machine.board.disk(disk).expect("a disk").disk().sectors();
            let blocks = sectors.div_ceil(BLOCK_BYTES as u64 / 512);
            let mut overlay = Overlay::default();
            while let Some((block, bytes)) = read_page(source, blocks, "disk")? {
                overlay.insert(block, Arc::from(bytes));
            }
            overlays.push(overlay);
        }
        machine.set_overlays(overlays)?;
        machine.set_state(state)?;
        Ok(machine)
    }

    /// The digest of the whole state: equal for machines with the same future.
    pub fn digest(&mut self) -> Digest {
        let ram = self.freeze_ram();
        let mut hasher = StateHasher::new();
        let state = postcard::to_stdvec(&self.state()).expect("plain data");
        hasher.part("state", &state);
        hasher.tree("ram", ram.pages().into(), self.ram_tree.root(&ram));
        for (index, overlay) in self.overlays().iter().enumerate() {
            // A written block of zeroes hides the source's, so which are written counts as well.
            let written: Vec<u8> = overlay.iter().flat_map(|(n, _)| n.to_le_bytes()).collect();
            hasher.part(&format!("disk{index}.written"), &written);
            let blocks = overlay.last().map_or(0, |last| last + 1);
            let root = tree_root(blocks, |block| {
                overlay.get(block).map_or(Digest::ZERO, |bytes| Digest::of_page(bytes))
            });
            hasher.tree(&format!("disk{index}"), blocks, root);
        }
        drop(ram);
        self.give_back();
        hasher.finish()
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

impl Frozen {
    /// The instant it was frozen at.
    pub fn instant(&self) -> Instant {
        self.state.now
    }

    /// Its memory.
    pub fn ram(&self) -> &FrozenRam {
        &self.ram
    }
}

fn check_version(what: &str, found: u32, expected: u32) -> Result<(), RestoreError> {
    if found == expected {
        return Ok(());
    }
    let name = |version| format!("{what} version {version}");
    Err(RestoreError::Version { found: name(found), expected: name(expected) })
}

fn read_state(source: &mut dyn Read, length: u32) -> Result<MachineState, RestoreError> {
    if length > STATE_BYTES_MAX {
        return Err(RestoreError::Format(format!("a state of {length} bytes")));
    }
    // Grows with what is really there: the length alone allocates nothing.
    let mut bytes = Vec::new();
    source.take(length.into()).read_to_end(&mut bytes)?;
    if bytes.len() != length as usize {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    postcard::from_bytes(&bytes).map_err(|error| RestoreError::Format(error.to_string()))
}

fn write_page(sink: &mut dyn Write, number: u64, bytes: &[u8; PAGE_BYTES]) -> io::Result<()> {
    sink.write_all(&number.to_le_bytes())?;
    sink.write_all(bytes)
}

type Page = Box<[u8; PAGE_BYTES]>;

/// The next record, whose number is below `count`; `None` at the end of the records.
fn read_page(
    source: &mut dyn Read,
    count: u64,
    what: &str,
) -> Result<Option<(u64, Page)>, RestoreError> {
    let mut number = [0; 8];
    source.read_exact(&mut number)?;
    let number = u64::from_le_bytes(number);
    if number == NO_PAGE {
        return Ok(None);
    }
    if number >= count {
        return Err(RestoreError::Format(format!("page {number} of a {what} of {count}")));
    }
    let mut bytes = Box::new([0; PAGE_BYTES]);
    source.read_exact(&mut bytes[..])?;
    Ok(Some((number, bytes)))
}

#[cfg(test)]
mod tests;
