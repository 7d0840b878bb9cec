//! Switching on: kernel, firmware, initrd and device tree go into RAM, and the harts get their
//! first program counter.
//!
//! Owns the file formats, the memory layout and the rules that choose the firmware. Does no I/O:
//! files come as bytes. Does not run anything: [`BootPlan`] says how the harts start.
//!
//! # Which firmware
//!
//! An ELF with a `tohost` symbol, or one that is entered where RAM begins, is a program for the
//! bare machine and gets none; any other kernel gets the built-in SBI. The user may say otherwise.
//!
//! # Layout
//!
//! As on QEMU's `virt` board: a raw firmware file at the start of RAM, a Linux `Image` at
//! `text_offset` (2 MiB) from there, ELFs at their own physical addresses. The device tree goes
//! below the end of RAM or of its first GiB, whichever is lower, on a 2 MiB boundary if that is
//! free; `fw_dynamic_info` right behind it; the initrd right below it.

mod elf;
mod fdt;
mod identify;
mod image;
mod load;
mod program;
mod sbi_info;
#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;

use crate::config::MachineConfig;
use crate::config::limits;
use crate::memory::RAM_BASE;

pub use load::load;

/// Longest kernel command line, in bytes. (Linux itself keeps 1023 of them.)
pub const COMMAND_LINE_BYTES_MAX: usize = 16 << 10;

/// What of the board the device tree tells.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BoardDescription {
    /// Number of harts.
    pub harts: u32,
    /// RAM, in bytes.
    pub ram_bytes: u64,
    /// Whether address translation is Sv48 at most, rather than Sv39.
    pub sv48: bool,
    /// Occupied virtio-mmio slots, ascending.
    pub virtio_slots: Vec<usize>,
}

impl BoardDescription {
    /// The board of a machine with `config`, whose devices occupy `virtio_slots`.
    pub fn new(config: &MachineConfig, virtio_slots: Vec<usize>) -> BoardDescription {
        BoardDescription {
            harts: config.harts,
            ram_bytes: config.memory_bytes,
            sv48: config.sv48,
            virtio_slots,
        }
    }
}

/// How the harts start. Every hart that starts has its own number in `a0`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BootPlan {
    /// First program counter.
    pub entry_pc: u64,
    /// Privilege of the first instruction.
    pub mode: BootMode,
    /// Which harts start.
    pub start: HartStart,
    /// Register `a1`: physical address of the device tree.
    pub fdt_addr: u64,
    /// Register `a2`: physical address of `fw_dynamic_info`, or 0 without a firmware file.
    pub fw_dynamic_info_addr: u64,
    /// Physical address of the ELF's `tohost`, if it ends through HTIF.
    pub tohost: Option<u64>,
    /// Physical address of the ELF's `fromhost`.
    pub fromhost: Option<u64>,
    /// What is below the kernel.
    pub firmware: FirmwareKind,
}

/// Privilege mode of the first instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootMode {
    /// M-mode.
    Machine,
    /// S-mode.
    Supervisor,
}

/// Which harts run after switching on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HartStart {
    /// All, at the same address.
    AllHarts,
    /// Hart 0; the others wait for SBI HSM `hart_start`.
    BootHartOnly,
}

/// What is below the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FirmwareKind {
    /// The built-in SBI.
    Builtin,
    /// Nothing.
    None,
    /// A file in RAM.
    File,
}

/// A thing that is put into RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// The kernel file.
    Kernel,
    /// The firmware file.
    Firmware,
    /// The initial RAM disk.
    Initrd,
    /// The device tree, with `fw_dynamic_info`.
    DeviceTree,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Kernel => "kernel",
            Part::Firmware => "firmware",
            Part::Initrd => "initial RAM disk",
            Part::DeviceTree => "device tree",
        })
    }
}

