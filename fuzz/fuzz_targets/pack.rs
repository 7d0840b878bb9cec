//! A hostile pack of chunks: no panic, bounded memory.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| stackvm_store::pack::fuzz::read(input));
