//! What the integration tests share: random numbers, a minimal ELF writer, the oracle (QEMU) and
//! running bare-metal programs on our own machine.
//!
//! Nothing here knows what a test checks; that is in `difftest/` and `guests.rs`.

pub mod elf;
pub mod guest;
pub mod image;
pub mod ours;
pub mod qemu;
pub mod recording;
pub mod rng;

pub use rng::Rng;
