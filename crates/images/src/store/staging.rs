//! Making an object: one builder at a time, aside, then renamed into place.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use rustix::fs::{FlockOperation, SeekFrom, flock, seek};
use tempfile::TempDir;

use super::manifest::{FileEntry, Manifest, check_name};
use super::{Image, ImageHash, ImageStore, MANIFEST, PackageVersion, StoreError};
use crate::progress::{Job, Phase};

/// Prefix of the directories in which objects are made; no image name starts with a dot.
const ASIDE: &str = ".building-";

/// What an image under construction will say of itself.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Its name.
    pub name: String,
    /// Kernel command line.
    pub append: String,
    /// RAM by default, in bytes.
    pub memory_bytes: u64,
    /// Hash of all that decides its content beside the packages.
    pub recipe: String,
    /// Packages it is made from.
    pub packages: Vec<PackageVersion>,
}

/// A place to make an object in. Dropping it removes what was made; a killed process leaves a
/// directory that the next builder removes.
#[derive(Debug)]
pub struct Staging {
    store: ImageStore,
    directory: TempDir,
    /// Held until the object is in place.
    _lock: File,
}

impl ImageStore {
    /// Waits for its turn to build or import, then gives a place to do it in.
    ///
    /// # Errors
    /// [`StoreError`]; being told to stop while waiting is one.
    pub fn stage(&self, job: &mut Job<'_>) -> Result<Staging, StoreError> {
        let lock = self.lock(job)?;
        self.sweep()?;
        let directory = tempfile::Builder::new()
            .prefix(ASIDE)
            .tempdir_in(&self.directory)
            .map_err(|error| StoreError::io(&self.directory, error))?;
        Ok(Staging { store: self.clone(), directory, _lock: lock })
    }

    fn lock(&self, job: &mut Job<'_>) -> Result<File, StoreError> {
        let path = self.directory.join("lock");
        let io = |error| StoreError::io(&path, error);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(&path).map_err(io)?;
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(io(error.into()));
            }
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = holder.trim();
            job.say(Phase::Waiting, format!("process {holder} is building an image"));
            job.check()?;
            sleep(Duration::from_millis(200));
        }
        file.set_len(0).map_err(io)?;
        writeln!(file, "{}", std::process::id()).map_err(io)?;
        Ok(file)
    }

    /// Removes what killed builders left. Called with the lock held.
    fn sweep(&self) -> Result<(), StoreError> {
        let io = |error| StoreError::io(&self.directory, error);
        for entry in fs::read_dir(&self.directory).map_err(io)? {
            let entry = entry.map_err(io)?;
            if entry.file_name().to_string_lossy().starts_with(ASIDE) {
                let path = entry.path();
                let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                let removed = if link { fs::remove_file(&path) } else { fs::remove_dir_all(&path) };
                removed.map_err(|error| StoreError::io(&path, error))?;
            }
        }
        Ok(())
    }
}

impl Staging {
    /// Where to put `kernel`, `initrd` and `disk`.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Hashes the files, syncs everything, and puts the image in its place under the draft's name.
    ///
    /// # Errors
    /// [`StoreError`], and the store is as before.
    pub fn commit(self, draft: &Draft, job: &mut Job<'_>) -> Result<Image, StoreError> {
        check_name(&draft.name)?;
        let mut files = BTreeMap::new();
        for role in ["kernel", "initrd", "disk"] {
            let path = self.path().join(role);
            if path.exists() {
                files.insert(role.to_owned(), describe(&path, role, job)?);
            }
        }
        self.commit_manifest(&Manifest::new(draft, files))
    }

    /// Puts an object whose files were verified in its place.
    pub(super) fn commit_manifest(self, manifest: &Manifest) -> Result<Image, StoreError> {
        let text = manifest.to_bytes();
        Manifest::parse(&text)
            .map_err(|problem| StoreError::Damaged { name: manifest.name.clone(), problem })?;
        let hash = ImageHash::of(&text);
        let path = self.path().join(MANIFEST);
        fs::write(&path, &text).map_err(|error| StoreError::io(&path, error))?;
        for name in manifest.files.keys().map(String::as_str).chain([MANIFEST]) {
            sync(&self.path().join(name))?;
        }
        sync(self.path())?;
        let object = self.store.object(&hash);
        if self.store.by_hash(&hash).is_err() {
            // Only a damaged object of this hash can be in the way.
            if object.exists() {
                fs::remove_dir_all(&object).map_err(|error| StoreError::io(&object, error))?;
            }
            fs::rename(self.path(), &object).map_err(|error| StoreError::io(&object, error))?;
            sync(&self.store.directory.join("objects"))?;
        }
        self.link(&manifest.name, &hash)?;
        self.store.get(&manifest.name)
    }

    fn link(&self, name: &str, hash: &ImageHash) -> Result<(), StoreError> {
        let aside = self.store.directory.join(format!("{ASIDE}link"));
        let target = PathBuf::from("objects").join(hash.as_str());
        let link = self.store.directory.join(name);
        symlink(target, &aside).map_err(|error| StoreError::io(&aside, error))?;
        fs::rename(&aside, &link).map_err(|error| StoreError::io(&link, error))?;
        sync(&self.store.directory)
    }
}

fn sync(path: &Path) -> Result<(), StoreError> {
    let file = File::open(path).map_err(|error| StoreError::io(path, error))?;
    file.sync_all().map_err(|error| StoreError::io(path, error))
}

/// Size and hash of a file.
pub(super) fn describe(
    path: &Path,
    role: &str,
    job: &mut Job<'_>,
) -> Result<FileEntry, StoreError> {
    let io = |error| StoreError::io(path, error);
    let mut file = File::open(path).map_err(io)?;
    let total = file.metadata().map_err(io)?.len();
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let zeroes = vec![0; 1 << 20];
    let mut at = 0;
    for (start, end) in data_extents(&file, total).map_err(io)? {
        // Holes are hashed without being read.
        while at < start {
            job.check()?;
            let step = (start - at).min(zeroes.len() as u64);
            hasher.update(&zeroes[..step as usize]);
            at += step;
        }
        seek(&file, SeekFrom::Start(start)).map_err(|error| io(error.into()))?;
        while at < end {
            job.check()?;
            job.advance(Phase::Save, at, total, format!("hashing the {role}"));
            let step = (end - at).min(buffer.len() as u64) as usize;
            file.read_exact(&mut buffer[..step]).map_err(io)?;
            hasher.update(&buffer[..step]);
            at += step as u64;
        }
    }
    assert_eq!(at, total, "the last extent ends with the file");
    Ok(FileEntry { bytes: total, blake3: hasher.finalize().to_hex().to_string() })
}

/// The parts of a sparse file that hold data, as (start, end), in order; the last one ends with
/// the file.
pub(super) fn data_extents(file: &File, total: u64) -> std::io::Result<Vec<(u64, u64)>> {
    let mut extents = Vec::new();
    let mut at = 0;
    while at < total {
        let start = match seek(file, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start))?.min(total);
        extents.push((start, end));
        at = end;
    }
    if extents.last().is_none_or(|(_, end)| *end < total) {
        extents.push((total, total));
    }
    Ok(extents)
}
