//! Bytes as a block of an input log: what decodes, encodes to the same bytes.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    stackvm_timeline::fuzz::timeline_log(data);
});
