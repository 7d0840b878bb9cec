//! Any bytes as kernel or firmware file: an error or a started machine, never a panic.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use stackvm_machine::boot::{BoardDescription, load};
use stackvm_machine::memory::Ram;
use stackvm_machine::{Firmware, MachineConfig};

fuzz_target!(|input: &[u8]| {
    let Some((choice, file)) = input.split_first() else { return };
    let file = Arc::new(file.to_vec());
    let config = MachineConfig { memory_bytes: 4 << 20, ..Default::default() };
    let config = match choice % 3 {
        0 => MachineConfig { kernel: Some(file), ..config },
        1 => MachineConfig { firmware: Some(Firmware::File(file)), ..config },
        _ => MachineConfig { kernel: Some(file), firmware: Some(Firmware::None), ..config },
    };
    let mut ram = Ram::new(config.memory_bytes).expect("a valid size");
    let board = BoardDescription::new(&config, vec![0]);
    if let Err(error) = load(&mut ram, &config, &board) {
        assert!(!error.to_string().is_empty());
    }
});
