//! Switching a machine on again with its disks as they are.
//!
//! Owns nothing but that: the guest asks for it through the finisher or SBI ([`Stop::Reset`]
//! (crate::Stop::Reset)), and whoever runs the machine decides.

use crate::config::ConfigError;
use crate::devices::disk::Overlay;
use crate::devices::virtio::VirtioDevice;
use crate::{Machine, MachineConfig};

impl Machine {
    /// Switches the machine on anew, as from [`Machine::new`], but what the guest has written to
    /// its disks stays, and virtual time goes on: an instant never comes twice in a machine's
    /// life. Its clock shows `config.rtc_ns` plus [`Machine::now`]. Requests in flight are lost, as
    /// with a reset button. `config` has the same disks as before.
    ///
    /// # Errors
    /// See [`ConfigError`]; the machine is as before.
    pub fn reset(&mut self, config: &MachineConfig) -> Result<(), ConfigError> {
        let mut fresh = Machine::new(config)?;
        let old = self.board.slots.iter().filter_map(|slot| slot.blk());
        let overlays: Vec<Overlay> = old.map(|blk| blk.disk().overlay().clone()).collect();
        let disks = fresh.board.slots.iter_mut().filter_map(|slot| match slot.device_mut() {
            VirtioDevice::Blk(blk) => Some(blk),
            _ => None,
        });
        for (blk, overlay) in disks.zip(overlays) {
            let set = blk.disk_mut().set_overlay(overlay);
            set.map_err(|error| ConfigError::Invalid(error.to_string()))?;
        }
        fresh.now = self.now;
        // They left before, and nobody took them yet.
        fresh.board.outputs = self.take_outputs();
        *self = fresh;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::devices::disk::MemorySource;
    use crate::{DiskConfig, DiskId, Firmware, Instant, Machine, MachineConfig, Stop};

    /// RV64: `1: j 1b`, as a flat program at the beginning of RAM.
    const SPIN: [u8; 4] = 0x0000_006f_u32.to_le_bytes();

    #[test]
    fn disks_stay_and_all_else_is_new() {
        let disk = DiskConfig {
            source: Arc::new(MemorySource::new(vec![1; 8192])),
            read_only: false,
            serial: String::new(),
        };
        let config = MachineConfig {
            memory_bytes: 4 << 20,
            firmware: Some(Firmware::File(Arc::new(SPIN.to_vec()))),
            disks: vec![disk],
            ..MachineConfig::default()
        };
        let mut machine = Machine::new(&config).unwrap();
        let fresh = machine.digest();
        for slot in &mut machine.board.slots {
            if let crate::devices::virtio::VirtioDevice::Blk(blk) = slot.device_mut() {
                blk.disk_mut().write(4096, &[7; 512]).unwrap();
            }
        }
        assert_eq!(machine.run(Instant::from_ns(1000)), Stop::Until);
        machine.reset(&config).unwrap();
        assert_eq!((machine.now(), machine.retired()), (Instant::from_ns(1000), 0));
        let mut bytes = [0; 1024];
        machine.read_disk(DiskId(0), 4096, &mut bytes).unwrap();
        assert_eq!((bytes[0], bytes[511], bytes[512]), (7, 7, 1));
        assert_ne!(machine.digest(), fresh, "the disk's content counts");

        let smaller = DiskConfig {
            source: Arc::new(MemorySource::new(vec![1; 4096])),
            ..config.disks[0].clone()
        };
        let wrong = MachineConfig { disks: vec![smaller], ..config };
        assert!(machine.reset(&wrong).is_err());
        machine.read_disk(DiskId(0), 4096, &mut bytes).unwrap();
        assert_eq!(bytes[0], 7);
    }
}
