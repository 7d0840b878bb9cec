//! The files of a cached prompt: `meta`, `pages` (mapped) and `pack` (for recordings).
//!
//! They are written into a folder aside, synced, read back and renamed. `meta` begins with the
//! BLAKE3 hash of its rest. What the other two contain is hashed when they are written, and again
//! only when they do not look as they did then (size, inode, time of the last write): reading all of
//! them at each start would take longer than the start.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use stackvm_machine::devices::disk::Overlay;
use stackvm_machine::digest::Digest;
use stackvm_machine::memory::{FrozenRam, PAGE_BYTES, PageBytes};
use stackvm_machine::{Frozen, MachineConfig, StateTrees};
use stackvm_store::chunks::file::FileAt;
use stackvm_store::{NoChunks, Pack, PackWriter};
use stackvm_timeline::BranchId;
use stackvm_timeline::keyframe::{self, Place};

use super::build::Booted;
use super::{Meta, PromptError, io_error};

/// Extension of folders that are not whole yet.
pub(super) const ASIDE: &str = "new";
/// The sealed pack.
pub(super) const PACK: &str = "pack";
const META: &str = "meta";
const PAGES: &str = "pages";
/// Touched at each use.
const USED: &str = "used";
/// Largest `meta`: mostly numbers of pages.
const META_BYTES_MAX: u64 = 512 << 20;

/// What a file contains, and how it looked when that was last seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Content {
    bytes: u64,
    hash: Digest,
    look: Look,
}

/// How a file looks from outside.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Look {
    inode: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl Content {
    /// Reads all of a file.
    fn of(file: &File) -> io::Result<Content> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            let count = file.read_at(&mut buffer, bytes)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            bytes += count as u64;
        }
        let hash = Digest::from_bytes(*hasher.finalize().as_bytes());
        Ok(Content { bytes, hash, look: Look::of(file)? })
    }

    /// Whether a file still has this content.
    fn is_of(&self, file: &File) -> io::Result<bool> {
        if file.metadata()?.len() != self.bytes {
            return Ok(false);
        }
        Ok(self.look == Look::of(file)? || Content::of(file)?.hash == self.hash)
    }
}

impl Look {
    fn of(file: &File) -> io::Result<Look> {
        let metadata = file.metadata()?;
        // Not the time of the last change of any kind: recordings link the pack.
        let (modified_s, modified_ns) = (metadata.mtime(), metadata.mtime_nsec());
        Ok(Look { inode: metadata.ino(), modified_s, modified_ns })
    }
}

/// Writes a prompt and gives it its name; an earlier one goes.
pub(super) fn write(folder: &Path, booted: Booted) -> Result<(), PromptError> {
    let aside = folder.with_extension(ASIDE);
    let _ = fs::remove_dir_all(&aside);
    fs::create_dir_all(&aside).map_err(io_error("create", &aside))?;
    let written = write_aside(&aside, booted).and_then(|()| {
        // What is there cannot be used, or nobody would write.
        let _ = fs::remove_dir_all(folder);
        fs::rename(&aside, folder).map_err(io_error("name", folder))?;
        let parent = folder.parent().unwrap_or(folder);
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(io_error("sync", parent))
    });
    if written.is_err() {
        // The error at hand says more than one of cleaning up would.
        let _ = fs::remove_dir_all(&aside);
    }
    written
}

fn write_aside(aside: &Path, booted: Booted) -> Result<(), PromptError> {
    let pages_path = aside.join(PAGES);
    let mut pages = Pages::create(&pages_path).map_err(io_error("create", &pages_path))?;
    let frozen = &booted.frozen;
    let mut ram = Vec::new();
    let mut failed = Ok(());
    frozen.ram().for_each_nonzero_page(|page, bytes| {
        if failed.is_ok() {
            failed = pages.put(bytes).map(|at| ram.push((page, at)));
        }
    });
    failed.map_err(io_error("write", &pages_path))?;
    let mut disks = Vec::new();
    for overlay in frozen.overlays() {
        let mut blocks = Vec::new();
        for (block, bytes) in overlay.iter() {
            let at = pages.put(bytes).map_err(io_error("write", &pages_path))?;
            blocks.push((block, at));
        }
        disks.push(blocks);
    }
    let pages = pages.finish().map_err(io_error("write", &pages_path))?;

    let pack_path = aside.join(PACK);
    let file = File::create_new(&pack_path).map_err(io_error("create", &pack_path))?;
    let mut writer = PackWriter::new(BufWriter::new(file));
    let mut trees = StateTrees::new(frozen.config());
    let place = Place { branch: BranchId::TRUNK, entries: 0, track_bytes: 0 };
    let derived = &booted.derived;
    let keyframe =
        keyframe::write(frozen, &mut trees, None, derived, place, &NoChunks, &mut writer)?;
    let sink = writer.finish()?.into_inner().map_err(io::IntoInnerError::into_error);
    let seal = |file: File| file.sync_all().and_then(|()| Content::of(&file));
    let pack = sink.and_then(seal).map_err(io_error("write", &pack_path))?;

    let state = frozen.state_bytes();
    let Booted { derived, standby, .. } = booted;
    let meta = Meta { state, ram, disks, derived, standby, keyframe, pages, pack };
    write_meta(aside, &meta)
}

