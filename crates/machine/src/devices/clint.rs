//! Core-local interruptor: software interrupts and the machine timer of every hart.
//!
//! Owns `msip`, `mtimecmp` and the guest's offset of `mtime`. Does not own the clock, nor the
//! supervisor's `stimecmp`, which are the harts'.

mod device;
mod persist;
#[cfg(test)]
mod tests;

pub use device::Clint;
pub use persist::ClintState;
