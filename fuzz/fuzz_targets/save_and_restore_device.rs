//! A device saved and restored in the middle of anything goes on as if nothing had happened.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stackvm_machine::devices::fuzz::{Kind, save_and_restore};

fuzz_target!(|input: &[u8]| {
    let Some((choice, input)) = input.split_first() else { return };
    save_and_restore(Kind::ALL[usize::from(*choice) % Kind::ALL.len()], input);
});
