//! The configuration of a machine from a header, with everything it needs read or at hand.

use std::sync::Arc;

use stackvm_machine::devices::disk::BlockSource;
use stackvm_machine::{DiskConfig, Firmware, MachineConfig};
use stackvm_store::tree::{self, TreeDisk};
use stackvm_store::{Chunks, ReadError};
use thiserror::Error;

use super::{Content, DiskBase, Header, HeaderFirmware};
use crate::limits::BOOT_FILE_BYTES_MAX;

/// Why a header's machine cannot be put together.
#[derive(Debug, Error)]
pub enum ConfigureError {
    /// Chunks are missing or damaged.
    #[error("the recording's {what}")]
    Chunks {
        /// Of what.
        what: &'static str,
        /// What is wrong.
        #[source]
        error: ReadError,
    },
    /// A file cannot be read.
    #[error("cannot read {place}, which the recording needs")]
    Io {
        /// The file.
        place: String,
        /// Why not.
        #[source]
        error: std::io::Error,
    },
    /// A file is not what it was.
    #[error("{0} has changed since the recording began; the recording needs it as it was")]
    Changed(String),
}

impl Header {
    /// The configuration at the start. `chunks` are the timeline's; disks are read from them, or
    /// from their files, where they are needed.
    ///
    /// # Errors
    /// See [`ConfigureError`].
    pub fn machine_config(
        &self,
        chunks: &Arc<dyn Chunks>,
    ) -> Result<MachineConfig, ConfigureError> {
        let read = |what: &'static str, content: &Content| {
            read_content(content, what, &**chunks).map(Arc::new)
        };
        let firmware = match &self.firmware {
            HeaderFirmware::Auto => None,
            HeaderFirmware::Builtin => Some(Firmware::Builtin),
            HeaderFirmware::None => Some(Firmware::None),
            HeaderFirmware::File(content) => Some(Firmware::File(read("firmware", content)?)),
        };
        let mut disks = Vec::new();
        for disk in &self.disks {
            let source: Arc<dyn BlockSource> = match &disk.base {
                DiskBase::Stored(tree) => {
                    Arc::new(TreeDisk::new(chunks.clone(), *tree, disk.size_bytes))
                }
                DiskBase::File(content) => open_disk(content, disk.size_bytes)?,
            };
            let (read_only, serial) = (disk.read_only, disk.serial.clone());
            disks.push(DiskConfig { source, read_only, serial });
        }
        let content = |what, content: &Option<Content>| {
            content.as_ref().map(|content| read(what, content)).transpose()
        };
        Ok(MachineConfig {
            memory_bytes: self.memory_bytes,
            harts: self.harts,
            kernel: content("kernel", &self.kernel)?,
            initrd: content("initial RAM disk", &self.initrd)?,
            append: self.append.clone(),
            firmware,
            disks,
            nics: self.nics,
            consoles: self.consoles,
            ports: self.ports.clone(),
            seed: self.seed,
            rtc_ns: self.rtc_ns,
            sv48: self.sv48,
            rate_ticks: self.rate_ticks,
        })
    }
}

/// The bytes of a boot file.
pub(crate) fn read_content(
    content: &Content,
    what: &'static str,
    chunks: &dyn Chunks,
) -> Result<Vec<u8>, ConfigureError> {
    match content {
        Content::Stored(blob) => tree::read_blob(chunks, blob, BOOT_FILE_BYTES_MAX)
            .map_err(|error| ConfigureError::Chunks { what, error }),
        #[cfg(unix)]
        Content::File { .. } => files::read(content),
        #[cfg(not(unix))]
        Content::File { path, .. } => Err(no_files(path)),
    }
}

#[cfg(not(unix))]
fn no_files(path: &std::path::Path) -> ConfigureError {
    let error = std::io::ErrorKind::Unsupported.into();
    ConfigureError::Io { place: path.display().to_string(), error }
}

#[cfg(not(unix))]
fn open_disk(content: &Content, _size: u64) -> Result<Arc<dyn BlockSource>, ConfigureError> {
    match content {
        Content::File { path, .. } => Err(no_files(path)),
        Content::Stored(_) => unreachable!("a header's disks are checked"),
    }
}

#[cfg(unix)]
pub(crate) use files::{modified_unix_ns, open_disk, open_unchanged};

#[cfg(unix)]
mod files {
    //! Files of this computer, which must be what they were.

    use std::fs::{File, Metadata};
    use std::io::{self, Read};
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::sync::Arc;

    use stackvm_machine::devices::disk::BlockSource;
    use stackvm_store::Digest;

    use super::{ConfigureError, Content};

    /// Modification time in nanoseconds since 1970.
    pub(crate) fn modified_unix_ns(metadata: &Metadata) -> u64 {
        let (seconds, ns) = (metadata.mtime(), metadata.mtime_nsec());
        let ns = i128::from(seconds) * 1_000_000_000 + i128::from(ns);
        u64::try_from(ns).unwrap_or(0)
    }

    /// Opens a file that has the size it had and, unless its hash is known, the modification time.
    pub(crate) fn open_unchanged(content: &Content) -> Result<(File, String), ConfigureError> {
        let Content::File { path, bytes, hash, modified_unix_ns: modified } = content else {
            unreachable!("only files are opened");
        };
        let place = path.display().to_string();
        let io = |error| ConfigureError::Io { place: place.clone(), error };
        let file = File::open(path).map_err(io)?;
        let metadata = file.metadata().map_err(io)?;
        let same_time = hash.is_some() || modified_unix_ns(&metadata) == *modified;
        if metadata.len() != *bytes || !same_time {
            return Err(ConfigureError::Changed(place));
        }
        Ok((file, place))
    }

    /// The bytes of a file.
    pub(super) fn read(content: &Content) -> Result<Vec<u8>, ConfigureError> {
        let (mut file, place) = open_unchanged(content)?;
        let Content::File { bytes, hash, .. } = content else {
            unreachable!("only files are opened");
        };
        let mut content = Vec::new();
        // No more than it is said to have, also when it grows just now.
        (&mut file)
            .take(bytes + 1)
            .read_to_end(&mut content)
            .map_err(|error| ConfigureError::Io { place: place.clone(), error })?;
        let same = hash.is_none_or(|hash| Digest::of(&content) == hash);
        if content.len() as u64 != *bytes || !same {
            return Err(ConfigureError::Changed(place));
        }
        Ok(content)
    }

    /// A file as a disk of `size_bytes`: zeroes follow its end up to a whole sector.
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
            let there = self.file_bytes.saturating_sub(offset).min(buf.len() as u64) as usize;
            let (file, beyond) = buf.split_at_mut(there);
            beyond.fill(0);
            self.file.read_exact_at(file, offset)
        }
    }

    /// A disk that is a file.
    pub(crate) fn open_disk(
        content: &Content,
        size_bytes: u64,
    ) -> Result<Arc<dyn BlockSource>, ConfigureError> {
        let (file, place) = open_unchanged(content)?;
        let file_bytes =
            file.metadata().map_err(|error| ConfigureError::Io { place, error })?.len();
        Ok(Arc::new(FileDisk { file, file_bytes, size_bytes }))
    }
}
