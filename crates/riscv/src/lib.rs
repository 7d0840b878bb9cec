//! RISC-V harts: decode, execute, translate addresses, trap.
//!
//! Owns the instruction set (RV64GC with Zba, Zbb, Zbs, Zicsr, Zifencei, Zicntr, Zicbom, Zicboz,
//! Sstc, Svadu; M, S and U mode; PMP; Sv39 and Sv48), its exact floating point, and the
//! interpreter that runs it from predecoded blocks. Deliberately knows nothing of boards, devices,
//! firmware or wall time: memory and devices are reached through the [`Bus`] trait, and the virtual
//! clock is a number the caller hands in.

mod access;
mod atomic;
mod blocks;
pub mod bus;
mod csr;
mod decode;
mod engine;
mod float;
pub mod hart;
mod int;
mod mmu;
pub mod native;
mod op;
pub mod pmp;
pub mod run;
pub mod softfloat;
mod system;
#[cfg(test)]
mod testing;
mod tlb;
pub mod trap;

pub use bus::{Bus, BusFault, RamPage};
pub use engine::{Engine, MakeCompiler, ReportedStore};
pub use hart::{Hart, HartState, Privilege};
pub use run::{Exit, Firmware, Turn};
