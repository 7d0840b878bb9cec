//! Bytes as a `.vmcast`: refused or read, with bounded memory.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    stackvm_timeline::fuzz::vmcast_open(data);
});
