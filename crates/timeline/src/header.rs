//! What a timeline starts from: the machine's configuration.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stackvm_store::{Blob, Digest, Tree};

/// What a machine is made of, for computing its future and for switching it on anew.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Header {
    /// `stackvm_machine::persist::PROFILE` of the recording program.
    pub profile: String,
    /// `stackvm_machine::persist::DETERMINISM_VERSION` of the recording program.
    pub determinism_version: u32,
    /// The image's or kernel's name, for people.
    pub label: String,
    /// The image's hash, in hexadecimal.
    pub image: Option<String>,
    /// When the recording began, in milliseconds since 1970.
    pub created_unix_ms: u64,
    /// RAM, in bytes.
    pub memory_bytes: u64,
    /// Number of harts.
    pub harts: u32,
    /// Offers Sv48.
    pub sv48: bool,
    /// Number of network interfaces.
    pub nics: u8,
    /// Number of virtio terminals.
    pub consoles: u8,
    /// Names of the multiport console's ports.
    pub ports: Vec<String>,
    /// Ticks per instruction at the start.
    pub rate_ticks: u32,
    /// Seed at the start.
    pub seed: u64,
    /// RTC base at the start, in nanoseconds since 1970.
    pub rtc_ns: u64,
    /// Kernel command line.
    pub append: String,
    /// Kernel.
    pub kernel: Option<Content>,
    /// Initial RAM disk.
    pub initrd: Option<Content>,
    /// What is below the kernel.
    pub firmware: HeaderFirmware,
    /// Disks, with what is below the guest's writes.
    pub disks: Vec<HeaderDisk>,
}

/// Where bytes are.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Content {
    /// In the timeline's own chunks.
    Stored(Blob),
    /// In a file of this computer, which must not change: only in journals, never in a `.vmcast`.
    File {
        /// Absolute path.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// BLAKE3 of the whole file, where it is known without reading (files of images); else
        /// `None`, and size and modification time must stay.
        hash: Option<Digest>,
        /// Modification time in nanoseconds since 1970.
        modified_unix_ns: u64,
    },
}

/// What is below the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum HeaderFirmware {
    /// By the kernel file.
    Auto,
    /// The built-in SBI.
    Builtin,
    /// None: the kernel starts in M-mode.
    None,
    /// A firmware file.
    File(Content),
}

/// A disk of the machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HeaderDisk {
    /// Size in bytes; a multiple of 512.
    pub size_bytes: u64,
    /// What is below the guest's writes.
    pub base: DiskBase,
    /// Whether the guest may not write.
    pub read_only: bool,
    /// The serial number the guest sees.
    pub serial: String,
}

/// The immutable content of a disk.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum DiskBase {
    /// In the timeline's own chunks.
    Stored(Tree),
    /// In a file of this computer: only in journals. Fields as of [`Content::File`].
    File(Content),
}
