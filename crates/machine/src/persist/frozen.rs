//! A machine at one instant, in its parts. Owns how these are taken apart and put together again;
//! keeping them anywhere is not done here.

use super::{MachineState, RestoreError, decode_state, encode_state};
use crate::config::MachineConfig;
use crate::devices::disk::Overlay;
use crate::digest::{Digest, StateHasher, StateTrees};
use crate::instant::Instant;
use crate::machine::Machine;
use crate::memory::FrozenRam;

/// A machine at one instant, immutable: any number of machines can go on from it. Cloning costs
/// neither by the size of RAM nor by what was written.
#[derive(Clone)]
pub struct Frozen {
    config: MachineConfig,
    state: MachineState,
    ram: FrozenRam,
    overlays: Vec<Overlay>,
}

impl Frozen {
    pub(super) fn new(
        config: MachineConfig,
        state: MachineState,
        ram: FrozenRam,
        overlays: Vec<Overlay>,
    ) -> Frozen {
        Frozen { config, state, ram, overlays }
    }

    /// Puts a machine together from its parts, which may come from anywhere: everything is
    /// checked. `config` is the one it was made with (kernel and initrd are not looked at), and
    /// there is an overlay for each of its disks.
    ///
    /// # Errors
    /// See [`RestoreError`].
    pub fn from_parts(
        config: &MachineConfig,
        state: &[u8],
        ram: FrozenRam,
        overlays: Vec<Overlay>,
    ) -> Result<Frozen, RestoreError> {
        let state = decode_state(state)?;
        // What a whole machine takes, every later one will.
        let mut machine = Machine::from_state(config, state, &ram, overlays)?;
        let (config, overlays) = (machine.config.clone(), machine.overlays());
        Ok(Frozen { config, state: machine.state(), ram, overlays })
    }

    /// What the machine is made of, without kernel and initrd: both are in RAM.
    pub fn config(&self) -> &MachineConfig {
        &self.config
    }

    /// The instant it was frozen at.
    pub fn instant(&self) -> Instant {
        self.state.now
    }

    /// Its memory.
    pub fn ram(&self) -> &FrozenRam {
        &self.ram
    }

    /// What its guest has written to each disk.
    pub fn overlays(&self) -> &[Overlay] {
        &self.overlays
    }

    /// Everything but RAM and disks, for [`Frozen::from_parts`]. Equal states have equal bytes.
    pub fn state_bytes(&self) -> Vec<u8> {
        encode_state(&self.state)
    }

    /// Instructions retired by all harts since the machine was last switched on.
    pub fn retired(&self) -> u64 {
        self.state.harts.iter().map(stackvm_riscv::HartState::retired).sum()
    }

    /// The digest of the whole state, as [`Machine::digest`]. `trees` are those of machines with
    /// the same memory and disks; they show this state afterwards.
    pub fn digest(&self, trees: &mut StateTrees) -> Digest {
        let mut hasher = StateHasher::new();
        hasher.part("state", &encode_state(&self.state));
        trees.add_to(&mut hasher, &self.ram, &self.overlays);
        hasher.finish()
    }

    pub(super) fn state(&self) -> &MachineState {
        &self.state
    }
}
