//! Hot guest code to host code.
//!
//! Owns the choice of what is compiled together (`region`), what each guest instruction becomes on
//! x86-64 (`emit`), and the memory the result runs in. Deliberately has no semantics of its own:
//! what takes more than a few host instructions is left to the interpreter, instruction by
//! instruction, through the one call that [`stackvm_riscv::native`] offers. On other hosts there is
//! nothing in here, and [`compiler`] says so.

#[cfg(all(unix, target_arch = "x86_64"))]
mod asm;
#[cfg(all(unix, target_arch = "x86_64"))]
mod compiler;
#[cfg(all(unix, target_arch = "x86_64"))]
mod emit;
#[cfg(all(unix, target_arch = "x86_64"))]
mod homes;
#[cfg(all(unix, target_arch = "x86_64"))]
mod memory;
#[cfg(all(unix, target_arch = "x86_64"))]
mod region;
#[cfg(all(unix, target_arch = "x86_64"))]
mod stubs;

use stackvm_riscv::native::Compiler;

/// How much of what a compiler may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// Host code, in bytes. When it is used up everything is forgotten.
    pub code_bytes: usize,
    /// Pages of the guest that have compiled code.
    pub pages: usize,
    /// Most guest instructions compiled at once.
    pub region_ops: usize,
    /// Whether what runs is counted.
    pub profile: Profile,
}

/// Whether compiled code counts what runs in it, which makes it slower.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Profile {
    /// Nothing is counted.
    Off,
    /// Every region counts its instructions, and is kept to look at.
    On,
}

impl Limits {
    /// 128 MiB of addresses, backed as they are used.
    pub const DEFAULT: Limits =
        Limits { code_bytes: 64 << 20, pages: 4096, region_ops: 256, profile: Profile::Off };
}

/// A compiler for this host, or why there is none.
///
/// # Errors
/// What the host forbids or lacks, to be shown.
#[cfg(all(unix, target_arch = "x86_64"))]
pub fn compiler(limits: Limits) -> Result<Box<dyn Compiler>, String> {
    match compiler::X86::new(limits) {
        Ok(compiler) => Ok(Box::new(compiler)),
        Err(error) => Err(format!("this host gives no memory for compiled code: {error}")),
    }
}

/// A compiler for this host, or why there is none.
///
/// # Errors
/// There is none for this host yet.
#[cfg(not(all(unix, target_arch = "x86_64")))]
pub fn compiler(_limits: Limits) -> Result<Box<dyn Compiler>, String> {
    Err("there is no compiler for this host's processor yet".to_owned())
}
