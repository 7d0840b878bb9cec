//! What a machine is made of, before it is switched on.

use std::sync::Arc;

use thiserror::Error;

use crate::devices::disk::BlockSource;

/// The limits of a machine, all in one place.
pub mod limits {
    /// Least RAM, in bytes. Bare-metal programs run in this; a stock Linux kernel needs
    /// [`LINUX_MEMORY_BYTES_MIN`].
    pub const MEMORY_BYTES_MIN: u64 = 2 << 20;
    /// Most RAM, in bytes.
    pub const MEMORY_BYTES_MAX: u64 = 64 << 30;
    /// Least RAM with which Debian's stock kernel boots, in bytes.
    pub const LINUX_MEMORY_BYTES_MIN: u64 = 96 << 20;
    /// Most harts.
    pub const HARTS_MAX: u32 = 16;
    /// virtio-mmio slots of the board.
    pub const VIRTIO_SLOTS_MAX: usize = 32;
    /// Most named ports.
    pub const PORTS_MAX: usize = 31;
    /// Most bytes of input a terminal or port holds for a guest that does not read.
    pub const PENDING_INPUT_BYTES_MAX: usize = 1 << 20;
    /// Largest Ethernet frame, without FCS.
    pub const FRAME_BYTES_MAX: usize = 65_550;
    /// Most frames an interface holds for a guest that does not read; later ones are dropped.
    pub const PENDING_FRAMES_MAX: usize = 256;
}

/// The firmware below the kernel.
#[derive(Clone, Debug)]
pub enum Firmware {
    /// The built-in SBI; the kernel starts in S-mode on hart 0.
    Builtin,
    /// None: the kernel file starts in M-mode on all harts.
    None,
    /// A firmware file (OpenSBI, U-Boot), started in M-mode with `fw_dynamic_info`.
    File(Arc<Vec<u8>>),
}

/// A disk and what it starts with.
#[derive(Clone, Debug)]
pub struct DiskConfig {
    /// The immutable content below the machine's own writes.
    pub source: Arc<dyn BlockSource>,
    /// Whether the guest may write (to the copy-on-write overlay, never to the source).
    pub read_only: bool,
    /// The serial number the guest sees, at most 20 bytes.
    pub serial: String,
}

/// Everything a machine starts from. The same configuration, seed included, always makes the same
/// machine.
#[derive(Clone, Debug)]
pub struct MachineConfig {
    /// RAM, in bytes; a multiple of 4 KiB within [`limits`].
    pub memory_bytes: u64,
    /// Number of harts.
    pub harts: u32,
    /// Kernel file: an ELF or a RISC-V Linux `Image`. May be absent with a firmware file.
    pub kernel: Option<Arc<Vec<u8>>>,
    /// Initial RAM disk.
    pub initrd: Option<Arc<Vec<u8>>>,
    /// Kernel command line.
    pub append: String,
    /// Firmware; `None` chooses by the kernel file (see [`crate::boot`]).
    pub firmware: Option<Firmware>,
    /// Disks; the first is `vda`.
    pub disks: Vec<DiskConfig>,
    /// Number of network interfaces.
    pub nics: u8,
    /// Number of virtio terminals (`hvc0`…).
    pub consoles: u8,
    /// Names of the multiport console's ports, as `/dev/virtio-ports/NAME`; none: no such device.
    pub ports: Vec<String>,
    /// Every random bit the guest sees comes from here: virtio-rng, FDT `rng-seed`, MACs, VMGenID.
    pub seed: u64,
    /// Nanoseconds since 1970 that the RTC shows when the machine is switched on.
    pub rtc_ns: u64,
    /// Offer Sv48 beside Sv39.
    pub sv48: bool,
    /// Ticks per instruction at the start; a power of two from 1 to 1024.
    pub rate_ticks: u32,
}

impl Default for MachineConfig {
    fn default() -> Self {
        MachineConfig {
            memory_bytes: 256 << 20,
            harts: 1,
            kernel: None,
            initrd: None,
            append: String::new(),
            firmware: None,
            disks: Vec::new(),
            nics: 0,
            consoles: 0,
            ports: Vec::new(),
            seed: 0,
            // 2026-01-01T00:00:00Z: fixed, so that scripted runs are reproducible.
            rtc_ns: 1_767_225_600_000_000_000,
            sv48: false,
            rate_ticks: 16,
        }
    }
}

/// Why a machine could not be made.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Memory size out of range or not page-aligned.
    #[error("memory of {bytes} bytes: {problem}")]
    Memory {
        /// What was asked for.
        bytes: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Too many or too few harts.
    #[error("{harts} harts: from 1 to {} are possible", limits::HARTS_MAX)]
    Harts {
        /// What was asked for.
        harts: u32,
    },
    /// More devices than slots, ports or ids.
    #[error("{what}: {count} asked for, at most {max} are possible")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        max: usize,
    },
    /// The kernel, firmware or initrd cannot be started.
    #[error(transparent)]
    Boot(#[from] crate::boot::BootError),
    /// The host has no memory for the guest's RAM.
    #[error("could not set up guest memory")]
    HostMemory(#[source] std::io::Error),
    /// An impossible value elsewhere.
    #[error("{0}")]
    Invalid(String),
}
