//! Files of a machine's disks, read without its guest: the ext4 file systems on them.
//!
//! What a guest has not written to its disk yet is missing here; what its journal holds is not.
//! Nothing is ever written. The file systems are the guest's and hostile: sizes, depths and counts
//! are bounded ([`DEPTH_MAX`], [`ENTRIES_MAX`]).

use std::fmt;
use std::io::{self, Write};
use std::rc::Rc;

use ext4_view::{Ext4, Ext4Error, Ext4Read, FileType, Metadata, PathBuf};
use stackvm_machine::devices::disk::SECTOR_BYTES;
use stackvm_machine::io::DiskId;
use stackvm_machine::{Machine, MachineConfig};
use thiserror::Error;

mod partitions;
#[cfg(test)]
mod tests;

use partitions::{Part, partitions};

/// Deepest folder that is followed.
pub const DEPTH_MAX: usize = 128;
/// Most files and folders of a folder that is copied.
pub const ENTRIES_MAX: usize = 1_000_000;
/// Bytes that are copied at once.
const COPY_BYTES: usize = 256 << 10;

/// Why a file cannot be read from a disk.
#[derive(Debug, Error)]
pub enum DiskError {
    /// The machine has no disk.
    #[error("this machine has no disk")]
    NoDisk,
    /// No disk has a file system that can be read.
    #[error("no ext4 file system is on this machine's disks ({0})")]
    NoFileSystem(String),
    /// It is in none of them.
    #[error("{path} is on no disk of this machine ({looked})")]
    NotFound {
        /// What was looked for.
        path: String,
        /// Where.
        looked: String,
    },
    /// Neither a file nor a folder.
    #[error("{path} on {place} is neither a file nor a folder")]
    Special {
        /// What was asked for.
        path: String,
        /// Where it is.
        place: String,
    },
    /// The file system is damaged, or uses what is not known here.
    #[error("{path} on {place} cannot be read: {problem}")]
    Unreadable {
        /// What was read.
        path: String,
        /// Where it is.
        place: String,
        /// Why not.
        problem: String,
    },
    /// What was read could not be written.
    #[error("the copy could not be written")]
    Sink(#[source] io::Error),
}

/// What a path names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A file of so many bytes.
    File {
        /// Its size.
        bytes: u64,
    },
    /// A folder.
    Folder,
}

/// The file systems on a machine's disks.
pub struct Disks {
    systems: Vec<FileSystem>,
    /// What was looked at, for messages.
    looked: String,
}

struct FileSystem {
    /// `vda`, `vdb2`.
    place: String,
    ext4: Ext4,
}

/// A file or folder on one of the disks.
pub struct Found<'a> {
    system: &'a FileSystem,
    path: String,
    kind: Kind,
}

impl Disks {
    /// Those of a machine that was made from `config`.
    ///
    /// # Errors
    /// [`DiskError::NoDisk`], [`DiskError::NoFileSystem`] with what is wrong with each.
    pub fn new(machine: Machine, config: &MachineConfig) -> Result<Disks, DiskError> {
        if config.disks.is_empty() {
            return Err(DiskError::NoDisk);
        }
        let machine = Rc::new(machine);
        let (mut systems, mut looked) = (Vec::new(), Vec::new());
        for (disk, number) in config.disks.iter().zip(0_u8..) {
            let size_bytes = disk.source.size_bytes();
            let name = format!("vd{}", char::from(b'a'.saturating_add(number.min(25))));
            let reader = |part: Part| DiskReader {
                machine: Rc::clone(&machine),
                disk: DiskId(number),
                part,
            };
            let whole = Part { number: 0, start_bytes: 0, size_bytes };
            let parts = partitions(&mut |at, buf| reader(whole).read_part(at, buf), size_bytes);
            for part in [whole].into_iter().chain(parts) {
                let place = match part.number {
                    0 => name.clone(),
                    number => format!("{name}{number}"),
                };
                match Ext4::load(Box::new(reader(part))) {
                    Ok(ext4) => {
                        looked.push(place.clone());
                        systems.push(FileSystem { place, ext4 });
                    }
                    Err(error) => looked.push(format!("{place}: {error}")),
                }
            }
        }
        let looked = looked.join("; ");
        if systems.is_empty() {
            return Err(DiskError::NoFileSystem(looked));
        }
        Ok(Disks { systems, looked })
    }

    /// Finds an absolute path in the first file system that has it.
    ///
    /// # Errors
    /// [`DiskError::NotFound`], [`DiskError::Special`], [`DiskError::Unreadable`].
    pub fn find(&self, path: &str) -> Result<Found<'_>, DiskError> {
        for system in &self.systems {
            let metadata = match system.ext4.metadata(path) {
                Ok(metadata) => metadata,
                Err(Ext4Error::NotFound | Ext4Error::NotADirectory) => continue,
                Err(error) => return Err(system.unreadable(path, &error)),
            };
            let kind = match metadata.file_type() {
                FileType::Regular => Kind::File { bytes: metadata.len() },
                FileType::Directory => Kind::Folder,
                _ => {
                    let (path, place) = (path.to_owned(), system.place.clone());
                    return Err(DiskError::Special { path, place });
                }
            };
            return Ok(Found { system, path: path.to_owned(), kind });
        }
        Err(DiskError::NotFound { path: path.to_owned(), looked: self.looked.clone() })
    }
}

