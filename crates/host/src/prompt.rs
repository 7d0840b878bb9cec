//! Prompt keyframes: machines of images, frozen at their prompt, so that the next one starts from
//! there instead of booting.
//!
//! A machine boots the same way every time, so what an image's boot leads to is kept, once for each
//! configuration, in `cache/prompts/KEY/` of the data directory: the machine at its prompt with its
//! agent up and idle, and a shell that waits (`guest/standby`). Files of it are mapped, not read.
//! A machine that starts from it is a fresh fork: the first thing that happens to it is an identity
//! of its own. This module owns when there is one and how it is made; `files` owns how it is kept.
//! The cache may be removed at any time.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stackvm_images::{Cancel, Cancelled, Image};
use stackvm_machine::digest::Digest;
use stackvm_machine::memory::PageIndex;
use stackvm_machine::persist::{DETERMINISM_VERSION, PROFILE};
use stackvm_machine::{Frozen, MachineConfig, RestoreError, StateTrees};
use stackvm_store::{PackError, PackSet, ReadError, tree};
use stackvm_timeline::Keyframe;
use stackvm_timeline::screen::Derived;
use thiserror::Error;

use crate::guest::StandbySaved;
use crate::lab::LabError;
use crate::machines::spec::SpecError;
use crate::machines::{MachineSpec, Source, StartFrom, try_lock};

mod build;
mod files;
#[cfg(test)]
mod tests;

/// Raised when prompts are made or kept in another way.
const FORMAT: u32 = 2;
/// Most prompts that are kept; the one that was not used for longest goes first.
const PROMPTS_MAX: usize = 8;
/// How often another process that makes the same prompt is looked at.
const WAIT: Duration = Duration::from_millis(50);

/// Why a prompt cannot be made or used.
#[derive(Debug, Error)]
pub enum PromptError {
    /// The machine cannot be made.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// The guest does not come to its prompt.
    #[error("the guest did not come to its prompt")]
    Boot(#[source] LabError),
    /// A file of the cache cannot be used.
    #[error("could not {what} {}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        error: io::Error,
    },
    /// The cache is not what was written.
    #[error("the cached prompt {} is damaged: {problem}", path.display())]
    Damaged {
        /// Its folder.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The machine cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// Its pack cannot be written.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// Its pack cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

/// What [`ensure`] tells whoever waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The guest boots; so much of its time has passed.
    Boots {
        /// Virtual time, in nanoseconds.
        virtual_ns: u64,
    },
    /// What it came to is written.
    Writes,
    /// Another process makes the same prompt.
    Waits,
    /// The one that was there cannot be used, and is made again.
    Damaged {
        /// What is wrong with it.
        problem: String,
    },
}

/// A machine at its prompt.
pub struct Prompt {
    folder: PathBuf,
    frozen: Frozen,
    meta: Meta,
}

/// What is kept beside the pages.
#[derive(Serialize, Deserialize)]
struct Meta {
    /// [`Frozen::state_bytes`].
    state: Vec<u8>,
    /// Which page of RAM is which page of the file.
    ram: Vec<(PageIndex, u32)>,
    /// Which block of each disk is which page of the file.
    disks: Vec<Vec<(u64, u32)>>,
    /// What the terminals show, and the open ports.
    derived: Derived,
    standby: Option<StandbySaved>,
    keyframe: Keyframe,
    pages: files::Content,
    pack: files::Content,
}

impl Prompt {
    /// The machine.
    pub fn frozen(&self) -> &Frozen {
        &self.frozen
    }

    /// What its terminals show, and its open ports.
    pub fn derived(&self) -> &Derived {
        &self.meta.derived
    }

    pub(crate) fn standby(&self) -> Option<StandbySaved> {
        self.meta.standby
    }

    /// The machine as a keyframe whose chunks are in the packs.
    pub fn keyframe(&self) -> &Keyframe {
        &self.meta.keyframe
    }

    /// The sealed packs with all chunks of the keyframe: to be linked, not changed.
    pub fn pack_paths(&self) -> Vec<PathBuf> {
        vec![self.folder.join(files::PACK)]
    }

