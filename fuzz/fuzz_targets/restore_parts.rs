//! A machine put together from parts that somebody tampered with: refused, or one that runs like
//! any other.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stackvm_machine::persist::fuzz::from_edited_parts;

fuzz_target!(|edits: &[u8]| drop(from_edited_parts(edits)));