/// Why a machine cannot be started from these files.
#[derive(Debug, Error)]
pub enum BootError {
    /// There is nothing to start.
    #[error("nothing to start: give a kernel file, or a firmware file that needs none")]
    NothingToStart,
    /// Built-in or no firmware was asked for, and both start a kernel.
    #[error("firmware \"{firmware}\" starts a kernel: give a kernel file")]
    KernelMissing {
        /// `builtin` or `none`.
        firmware: &'static str,
    },
    /// A file without bytes.
    #[error("the {part} file is empty: check where it came from and copy it again")]
    Empty {
        /// Which file.
        part: Part,
    },
    /// The file is something else than it should be.
    #[error("the {part} file is {found}: {advice}")]
    WrongKind {
        /// Which file.
        part: Part,
        /// What it looks like.
        found: String,
        /// What to do.
        advice: &'static str,
    },
    /// The file ends before what its header promises.
    #[error(
        "the {part} file is truncated: it has {file_bytes} bytes, its header speaks of \
         {expected_bytes}; copy or download it again"
    )]
    Truncated {
        /// Which file.
        part: Part,
        /// Length of the file.
        file_bytes: u64,
        /// Least length according to its header.
        expected_bytes: u64,
    },
    /// The file contradicts itself.
    #[error("the {part} file is damaged: {problem}")]
    Damaged {
        /// Which file.
        part: Part,
        /// What is wrong.
        problem: String,
    },
    /// It is to be loaded where a machine never has RAM.
    #[error(
        "the {part} is linked for address {addr:#x} ({}), where there is no RAM: \
         RAM begins at {RAM_BASE:#x}; link it for physical addresses from there", size(*bytes)
    )]
    OutsideRam {
        /// What does not fit.
        part: Part,
        /// Its first address.
        addr: u64,
        /// Its size in memory.
        bytes: u64,
    },
    /// It does not fit into this machine's RAM.
    #[error(
        "the {part} needs {} at {addr:#x}, RAM ends at {ram_end:#x}: give the machine more memory \
         (at least {})", size(*bytes), size(memory_for(*addr, *bytes))
    )]
    TooLarge {
        /// What does not fit.
        part: Part,
        /// Its first address.
        addr: u64,
        /// Its size in memory.
        bytes: u64,
        /// Where RAM ends.
        ram_end: u64,
    },
    /// Two things want the same memory.
    #[error(
        "the {second} ({second_start:#x} to {second_end:#x}) overlaps the {first} \
         ({first_start:#x} to {first_end:#x}): link one of them for other addresses"
    )]
    Overlap {
        /// The one that was there.
        first: Part,
        /// Its first address.
        first_start: u64,
        /// The address after it.
        first_end: u64,
        /// The one that came later.
        second: Part,
        /// Its first address.
        second_start: u64,
        /// The address after it.
        second_end: u64,
    },
    /// What can be placed anywhere finds no place.
    #[error(
        "no room for the {part} ({}) beside the other files in {} of memory: give the machine \
         more memory", size(*bytes), size(*ram_bytes)
    )]
    NoRoom {
        /// What does not fit.
        part: Part,
        /// Its size.
        bytes: u64,
        /// Size of RAM.
        ram_bytes: u64,
    },
    /// Debian's kernel panics early with so little memory.
    #[error(
        "{kernel} needs at least {} of memory, this machine has {}: give the machine more memory",
        size(limits::LINUX_MEMORY_BYTES_MIN), size(*ram_bytes)
    )]
    LinuxMemory {
        /// What the kernel calls itself.
        kernel: String,
        /// Size of RAM.
        ram_bytes: u64,
    },
    /// The kernel command line cannot be passed on.
    #[error("the kernel command line {problem}")]
    CommandLine {
        /// What is wrong with it.
        problem: String,
    },
    /// The host has no memory for what is loaded.
    #[error("the host has no memory for the guest")]
    HostMemory(#[source] std::io::Error),
}

/// A size for people: in the largest unit that keeps it exact to a tenth.
fn size(bytes: u64) -> String {
    let unit = |shift: u32, name: &str| {
        // Rounded up: messages speak of what is needed.
        let tenths = (u128::from(bytes) * 10).div_ceil(1 << shift);
        match tenths % 10 {
            0 => format!("{} {name}", tenths / 10),
            part => format!("{}.{part} {name}", tenths / 10),
        }
    };
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..0x10_0000 => unit(10, "KiB"),
        0x10_0000..0x4000_0000 => unit(20, "MiB"),
        _ => unit(30, "GiB"),
    }
}

/// The least memory with which `bytes` at `addr` are inside RAM, in whole MiB.
fn memory_for(addr: u64, bytes: u64) -> u64 {
    addr.saturating_add(bytes).saturating_sub(RAM_BASE).div_ceil(1 << 20) << 20
}
