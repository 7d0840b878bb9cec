//! A saved machine that was tampered with: refused, or a machine that runs like any other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stackvm_machine::persist::fuzz::{restore, restore_edited};

fuzz_target!(|input: &[u8]| {
    // Whole files are rarely well-formed, so most inputs are taken as changes to one that is.
    match input.split_first() {
        Some((0, file)) => restore(file),
        Some((_, edits)) => drop(restore_edited(edits)),
        None => {}
    }
});
