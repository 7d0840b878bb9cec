//! Broken files: any error is fine, a panic is not. The bounded sibling of the fuzz target
//! `boot_image`.

use std::sync::Arc;

use super::fixtures::{Elf, boot, efi_image, file, image};
use crate::config::{Firmware, MachineConfig};
use crate::memory::RAM_BASE;
use crate::memory::tests::Chance;

/// Changes a few bytes, mostly near the start where the headers are, and perhaps the length.
fn mutate(bytes: &mut Vec<u8>, chance: &mut Chance) {
    for _ in 0..=chance.below(4) {
        let near = [bytes.len() as u64, 64, 200][chance.below(3) as usize];
        let at = chance.below(near.max(1)) as usize;
        let interesting = [0, 1, 0x7f, 0x80, 0xff, chance.next() as u8];
        for byte in bytes.iter_mut().skip(at).take(1 + chance.below(8) as usize) {
            *byte = interesting[chance.below(6) as usize];
        }
    }
    if chance.below(4) == 0 {
        bytes.truncate(chance.below(bytes.len() as u64 + 1) as usize);
    }
}

#[test]
fn mutated_files_never_panic() {
    let elf = Elf {
        entry: RAM_BASE,
        segments: vec![
            (RAM_BASE, RAM_BASE, vec![0x13; 100], 8192),
            (RAM_BASE + 0x4000, RAM_BASE + 0x4000, vec![7; 50], 50),
        ],
        symbols: vec![("main", RAM_BASE), ("tohost", RAM_BASE + 0x1000)],
    };
    let files = [elf.bytes(), image(0x20_0000, 1 << 20, 4096), efi_image(0x1000)];
    let (mut started, mut refused) = (0, 0);
    let chance = &mut Chance::new(0x5eed);
    for round in 0..8_000 {
        let mut bytes = files[round % files.len()].clone();
        mutate(&mut bytes, chance);
        let config = MachineConfig { memory_bytes: 4 << 20, ..Default::default() };
        let config = match chance.below(3) {
            0 => MachineConfig { firmware: Some(Firmware::File(Arc::new(bytes))), ..config },
            _ => MachineConfig { kernel: file(bytes), ..config },
        };
        match boot(&config) {
            Ok(_) => started += 1,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                refused += 1;
            }
        }
    }
    // Both ways are taken, or the mutations test nothing.
    assert!(started > 500 && refused > 500, "{started} started, {refused} refused");
}
