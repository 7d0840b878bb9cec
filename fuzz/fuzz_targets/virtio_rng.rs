//! A hostile guest and host at this device: no panic, bounded memory.

#![no_main]

use libfuzzer_sys::fuzz_target;
use stackvm_machine::devices::fuzz::{Kind, drive};

fuzz_target!(|input: &[u8]| drive(Kind::Rng, input));
