//! What a machine is made of, as written in its `machine.json`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use stackvm_images::{
    FileSource, Image, ImageHash, ImageStore, StoreError, machine_config, machine_shape,
};
use stackvm_machine::{DiskConfig, Firmware, MachineConfig};
use thiserror::Error;

use super::{MachinesError, SPEC_BYTES_MAX, SPEC_FILE, io_error};
use crate::net_user::Forward;
use crate::recorder::Keep;

/// What a machine is made of.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineSpec {
    /// Its name, which is also its folder's and stays the same: its id.
    pub name: String,
    /// What people call it, if that is something else.
    #[serde(default)]
    pub label: Option<String>,
    /// What it starts from.
    pub source: Source,
    /// RAM in bytes; `None` is the image's choice, or 256 MiB.
    pub memory_bytes: Option<u64>,
    /// Number of harts.
    pub harts: u32,
    /// Disks after the image's own.
    pub disks: Vec<DiskSpec>,
    /// Its network.
    pub network: Network,
    /// Host ports that lead to the guest; needs a network.
    pub forwards: Vec<Forward>,
    /// Whether it is kept.
    pub lifetime: Lifetime,
    /// How much of a host's core its lab may use, in hundredths, 1 to 100; `None` is all of it.
    #[serde(default)]
    pub cpu_percent: Option<u8>,
    /// Offer Sv48 beside Sv39.
    pub sv48: bool,
    /// The seed; `None` takes a random one at each start.
    pub seed: Option<u64>,
    /// What the RTC shows at the start, in nanoseconds since 1970; `None` is the host's time.
    pub rtc_ns: Option<u64>,
    /// Record everything from its first instant on, in a new journal at this absolute path.
    #[serde(default)]
    pub record: Option<PathBuf>,
    /// How much of its history it keeps, if it is kept.
    #[serde(default)]
    pub keep: Keep,
    /// What it does when it is switched on for the first time.
    #[serde(default)]
    pub start: StartFrom,
    /// When it was made, in seconds since 1970.
    pub created_unix_s: u64,
}

/// What a machine does when it is switched on for the first time.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub enum StartFrom {
    /// It boots.
    #[default]
    Cold,
    /// It is a fresh fork of its image's cached prompt, if there is one; else it boots.
    Prompt,
    /// It is a fresh fork of another machine, of which all else is said here too, as that was at
    /// an instant.
    Moment {
        /// The other's journal, an absolute path.
        journal: PathBuf,
        /// The instant, in ticks.
        at_ticks: u64,
        /// It has the other's past from there until an instant, in ticks; one that never runs is
        /// then a recording.
        #[serde(default)]
        until_ticks: Option<u64>,
    },
}

/// What a machine starts from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Source {
    /// An image.
    Image {
        /// Its name in the image store.
        name: String,
        /// Its content: a machine with kept disks stays with the image they were made on. `None`
        /// is whatever has the name now.
        hash: Option<ImageHash>,
    },
    /// Files made for QEMU's `virt` board.
    Files {
        /// Kernel; may be absent with a firmware file.
        kernel: Option<PathBuf>,
        /// Initial RAM disk.
        initrd: Option<PathBuf>,
        /// Kernel command line.
        append: String,
        /// What is below the kernel.
        firmware: FirmwareSpec,
    },
    /// The end of a recording, which goes on being recorded: its process died, or its journal was
    /// made from a `.vmcast`.
    Recording {
        /// The journal's folder, an absolute path.
        journal: PathBuf,
    },
    /// What stands in its journal, or in the one that it goes on from: it began with a recording from
    /// somebody else, which has all that the machine was made from.
    Journal {
        /// What it is, as that recording says.
        label: String,
    },
}

/// What is below the kernel.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FirmwareSpec {
    /// By the kernel file.
    Auto,
    /// The built-in SBI.
    Builtin,
    /// None: the kernel starts in M-mode.
    None,
    /// A firmware file.
    File(PathBuf),
}

