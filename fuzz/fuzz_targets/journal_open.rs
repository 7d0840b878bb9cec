//! Bytes as the files of a journal: refused or gone on with.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let folder = tempfile::tempdir().expect("a folder");
    stackvm_timeline::fuzz::journal_open(folder.path(), data);
});