impl Found<'_> {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The disk or partition it is on, as the guest names it: `vda`, `vdb2`.
    pub fn place(&self) -> &str {
        &self.system.place
    }

    /// Copies a file, or a folder as a tar archive of what is in it.
    ///
    /// # Errors
    /// [`DiskError::Unreadable`], [`DiskError::Sink`].
    pub fn copy(&self, sink: &mut dyn Write) -> Result<(), DiskError> {
        match self.kind {
            Kind::File { .. } => self.copy_file(sink),
            Kind::Folder => self.copy_folder(sink),
        }
    }

    fn copy_file(&self, sink: &mut dyn Write) -> Result<(), DiskError> {
        let problem = |error| self.system.unreadable(&self.path, &error);
        let mut file = self.system.ext4.open(self.path.as_str()).map_err(problem)?;
        let mut buf = vec![0; COPY_BYTES];
        loop {
            let count = file.read_bytes(&mut buf).map_err(problem)?;
            if count == 0 {
                return Ok(());
            }
            sink.write_all(&buf[..count]).map_err(DiskError::Sink)?;
        }
    }

    fn copy_folder(&self, sink: &mut dyn Write) -> Result<(), DiskError> {
        let mut archive = tar::Builder::new(sink);
        let mut left = vec![(PathBuf::new(self.path.as_str()), Vec::new(), 0)];
        let mut count = 0;
        while let Some((folder, name, depth)) = left.pop() {
            let shown = folder.display().to_string();
            let problem = |error| self.system.unreadable(&shown, &error);
            for entry in self.system.ext4.read_dir(&folder).map_err(problem)? {
                let entry = entry.map_err(problem)?;
                let file_name = entry.file_name();
                let bytes: &[u8] = file_name.as_ref();
                if matches!(bytes, b"." | b"..") {
                    continue;
                }
                count += 1;
                if count > ENTRIES_MAX || depth >= DEPTH_MAX {
                    let problem = format!(
                        "more than {ENTRIES_MAX} files, or more than {DEPTH_MAX} folders deep"
                    );
                    let place = self.system.place.clone();
                    return Err(DiskError::Unreadable { path: shown, place, problem });
                }
                let path = entry.path();
                let inside = if name.is_empty() {
                    bytes.to_vec()
                } else {
                    [name.as_slice(), bytes].join(&b'/')
                };
                let metadata = self.system.ext4.symlink_metadata(&path).map_err(problem)?;
                self.append(&mut archive, &path, &inside, &metadata)?;
                if metadata.is_dir() {
                    left.push((path, inside, depth + 1));
                }
            }
        }
        archive.finish().map_err(DiskError::Sink)
    }

    fn append<W: Write>(
        &self,
        archive: &mut tar::Builder<W>,
        path: &PathBuf,
        inside: &[u8],
        metadata: &Metadata,
    ) -> Result<(), DiskError> {
        let shown = path.display().to_string();
        let problem = |error| self.system.unreadable(&shown, &error);
        let name = String::from_utf8_lossy(inside).into_owned();
        let mut header = tar::Header::new_gnu();
        header.set_mode(u32::from(metadata.mode()));
        header.set_uid(u64::from(metadata.uid()));
        header.set_gid(u64::from(metadata.gid()));
        header.set_mtime(u64::try_from(metadata.modified().seconds()).unwrap_or(0));
        header.set_size(0);
        let result = match metadata.file_type() {
            FileType::Regular => {
                header.set_size(metadata.len());
                let file = self.system.ext4.open(path).map_err(problem)?;
                let reader = FileReader { file, system: self.system, path: &shown };
                archive.append_data(&mut header, name, reader)
            }
            FileType::Directory => {
                header.set_entry_type(tar::EntryType::Directory);
                archive.append_data(&mut header, name, io::empty())
            }
            FileType::Symlink => {
                header.set_entry_type(tar::EntryType::Symlink);
                let target = self.system.ext4.read_link(path).map_err(problem)?;
                archive.append_link(&mut header, name, target.display().to_string())
            }
            // Devices, sockets and pipes say nothing about the past.
            _ => Ok(()),
        };
        result.map_err(|error| match error.downcast::<DiskError>() {
            Ok(error) => error,
            Err(error) => DiskError::Sink(error),
        })
    }
}

impl FileSystem {
    fn unreadable(&self, path: &str, error: &Ext4Error) -> DiskError {
        let (path, place) = (path.to_owned(), self.place.clone());
        DiskError::Unreadable { path, place, problem: error.to_string() }
    }
}

/// A file as a reader, for archives.
struct FileReader<'a> {
    file: ext4_view::File,
    system: &'a FileSystem,
    path: &'a str,
}

impl io::Read for FileReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_bytes(buf);
        read.map_err(|error| io::Error::other(self.system.unreadable(self.path, &error)))
    }
}

/// A disk, or a part of one, as the file system's storage.
struct DiskReader {
    machine: Rc<Machine>,
    disk: DiskId,
    part: Part,
}

impl DiskReader {
    fn read_part(&self, at: u64, buf: &mut [u8]) -> io::Result<()> {
        let end = at.checked_add(buf.len() as u64).filter(|end| *end <= self.part.size_bytes);
        if end.is_none() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "behind the disk's end"));
        }
        // Disks are read in whole sectors.
        let start = self.part.start_bytes + at;
        let first = start - start % SECTOR_BYTES;
        let last = (start + buf.len() as u64).next_multiple_of(SECTOR_BYTES);
        let mut sectors = vec![0; (last - first) as usize];
        self.machine.read_disk(self.disk, first, &mut sectors)?;
        let skip = (start - first) as usize;
        buf.copy_from_slice(&sectors[skip..skip + buf.len()]);
        Ok(())
    }
}

impl Ext4Read for DiskReader {
    fn read(
        &mut self,
        start_byte: u64,
        dst: &mut [u8],
    ) -> Result<(), Box<dyn std::error::Error + Send + Sync + 'static>> {
        Ok(self.read_part(start_byte, dst)?)
    }
}

impl fmt::Debug for Disks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Disks({})", self.looked)
    }
}