/// A disk from a file. What the guest writes never reaches the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DiskSpec {
    /// A raw disk image.
    pub path: PathBuf,
    /// Whether the guest may write.
    pub access: Access,
}

/// Whether a guest may write to a disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Access {
    /// No.
    ReadOnly,
    /// Yes, above the file.
    CopyOnWrite,
}

/// A machine's network.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Network {
    /// No interface.
    None,
    /// One interface, through passt.
    User,
}

/// Whether a machine is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Lifetime {
    /// It vanishes when it stops.
    Ephemeral,
    /// Its disks and its saved state stay until it is removed.
    Named,
    /// It stays as it was at an instant of another machine, and never runs: others go on from it.
    Frozen,
    /// As frozen, but in memory, ready to be forked; it vanishes when it stops.
    Held,
}

impl Lifetime {
    /// Whether it stays when its lab has ended.
    pub fn is_kept(self) -> bool {
        matches!(self, Lifetime::Named | Lifetime::Frozen)
    }

    /// Whether its guest ever runs.
    pub fn runs(self) -> bool {
        matches!(self, Lifetime::Ephemeral | Lifetime::Named)
    }
}

/// Why a machine cannot be made from its spec.
#[derive(Debug, Error)]
pub enum SpecError {
    /// The image cannot be used.
    #[error(transparent)]
    Image(#[from] StoreError),
    /// A file cannot be read.
    #[error("cannot read the {what} {}: {error}", path.display())]
    File {
        /// What the file is.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A disk cannot be used; the error names it.
    #[error("{0}")]
    Disk(std::io::Error),
    /// It does not start from an image.
    #[error("the machine has no image")]
    NoImage,
    /// A machine that goes on from a recording is made by replaying.
    #[error("a recording's machine is not made from its spec")]
    Recording,
    /// Forwards without a network.
    #[error("a port forward (-p) needs a network: add --net user")]
    ForwardWithoutNetwork,
}

impl MachineSpec {
    /// A machine of this name and source: one hart, no network, ephemeral, seed and RTC from the
    /// host, made now.
    pub fn new(name: &str, source: Source) -> MachineSpec {
        let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        MachineSpec {
            name: name.to_owned(),
            label: None,
            source,
            memory_bytes: None,
            harts: 1,
            disks: Vec::new(),
            network: Network::None,
            forwards: Vec::new(),
            lifetime: Lifetime::Ephemeral,
            cpu_percent: None,
            sv48: false,
            seed: None,
            rtc_ns: None,
            record: None,
            keep: Keep::default(),
            start: StartFrom::Cold,
            created_unix_s: since_1970.map_or(0, |age| age.as_secs()),
        }
    }

    /// The configuration, with all files read. `data` is the data directory with the images. Where
    /// the spec leaves seed and RTC open they are the default's (0 and a fixed time).
    ///
    /// # Errors
    /// See [`SpecError`].
    pub fn machine_config(&self, data: &Path) -> Result<MachineConfig, SpecError> {
        self.check_forwards()?;
        let mut config = match &self.source {
            Source::Image { .. } => machine_config(&self.image(data)?)?,
            Source::Recording { .. } | Source::Journal { .. } => {
                return Err(SpecError::Recording);
            }
            Source::Files { kernel, initrd, append, firmware } => MachineConfig {
                kernel: kernel.as_deref().map(|path| read_file("kernel", path)).transpose()?,
                initrd: initrd.as_deref().map(|path| read_file("initrd", path)).transpose()?,
                append: append.clone(),
                firmware: match firmware {
                    FirmwareSpec::Auto => None,
                    FirmwareSpec::Builtin => Some(Firmware::Builtin),
                    FirmwareSpec::None => Some(Firmware::None),
                    FirmwareSpec::File(path) => Some(Firmware::File(read_file("firmware", path)?)),
                },
                ..MachineConfig::default()
            },
        };
        for (number, disk) in self.disks.iter().enumerate() {
            config.disks.push(DiskConfig {
                source: Arc::new(FileSource::open(&disk.path).map_err(SpecError::Disk)?),
                read_only: disk.access == Access::ReadOnly,
                serial: format!("disk{number}"),
            });
        }
        self.shape(&mut config);
        Ok(config)
    }

    /// The image, and the configuration of its machine without kernel and initial RAM disk, which
    /// are not read, and without disks beside the image's own.
    pub(crate) fn image_shape(&self, data: &Path) -> Result<(Image, MachineConfig), SpecError> {
        let image = self.image(data)?;
        let mut config = machine_shape(&image)?;
        self.shape(&mut config);
        Ok((image, config))
    }

    fn image(&self, data: &Path) -> Result<Image, SpecError> {
        let Source::Image { name, hash } = &self.source else { return Err(SpecError::NoImage) };
        let store = ImageStore::open(data)?;
        Ok(match hash {
            Some(hash) => store.by_hash(hash)?,
            None => store.get(name)?,
        })
    }

    /// What the spec says beside what the machine starts from.
    fn shape(&self, config: &mut MachineConfig) {
        config.memory_bytes = self.memory_bytes.unwrap_or(config.memory_bytes);
        config.harts = self.harts;
        config.sv48 = self.sv48;
        config.nics = match self.network {
            Network::None => 0,
            Network::User => 1,
        };
        config.seed = self.seed.unwrap_or(config.seed);
        config.rtc_ns = self.rtc_ns.unwrap_or(config.rtc_ns);
    }

    pub(crate) fn check_forwards(&self) -> Result<(), SpecError> {
        if self.network == Network::None && !self.forwards.is_empty() {
            return Err(SpecError::ForwardWithoutNetwork);
        }
        Ok(())
    }

    /// The image's name or the kernel's file name, for people.
    pub fn image_label(&self) -> String {
        let file_name = |path: &PathBuf| {
            path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
        };
        match &self.source {
            Source::Image { name, .. } => name.clone(),
            Source::Journal { label } => label.clone(),
            Source::Files { kernel: Some(path), .. }
            | Source::Files { firmware: FirmwareSpec::File(path), .. } => file_name(path),
            Source::Files { .. } => "nothing".to_owned(),
            Source::Recording { journal } => {
                let name = file_name(journal);
                name.strip_suffix(".journal").unwrap_or(&name).to_owned()
            }
        }
    }
}

/// Reads the spec of the machine in `folder`, which may be a link to where it is. Then the spec is
/// beside the link: what the link leads to is in the reach of a sandboxed lab, which might be
/// hijacked and name files there that it wants to have opened.
pub(crate) fn read(folder: &Path) -> Result<MachineSpec, MachinesError> {
    let spec = read_any(folder)?;
    if folder.file_name().is_none_or(|name| name != spec.name.as_str()) {
        let (path, problem) = (place(folder), format!("it is machine {:?}", spec.name));
        return Err(MachinesError::Damaged { path, problem });
    }
    Ok(spec)
}

/// The same in a folder of any name.
pub(crate) fn read_any(folder: &Path) -> Result<MachineSpec, MachinesError> {
    let path = place(folder);
    let damaged = |problem: String| MachinesError::Damaged { path: path.clone(), problem };
    let file = File::open(&path).map_err(|error| damaged(error.to_string()))?;
    let mut text = Vec::new();
    let mut file = file.take(SPEC_BYTES_MAX);
    file.read_to_end(&mut text).map_err(io_error("read", &path))?;
    serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))
}

/// Where the spec of the machine in `folder` is.
pub(crate) fn place(folder: &Path) -> PathBuf {
    if folder.is_symlink() { beside(folder) } else { folder.join(SPEC_FILE) }
}

/// Where the spec of a machine is whose folder is the link `link`. No machine is called so.
pub(crate) fn beside(link: &Path) -> PathBuf {
    link.with_extension("json")
}

fn read_file(what: &'static str, path: &Path) -> Result<Arc<Vec<u8>>, SpecError> {
    let file_error = |error| SpecError::File { what, path: path.to_owned(), error };
    std::fs::read(path).map(Arc::new).map_err(file_error)
}