fn write_meta(folder: &Path, meta: &Meta) -> Result<(), PromptError> {
    let path = folder.join(META);
    let body = postcard::to_stdvec(meta).expect("plain data");
    let write = || -> io::Result<()> {
        let mut file = File::create(&path)?;
        file.write_all(Digest::of(&body).as_bytes())?;
        file.write_all(&body)?;
        file.sync_all()?;
        File::create(folder.join(USED))?;
        File::open(folder)?.sync_all()
    };
    write().map_err(io_error("write", &path))?;
    // What a disk does not give back as it was written is not named.
    match read(folder)? {
        Some(_) => Ok(()),
        None => Err(damaged(folder, "it is gone already")),
    }
}

/// Reads what is kept beside the pages, and checks that those are as they were; `None` if there is
/// nothing.
pub(super) fn read(folder: &Path) -> Result<Option<Meta>, PromptError> {
    let path = folder.join(META);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return if folder.is_dir() { Err(damaged(folder, "it has no meta")) } else { Ok(None) };
        }
        result => result.map_err(io_error("open", &path))?,
    };
    let mut bytes = Vec::new();
    file.take(META_BYTES_MAX).read_to_end(&mut bytes).map_err(io_error("read", &path))?;
    let Some((hash, body)) = bytes.split_at_checked(32) else {
        return Err(damaged(folder, "its meta is too short"));
    };
    if Digest::of(body).as_bytes() != hash {
        return Err(damaged(folder, "its meta has another hash"));
    }
    let meta: Meta = postcard::from_bytes(body)
        .map_err(|error| damaged(folder, &format!("its meta is no meta: {error}")))?;
    for (name, content) in [(PAGES, &meta.pages), (PACK, &meta.pack)] {
        let path = folder.join(name);
        let file = File::open(&path)
            .map_err(|error| damaged(folder, &format!("its {name} cannot be opened: {error}")))?;
        if !content.is_of(&file).map_err(io_error("read", &path))? {
            return Err(damaged(folder, &format!("its {name} is not as it was written")));
        }
    }
    Ok(Some(meta))
}

/// The machine, its pages mapped.
pub(super) fn frozen(
    folder: &Path,
    meta: &Meta,
    config: &MachineConfig,
) -> Result<Frozen, PromptError> {
    let path = folder.join(PAGES);
    let file = File::open(&path).map_err(io_error("open", &path))?;
    let mut overlays = Vec::new();
    for blocks in &meta.disks {
        let mut overlay = Overlay::default();
        for &(block, at) in blocks {
            overlay.insert(block, Arc::new(page(&file, at).map_err(io_error("read", &path))?));
        }
        overlays.push(overlay);
    }
    let ram = map(file, meta, config).map_err(io_error("map", &path))?;
    // Best effort: it only decides which prompt goes first when there are too many.
    if let Ok(used) = File::options().write(true).open(folder.join(USED)) {
        let _ = used.set_modified(SystemTime::now());
    }
    Ok(Frozen::from_parts(config, &meta.state, ram, overlays)?)
}

#[cfg(target_os = "linux")]
fn map(file: File, meta: &Meta, config: &MachineConfig) -> io::Result<FrozenRam> {
    FrozenRam::map(config.memory_bytes, OwnedFd::from(file), &meta.ram)
}

#[cfg(not(target_os = "linux"))]
fn map(file: File, meta: &Meta, config: &MachineConfig) -> io::Result<FrozenRam> {
    use stackvm_machine::memory::{RAM_BASE, Ram};
    let mut ram = Ram::new(config.memory_bytes)?;
    for &(number, at) in &meta.ram {
        ram.reserve(1)?;
        ram.write(RAM_BASE + u64::from(number) * PAGE_BYTES as u64, &page(&file, at)?)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    }
    ram.take_written();
    Ok(ram.freeze())
}

fn page(file: &File, at: u32) -> io::Result<PageBytes> {
    let mut bytes = [0; PAGE_BYTES];
    file.read_exact_at(&mut bytes, u64::from(at) * PAGE_BYTES as u64)?;
    Ok(bytes)
}

/// When a prompt was used last.
pub(super) fn used(folder: &Path) -> Option<SystemTime> {
    fs::metadata(folder.join(USED)).and_then(|metadata| metadata.modified()).ok()
}

/// Opens a sealed pack.
pub(super) fn open_pack(path: &Path) -> Result<Pack, PromptError> {
    let file = FileAt::open(path).map_err(io_error("open", path))?;
    Ok(Pack::open(&path.display().to_string(), Arc::new(file))?)
}

fn damaged(folder: &Path, problem: &str) -> PromptError {
    PromptError::Damaged { path: folder.to_owned(), problem: problem.to_owned() }
}

/// A file of pages that grows.
struct Pages {
    file: BufWriter<File>,
    count: u32,
}

impl Pages {
    fn create(path: &Path) -> io::Result<Pages> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        Ok(Pages { file: BufWriter::with_capacity(1 << 20, file), count: 0 })
    }

    fn put(&mut self, bytes: &PageBytes) -> io::Result<u32> {
        self.file.write_all(bytes)?;
        self.count += 1;
        Ok(self.count - 1)
    }

    fn finish(self) -> io::Result<Content> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Content::of(&file)
    }
}
