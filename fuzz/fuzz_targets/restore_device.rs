//! Any bytes as a device's saved state: refused, or a device that survives what follows.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stackvm_machine::devices::fuzz::{Kind, restore};

fuzz_target!(|input: &[u8]| {
    let Some((choice, state)) = input.split_first() else { return };
    restore(Kind::ALL[usize::from(*choice) % Kind::ALL.len()], state);
});
