//! From a timeline's header to a machine's configuration.

use std::sync::Arc;

use stackvm_machine::devices::disk::BlockSource;
use stackvm_machine::{DiskConfig, Firmware, MachineConfig};
use stackvm_store::Chunks;
use stackvm_store::tree::{self, TreeDisk};

use crate::header::{Content, DiskBase, Header, HeaderFirmware};
use crate::limits::BOOT_FILE_BYTES_MAX;
use crate::timeline::{OpenError, Timeline};

/// What a timeline's machine is made of, with kernel, initial RAM disk and firmware: for switching
/// it on anew.
///
/// # Errors
/// See [`OpenError`]; a file of this computer that is not what it was is named.
pub fn machine_config(timeline: &Timeline) -> Result<MachineConfig, OpenError> {
    let mut configuration = Configuration::new(timeline)?;
    Ok(configuration.boot()?.clone())
}

/// A machine's configuration; what only a reset needs is read when one needs it.
pub(super) struct Configuration {
    header: Header,
    chunks: Arc<dyn Chunks>,
    shape: MachineConfig,
    boot: Option<MachineConfig>,
}

impl Configuration {
    pub(super) fn new(timeline: &Timeline) -> Result<Configuration, OpenError> {
        let (header, chunks) = (timeline.header().clone(), timeline.chunks());
        let mut disks = Vec::new();
        for disk in &header.disks {
            disks.push(DiskConfig {
                source: disk_source(&chunks, &disk.base, disk.size_bytes)?,
                read_only: disk.read_only,
                serial: disk.serial.clone(),
            });
        }
        let shape = MachineConfig {
            memory_bytes: header.memory_bytes,
            harts: header.harts,
            kernel: None,
            initrd: None,
            append: header.append.clone(),
            firmware: None,
            disks,
            nics: header.nics,
            consoles: header.consoles,
            ports: header.ports.clone(),
            seed: header.seed,
            rtc_ns: header.rtc_ns,
            sv48: header.sv48,
            rate_ticks: header.rate_ticks,
        };
        Ok(Configuration { header, chunks, shape, boot: None })
    }

    /// Without kernel, initial RAM disk and firmware.
    pub(super) fn shape(&self) -> &MachineConfig {
        &self.shape
    }

    /// With them.
    pub(super) fn boot(&mut self) -> Result<&MachineConfig, OpenError> {
        if self.boot.is_none() {
            self.boot = Some(self.read_boot()?);
        }
        Ok(self.boot.as_ref().expect("just read"))
    }

    fn read_boot(&self) -> Result<MachineConfig, OpenError> {
        let read = |content: &Content| read_content(self.chunks.as_ref(), content).map(Arc::new);
        let firmware = match &self.header.firmware {
            HeaderFirmware::Auto => None,
            HeaderFirmware::Builtin => Some(Firmware::Builtin),
            HeaderFirmware::None => Some(Firmware::None),
            HeaderFirmware::File(content) => Some(Firmware::File(read(content)?)),
        };
        Ok(MachineConfig {
            kernel: self.header.kernel.as_ref().map(read).transpose()?,
            initrd: self.header.initrd.as_ref().map(read).transpose()?,
            firmware,
            ..self.shape.clone()
        })
    }
}

fn disk_source(
    chunks: &Arc<dyn Chunks>,
    base: &DiskBase,
    size_bytes: u64,
) -> Result<Arc<dyn BlockSource>, OpenError> {
    match base {
        DiskBase::Stored(tree) | DiskBase::File(Content::Stored(tree::Blob { tree, .. })) => {
            Ok(Arc::new(TreeDisk::new(chunks.clone(), *tree, size_bytes)))
        }
        DiskBase::File(content @ Content::File { .. }) => file::disk(content, size_bytes),
    }
}

fn read_content(chunks: &dyn Chunks, content: &Content) -> Result<Vec<u8>, OpenError> {
    match content {
        Content::Stored(blob) => Ok(tree::read_blob(chunks, blob, BOOT_FILE_BYTES_MAX)?),
        Content::File { .. } => file::read(content),
    }
}

/// Files of this computer, which only journals refer to.
#[cfg(unix)]
mod file {
    use std::fs::File;
    use std::io::{self, Read};
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::path::Path;
    use std::sync::Arc;

    use stackvm_machine::devices::disk::BlockSource;

    use crate::header::Content;
    use crate::limits::BOOT_FILE_BYTES_MAX;
    use crate::timeline::OpenError;

    #[derive(Debug)]
    struct FileDisk {
        file: File,
        file_bytes: u64,
        size_bytes: u64,
    }

    impl BlockSource for FileDisk {
        fn size_bytes(&self) -> u64 {
            self.size_bytes
        }

        fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
            // What is behind the file's end is the padding of the last sector.
            let inside = self.file_bytes.saturating_sub(offset).min(buf.len() as u64) as usize;
            self.file.read_exact_at(&mut buf[..inside], offset)?;
            buf[inside..].fill(0);
            Ok(())
        }
    }

    pub(super) fn disk(
        content: &Content,
        size_bytes: u64,
    ) -> Result<Arc<dyn BlockSource>, OpenError> {
        let (file, file_bytes) = open(content)?;
        Ok(Arc::new(FileDisk { file, file_bytes, size_bytes }))
    }

    pub(super) fn read(content: &Content) -> Result<Vec<u8>, OpenError> {
        let (file, file_bytes) = open(content)?;
        let mut bytes = Vec::new();
        let read = file.take(file_bytes.min(BOOT_FILE_BYTES_MAX)).read_to_end(&mut bytes);
        let place = || match content {
            Content::File { path, .. } => path.display().to_string(),
            Content::Stored(_) => String::new(),
        };
        read.map_err(|error| OpenError::Io { place: place(), error })?;
        Ok(bytes)
    }

    fn open(content: &Content) -> Result<(File, u64), OpenError> {
        let Content::File { path, bytes, hash, modified_unix_ns } = content else {
            unreachable!("only files are opened");
        };
        let io = |error| OpenError::Io { place: path.display().to_string(), error };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let changed = metadata.len() != *bytes
            || hash.is_none() && modified(&metadata) != i128::from(*modified_unix_ns);
        if changed {
            return Err(changed_file(path));
        }
        Ok((file, *bytes))
    }

    fn modified(metadata: &std::fs::Metadata) -> i128 {
        i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
    }

    fn changed_file(path: &Path) -> OpenError {
        OpenError::Damaged {
            place: path.display().to_string(),
            problem: "it has changed since the recording began, which needs it as it was".into(),
        }
    }
}

#[cfg(not(unix))]
mod file {
    use std::sync::Arc;

    use stackvm_machine::devices::disk::BlockSource;

    use crate::header::Content;
    use crate::timeline::OpenError;

    pub(super) fn disk(_: &Content, _: u64) -> Result<Arc<dyn BlockSource>, OpenError> {
        Err(elsewhere())
    }

    pub(super) fn read(_: &Content) -> Result<Vec<u8>, OpenError> {
        Err(elsewhere())
    }

    fn elsewhere() -> OpenError {
        OpenError::Damaged {
            place: "the recording".into(),
            problem: "it refers to files of the computer where it is being made".into(),
        }
    }
}
