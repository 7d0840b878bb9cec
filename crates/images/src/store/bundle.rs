//! Bundles: an image in one file, to carry it to hosts that cannot build it.
//!
//! A bundle is a tar archive, gzipped if its name says so (`.gz`, `.tgz`): `manifest.json` first,
//! then the parts of the files that hold data, each as `ROLE/OFFSET` with the offset in sixteen
//! hexadecimal digits. What a bundle says is believed only after its files have the hashes of
//! its manifest.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::manifest::{MANIFEST_BYTES_MAX, Manifest};
use super::staging::{data_extents, describe};
use super::{Image, ImageStore, MANIFEST, StoreError};
use crate::progress::{Job, Phase};

/// Most bytes in one part.
const PART_BYTES_MAX: u64 = 16 << 20;
/// Most parts of a bundle.
const PARTS_MAX: usize = 1 << 20;

impl ImageStore {
    /// Writes the image `name` to the file `path`, which must not exist.
    ///
    /// # Errors
    /// [`StoreError`], and no file is left.
    pub fn export(&self, name: &str, path: &Path, job: &mut Job<'_>) -> Result<(), StoreError> {
        let image = self.get(name)?;
        let io = |error| StoreError::io(path, error);
        if fs::symlink_metadata(path).is_ok() {
            return Err(io(io::Error::from(io::ErrorKind::AlreadyExists)));
        }
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let aside = tempfile::NamedTempFile::new_in(directory).map_err(io)?;
        let buffered = BufWriter::new(aside);
        let zipped = path.extension().is_some_and(|suffix| suffix == "gz" || suffix == "tgz");
        let buffered = if zipped {
            let encoder = GzEncoder::new(buffered, Compression::fast());
            write_bundle(&image, encoder, job)?.finish().map_err(io)?
        } else {
            write_bundle(&image, buffered, job)?
        };
        let aside = buffered.into_inner().map_err(|error| io(error.into_error()))?;
        aside.as_file().sync_all().map_err(io)?;
        aside.persist_noclobber(path).map_err(|error| io(error.error))?;
        Ok(())
    }

    /// Reads a bundle and puts its image in the store under the name it carries.
    ///
    /// # Errors
    /// [`StoreError::Bundle`] for anything that is not exactly a bundle, and the store is as
    /// before.
    pub fn import(&self, path: &Path, job: &mut Job<'_>) -> Result<Image, StoreError> {
        let staging = self.stage(job)?;
        let manifest = read_bundle(path, staging.path(), job)?;
        for (role, expected) in &manifest.files {
            let found = describe(&staging.path().join(role), role, job)?;
            if found != *expected {
                let problem = format!("{role} does not have the hash of the manifest");
                return Err(StoreError::Bundle { path: path.to_owned(), problem });
            }
        }
        staging.commit_manifest(&manifest)
    }
}

fn write_bundle<W: Write>(image: &Image, out: W, job: &mut Job<'_>) -> Result<W, StoreError> {
    let mut builder = tar::Builder::new(out);
    let directory = image.kernel.parent().expect("an image's files are in its object");
    let path = directory.join(MANIFEST);
    let text = fs::read(&path).map_err(|error| StoreError::io(&path, error))?;
    append(&mut builder, MANIFEST, &text).map_err(|error| StoreError::io(&path, error))?;
    let files = [("kernel", Some(&image.kernel)), ("initrd", image.initrd.as_ref())];
    for (role, path) in files.into_iter().chain([("disk", image.disk.as_ref())]) {
        if let Some(path) = path {
            append_parts(&mut builder, role, path, job)?;
        }
    }
    builder.into_inner().map_err(|error| StoreError::io(directory, error))
}

fn append<W: Write>(builder: &mut tar::Builder<W>, name: &str, data: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(data.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, data)
}

fn append_parts<W: Write>(
    builder: &mut tar::Builder<W>,
    role: &str,
    path: &Path,
    job: &mut Job<'_>,
) -> Result<(), StoreError> {
    let io = |error| StoreError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let total = file.metadata().map_err(io)?.len();
    for (start, end) in data_extents(&file, total).map_err(io)? {
        let mut at = start;
        while at < end {
            job.check()?;
            job.advance(Phase::Export, at, total, format!("writing the {role}"));
            let mut data = vec![0; (end - at).min(PART_BYTES_MAX) as usize];
            file.seek(SeekFrom::Start(at)).map_err(io)?;
            file.read_exact(&mut data).map_err(io)?;
            append(builder, &format!("{role}/{at:016x}"), &data).map_err(io)?;
            at += data.len() as u64;
        }
    }
    Ok(())
}

