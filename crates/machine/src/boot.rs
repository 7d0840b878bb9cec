//! Putting kernel, firmware, initrd and device tree into RAM.

use thiserror::Error;

/// Why a kernel, firmware or initrd cannot be started.
#[derive(Debug, Error)]
pub enum BootError {
    /// The file is neither an ELF nor a RISC-V `Image`.
    #[error("{0}")]
    Kernel(String),
}
