//! What a timeline starts from: the machine's configuration.

mod check;
mod machine;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stackvm_machine::persist::{DETERMINISM_VERSION, PROFILE};
use stackvm_machine::{ConsoleId, Firmware, MachineConfig};
use stackvm_store::{Blob, Digest, Tree};

pub(crate) use check::Place;
pub use machine::ConfigureError;
#[cfg(unix)]
pub(crate) use machine::{open_disk, open_unchanged, read_content};

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

/// Where a machine's bytes come from, which its [`MachineConfig`] does not tell any more.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Sources {
    /// See [`Header::label`].
    pub label: String,
    /// See [`Header::image`].
    pub image: Option<String>,
    /// See [`Header::created_unix_ms`].
    pub created_unix_ms: u64,
    /// Where the kernel is; as there is one or not in the configuration.
    pub kernel: Option<Content>,
    /// Where the initial RAM disk is.
    pub initrd: Option<Content>,
    /// Where the firmware file is, if it is one.
    pub firmware: Option<Content>,
    /// Where the disks are, one for each of the configuration.
    pub disks: Vec<DiskBase>,
}

impl Header {
    /// The header of a recording of a machine of this configuration, by this program.
    ///
    /// # Panics
    /// When `sources` has not just what the configuration needs.
    pub fn new(config: &MachineConfig, sources: Sources) -> Header {
        assert_eq!(config.kernel.is_some(), sources.kernel.is_some(), "where the kernel is");
        assert_eq!(config.initrd.is_some(), sources.initrd.is_some(), "where the initrd is");
        assert_eq!(config.disks.len(), sources.disks.len(), "where the disks are");
        let firmware = match &config.firmware {
            None => HeaderFirmware::Auto,
            Some(Firmware::Builtin) => HeaderFirmware::Builtin,
            Some(Firmware::None) => HeaderFirmware::None,
            Some(Firmware::File(_)) => {
                HeaderFirmware::File(sources.firmware.expect("where the firmware is"))
            }
        };
        let disks = config.disks.iter().zip(sources.disks).map(|(disk, base)| HeaderDisk {
            size_bytes: disk.source.size_bytes(),
            base,
            read_only: disk.read_only,
            serial: disk.serial.clone(),
        });
        Header {
            profile: PROFILE.to_owned(),
            determinism_version: DETERMINISM_VERSION,
            label: sources.label,
            image: sources.image,
            created_unix_ms: sources.created_unix_ms,
            memory_bytes: config.memory_bytes,
            harts: config.harts,
            sv48: config.sv48,
            nics: config.nics,
            consoles: config.consoles,
            ports: config.ports.clone(),
            rate_ticks: config.rate_ticks,
            seed: config.seed,
            rtc_ns: config.rtc_ns,
            append: config.append.clone(),
            kernel: sources.kernel,
            initrd: sources.initrd,
            firmware,
            disks: disks.collect(),
        }
    }

    /// The terminal at which people are met: of images, the one with the login shell.
    pub fn first_console(&self) -> ConsoleId {
        match self.consoles {
            0 => ConsoleId::Serial,
            _ => ConsoleId::Hvc(0),
        }
    }

    /// All contents that it names, with what they are.
    pub(crate) fn contents(&self) -> Vec<(&'static str, &Content)> {
        let mut contents = Vec::new();
        contents.extend(self.kernel.iter().map(|content| ("kernel", content)));
        contents.extend(self.initrd.iter().map(|content| ("initial RAM disk", content)));
        if let HeaderFirmware::File(content) = &self.firmware {
            contents.push(("firmware", content));
        }
        contents
    }

    /// The contents that are chunks of the timeline.
    pub(crate) fn stored(&self) -> impl Iterator<Item = Tree> + '_ {
        let contents = self.contents().into_iter().filter_map(|(_, content)| match content {
            Content::Stored(blob) => Some(blob.tree),
            Content::File { .. } => None,
        });
        let disks = self.disks.iter().filter_map(|disk| match &disk.base {
            DiskBase::Stored(tree) => Some(*tree),
            DiskBase::File(_) => None,
        });
        contents.chain(disks)
    }
}

impl Content {
    /// A file of this computer as it is now. `hash` is its BLAKE3, if that is known already.
    ///
    /// # Errors
    /// The host's.
    #[cfg(unix)]
    pub fn file(path: &std::path::Path, hash: Option<Digest>) -> std::io::Result<Content> {
        let path = path.canonicalize()?;
        let metadata = std::fs::metadata(&path)?;
        let modified_unix_ns = machine::modified_unix_ns(&metadata);
        Ok(Content::File { path, bytes: metadata.len(), hash, modified_unix_ns })
    }
}