    /// The hash trees of the machine, from what its pack says: nothing of RAM is hashed.
    ///
    /// # Errors
    /// [`PromptError::Read`].
    pub fn trees(&self) -> Result<StateTrees, PromptError> {
        let packs = PackSet::new();
        for path in self.pack_paths() {
            packs.add(files::open_pack(&path)?);
        }
        let mut digests: Vec<(PageIndex, Digest)> = Vec::new();
        tree::visit_pages(&packs, &self.meta.keyframe.ram, &mut |page, digest| {
            digests.push((page as PageIndex, *digest));
            Ok(())
        })?;
        let mut trees = StateTrees::new(self.frozen.config());
        trees.assume_ram(self.frozen.ram(), digests);
        if self.frozen.digest(&mut trees) != self.meta.keyframe.digest {
            let problem = "its pack is another machine's".to_owned();
            return Err(PromptError::Damaged { path: self.folder.clone(), problem });
        }
        Ok(trees)
    }
}

/// Whether machines of this shape can start from a prompt: those of images, with nothing added
/// that the image's hash does not name.
pub fn is_possible(spec: &MachineSpec) -> bool {
    let image = matches!(spec.source, Source::Image { hash: Some(_), .. });
    spec.start == StartFrom::Prompt && image && spec.disks.is_empty()
}

/// The prompt for a machine, if it is in the cache of the data directory `data`; marks it as used.
///
/// # Errors
/// See [`PromptError`]; [`PromptError::Damaged`] for one that must be made again.
pub fn open(data: &Path, spec: &MachineSpec) -> Result<Option<Prompt>, PromptError> {
    if !is_possible(spec) {
        return Ok(None);
    }
    let (image, config) = spec.image_shape(data)?;
    let folder = prompts(data).join(key(&image, &config));
    let Some(meta) = files::read(&folder)? else { return Ok(None) };
    let frozen = files::frozen(&folder, &meta, &config).inspect_err(|error| {
        if matches!(error, PromptError::Restore(_)) {
            // Whoever comes next makes it anew.
            let _ = fs::remove_dir_all(&folder);
        }
    })?;
    Ok(Some(Prompt { folder, frozen, meta }))
}

/// Makes the prompt for a machine unless there is one. `progress` is told what takes time.
///
/// # Errors
/// See [`PromptError`].
pub fn ensure(
    data: &Path,
    spec: &MachineSpec,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<(), PromptError> {
    if !is_possible(spec) {
        return Ok(());
    }
    let (image, config) = spec.image_shape(data)?;
    let all = prompts(data);
    let folder = all.join(key(&image, &config));
    match files::read(&folder) {
        Ok(Some(_)) => return Ok(()),
        Ok(None) => {}
        Err(error @ PromptError::Damaged { .. }) => {
            progress(Progress::Damaged { problem: error.to_string() });
        }
        Err(error) => return Err(error),
    }
    fs::create_dir_all(&all).map_err(io_error("create", &all))?;
    let lock_path = folder.with_extension("lock");
    let Some(_lock) = lock(&lock_path, progress, cancel)? else { return Err(Cancelled.into()) };
    // Somebody else may have made it meanwhile.
    if matches!(files::read(&folder), Ok(Some(_))) {
        return Ok(());
    }
    let booted = build::boot(data, spec, progress, cancel)?;
    progress(Progress::Writes);
    files::write(&folder, booted)?;
    sweep(&all, &folder);
    Ok(())
}

/// Waits for the lock of a prompt's maker.
fn lock(
    path: &Path,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Option<File>, PromptError> {
    let mut told = false;
    loop {
        if let Some(lock) = try_lock(path).map_err(io_error("lock", path))? {
            return Ok(Some(lock));
        }
        if !std::mem::replace(&mut told, true) {
            progress(Progress::Waits);
        }
        if cancel.is_cancelled() {
            return Ok(None);
        }
        std::thread::sleep(WAIT);
    }
}

/// Removes the prompts that were not used for longest, and what killed makers left behind.
fn sweep(all: &Path, keep: &Path) {
    let Ok(entries) = fs::read_dir(all) else { return };
    let mut found = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let is_whole = path.extension().is_none() && path.is_dir();
        if is_whole && path != keep {
            found.push((files::used(&path), path));
        } else if path.extension().is_some_and(|extension| extension == files::ASIDE) {
            // Its maker holds the lock as long as it lives.
            if matches!(try_lock(&path.with_extension("lock")), Ok(Some(_))) {
                let _ = fs::remove_dir_all(&path);
            }
        }
    }
    found.sort();
    let excess = (found.len() + 1).saturating_sub(PROMPTS_MAX);
    for (_, path) in found.into_iter().take(excess) {
        // A machine that started from it has its files open; who comes now boots again.
        let _ = fs::remove_dir_all(&path);
    }
}

fn prompts(data: &Path) -> PathBuf {
    data.join("cache/prompts")
}

/// Names a configuration: everything that the boot's outcome depends on.
fn key(image: &Image, config: &MachineConfig) -> String {
    let MachineConfig { memory_bytes, harts, nics, consoles, ports, sv48, rate_ticks, .. } = config;
    let shape = (memory_bytes, harts, nics, consoles, ports, sv48, rate_ticks);
    let versions = (FORMAT, PROFILE, DETERMINISM_VERSION);
    let named = (versions, image.hash.as_str(), &config.append, shape);
    let bytes = postcard::to_stdvec(&named).expect("plain data");
    Digest::of(&bytes).to_string()
}

fn io_error<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> PromptError + use<'a> {
    move |error| PromptError::Io { what, path: path.to_owned(), error }
}

/// Reads what a machine boots from, to switch it on anew.
pub(crate) type BootFiles = Rc<dyn Fn() -> Result<MachineConfig, SpecError>>;
