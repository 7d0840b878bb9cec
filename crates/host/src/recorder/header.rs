//! The header of a new recording: what its machine is made of, and where that is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use stackvm_images::{ImageStore, StoreError};
use stackvm_machine::MachineConfig;
use stackvm_machine::persist::{DETERMINISM_VERSION, PROFILE};
use stackvm_timeline::Header;
use stackvm_timeline::header::{Content, DiskBase, HeaderDisk, HeaderFirmware};
use thiserror::Error;

use crate::machines::{FirmwareSpec, MachineSpec, Source};

/// Why a machine cannot be recorded.
#[derive(Debug, Error)]
pub(crate) enum HeaderError {
    #[error(transparent)]
    Image(#[from] StoreError),
    #[error("cannot read {}", path.display())]
    File {
        path: PathBuf,
        #[source]
        error: io::Error,
    },
    #[error(
        "what the machine is made from stands in its journal alone: look at that, or keep a part of it"
    )]
    InJournal,
    #[error("the machine's recording cannot be read")]
    Journal(#[from] stackvm_timeline::timeline::OpenError),
}

/// The header of a recording of the machine that `config` was made for by `spec`. `data` is the
/// data directory with the images.
pub(crate) fn header(
    spec: &MachineSpec,
    data: &Path,
    config: &MachineConfig,
) -> Result<Header, HeaderError> {
    let mut files = Vec::new();
    let (kernel, initrd);
    let mut firmware = HeaderFirmware::Auto;
    let mut image_hash = None;
    match &spec.source {
        Source::Image { name, hash } => {
            let store = ImageStore::open(data)?;
            let image = match hash {
                Some(hash) => store.by_hash(hash)?,
                None => store.get(name)?,
            };
            kernel = Some(content(&image.kernel)?);
            initrd = image.initrd.as_deref().map(content).transpose()?;
            files.extend(image.disk.clone());
            image_hash = Some(image.hash.as_str().to_owned());
        }
        Source::Files { kernel: path, initrd: ramdisk, firmware: below, .. } => {
            kernel = path.as_deref().map(content).transpose()?;
            initrd = ramdisk.as_deref().map(content).transpose()?;
            firmware = match below {
                FirmwareSpec::Auto => HeaderFirmware::Auto,
                FirmwareSpec::Builtin => HeaderFirmware::Builtin,
                FirmwareSpec::None => HeaderFirmware::None,
                FirmwareSpec::File(path) => HeaderFirmware::File(content(path)?),
            };
        }
        Source::Journal { .. } => return Err(HeaderError::InJournal),
        Source::Recording { journal } => {
            let timeline = stackvm_timeline::Timeline::open(journal)?;
            let header = timeline.header().clone();
            return Ok(Header { seed: config.seed, rtc_ns: config.rtc_ns, ..header });
        }
    }
    files.extend(spec.disks.iter().map(|disk| disk.path.clone()));
    let disks = config.disks.iter().zip(files).map(|(disk, path)| {
        Ok(HeaderDisk {
            size_bytes: disk.source.size_bytes(),
            base: DiskBase::File(content(&path)?),
            read_only: disk.read_only,
            serial: disk.serial.clone(),
        })
    });
    Ok(Header {
        profile: PROFILE.to_owned(),
        determinism_version: DETERMINISM_VERSION,
        label: spec.image_label(),
        image: image_hash,
        // A machine with a clock of its own has no time of this computer in its recording.
        created_unix_ms: spec.rtc_ns.unwrap_or_else(crate::process::unix_ns) / 1_000_000,
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
        kernel,
        initrd,
        firmware,
        disks: disks.collect::<Result<_, HeaderError>>()?,
    })
}

/// A file as it is now.
fn content(path: &Path) -> Result<Content, HeaderError> {
    let problem = |error| HeaderError::File { path: path.to_owned(), error };
    let path = path.canonicalize().map_err(problem)?;
    let file = fs::metadata(&path).map_err(problem)?;
    let modified = file.modified().map_err(problem)?;
    let age = modified.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Content::File {
        bytes: file.len(),
        hash: None,
        modified_unix_ns: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
        path,
    })
}