/// Unpacks a bundle's parts into `directory` and returns its manifest. Hashes are the caller's.
fn read_bundle(path: &Path, directory: &Path, job: &mut Job<'_>) -> Result<Manifest, StoreError> {
    let io = |error| StoreError::io(path, error);
    let bad = |problem: String| StoreError::Bundle { path: path.to_owned(), problem };
    let total = fs::metadata(path).map_err(io)?.len();
    let mut archive = tar::Archive::new(open(path).map_err(io)?);
    // Raw: long names and sparse maps of tar are refused like any other odd entry, unread.
    let mut entries = archive.entries().map_err(io)?.raw(true);
    let mut first = entries
        .next()
        .ok_or_else(|| bad("it is empty".to_owned()))?
        .map_err(|error| bad(error.to_string()))?;
    if entry_name(&first).as_deref() != Some(MANIFEST) || first.size() > MANIFEST_BYTES_MAX {
        return Err(bad(format!("it does not begin with {MANIFEST}")));
    }
    let mut text = Vec::new();
    first.read_to_end(&mut text).map_err(|error| bad(error.to_string()))?;
    let manifest = Manifest::parse(&text).map_err(bad)?;
    let mut files = BTreeMap::new();
    for (role, entry) in &manifest.files {
        let path = directory.join(role);
        let file = File::create_new(&path).map_err(|error| StoreError::io(&path, error))?;
        file.set_len(entry.bytes).map_err(|error| StoreError::io(&path, error))?;
        files.insert(role.as_str(), Target { file, path, bytes: entry.bytes, reached: 0 });
    }
    let mut read = 0;
    for (index, entry) in entries.enumerate() {
        job.check()?;
        let mut entry = entry.map_err(|error| bad(error.to_string()))?;
        if index >= PARTS_MAX {
            return Err(bad(format!("it has more than {PARTS_MAX} parts")));
        }
        let name =
            entry_name(&entry).ok_or_else(|| bad("a part is not a plain file".to_owned()))?;
        job.advance(Phase::Import, read, total.max(read), format!("reading {name}"));
        let part = name.split_once('/').and_then(|(role, offset)| {
            let plain = offset.len() == 16 && offset.bytes().all(|b| b.is_ascii_hexdigit());
            let offset = plain.then(|| u64::from_str_radix(offset, 16).ok()).flatten()?;
            Some((files.get_mut(role)?, offset))
        });
        let (target, offset) = part.ok_or_else(|| bad(format!("a part is named {name:?}")))?;
        read += entry.size();
        target.fill(offset, &mut entry).map_err(|error| match error {
            PartError::Bad(problem) => bad(format!("part {name}: {problem}")),
            PartError::Io(error) => StoreError::io(&target.path, error),
        })?;
    }
    Ok(manifest)
}

fn open(path: &Path) -> io::Result<Box<dyn Read>> {
    let mut file = BufReader::with_capacity(1 << 18, File::open(path)?);
    let mut magic = [0; 2];
    let zipped = match file.read_exact(&mut magic) {
        Ok(()) => magic == [0x1f, 0x8b],
        Err(_) => false,
    };
    file.seek(SeekFrom::Start(0))?;
    Ok(if zipped { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
}

/// The name of a regular file's entry.
fn entry_name<R: Read>(entry: &tar::Entry<'_, R>) -> Option<String> {
    let name = entry.path().ok()?.to_str()?.to_owned();
    (entry.header().entry_type() == tar::EntryType::Regular).then_some(name)
}

/// A file that parts are written to, in ascending order.
struct Target {
    file: File,
    path: PathBuf,
    bytes: u64,
    reached: u64,
}

enum PartError {
    Bad(String),
    Io(io::Error),
}

impl Target {
    fn fill<R: Read>(
        &mut self,
        offset: u64,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<(), PartError> {
        let size = entry.size();
        let end = offset.checked_add(size);
        let fits = end.is_some_and(|end| end <= self.bytes);
        if !fits || size > PART_BYTES_MAX || offset < self.reached {
            return Err(PartError::Bad(format!("{size} bytes do not belong there")));
        }
        let mut data = Vec::new();
        entry.read_to_end(&mut data).map_err(|error| PartError::Bad(error.to_string()))?;
        if data.len() as u64 != size {
            return Err(PartError::Bad("it is cut short".to_owned()));
        }
        self.reached = offset + size;
        self.file.seek(SeekFrom::Start(offset)).map_err(PartError::Io)?;
        self.file.write_all(&data).map_err(PartError::Io)
    }
}
