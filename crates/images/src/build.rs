//! Building images from Debian's packages.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::apt::{Apt, AptError, Package};
use crate::deb::DebError;
use crate::elf::ElfError;
use crate::modules::ModuleError;
use crate::progress::{Cancel, Cancelled, Job, Progress};
use crate::store::{BUILDABLE, Draft, Image, ImageStore, PackageVersion, StoreError};
use crate::{debian, tiny};

/// Part of every image's recipe: counts changes of the code that no script's text shows.
const RECIPE_VERSION: &str = "1";

/// Where and from what images are built.
#[derive(Clone, Debug)]
pub struct BuildOptions {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Debian mirror; without one, the host's own.
    pub mirror: Option<String>,
}

/// Why an image could not be built. Nothing half-built is left; downloads are kept.
#[derive(Debug, Error)]
pub enum BuildError {
    /// This builds other images.
    #[error("{name:?} is no image that can be built; these can: {}", BUILDABLE.join(", "))]
    UnknownName {
        /// What was asked for.
        name: String,
    },
    /// Packages could not be had.
    #[error(transparent)]
    Apt(#[from] AptError),
    /// A package cannot be read.
    #[error(transparent)]
    Deb(#[from] DebError),
    /// Kernel modules are missing or damaged.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// The image cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A package lacks a file it is known for.
    #[error("{0} is not in Debian's packages; the mirror has another release than expected")]
    MissingFile(String),
    /// A program of a package cannot be understood.
    #[error("{path}")]
    Elf {
        /// The program.
        path: String,
        /// What is wrong with it.
        #[source]
        source: ElfError,
    },
    /// The system could not be put together inside the machine.
    #[error("the image could not be put together: {problem}; the guest's last lines:\n{log}")]
    Assembly {
        /// What happened.
        problem: String,
        /// The end of what the guest said.
        log: String,
    },
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl BuildError {
    /// Whether the work was told to stop, rather than failed.
    pub fn is_cancelled(&self) -> bool {
        matches!(
            self,
            BuildError::Cancelled(_)
                | BuildError::Apt(AptError::Cancelled(_))
                | BuildError::Store(StoreError::Cancelled(_))
        )
    }
}

/// Builds the image `name`, or returns the present one if it was made from the same packages in
/// the same way.
///
/// # Errors
/// [`BuildError`].
pub fn build(
    name: &str,
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Image, BuildError> {
    let plan = plan(name)?;
    let mut job = Job::new(progress, cancel);
    let store = ImageStore::open(&options.data_dir)?;
    // One builder at a time, from the lists on: apt's directory has one user.
    let staging = store.stage(&mut job)?;
    let cache = options.data_dir.join("cache");
    let cache = absolute(&cache)?;
    let apt = Apt::new(&cache, options.mirror.as_deref())?;
    apt.update(&mut job)?;
    let mut packages = Vec::new();
    for Selection { roots, provided } in &plan.selections {
        packages.extend(apt.resolve(roots, provided, &mut job)?);
    }
    let draft = plan.draft(&packages, apt.mirror());
    if let Ok(present) = store.get(name)
        && present.packages == draft.packages
        && present.recipe == draft.recipe
    {
        return Ok(present);
    }
    let mut debs = Vec::new();
    for Selection { roots, provided } in &plan.selections {
        debs.push(apt.download(roots, provided, &mut job)?);
    }
    (plan.make)(&debs, apt.mirror(), staging.path(), &mut job)?;
    Ok(staging.commit(&draft, &mut job)?)
}

/// The image `name`, built if the store does not have it. Unlike [`build`], it asks no mirror
/// when there is one.
///
/// # Errors
/// [`BuildError`].
pub fn ensure(
    name: &str,
    options: &BuildOptions,
    progress: &mut dyn FnMut(Progress),
    cancel: &Cancel,
) -> Result<Image, BuildError> {
    let store = ImageStore::open(&options.data_dir)?;
    match store.get(name) {
        Ok(image) => Ok(image),
        Err(StoreError::Unknown { .. } | StoreError::Damaged { .. })
            if BUILDABLE.contains(&name) =>
        {
            build(name, options, progress, cancel)
        }
        Err(error) => Err(error.into()),
    }
}

/// How an image is made, apart from the code that does it.
pub(crate) struct Plan {
    pub(crate) name: &'static str,
    /// Packages asked of apt, each set on an empty system of its own.
    pub(crate) selections: Vec<Selection>,
    pub(crate) append: &'static str,
    pub(crate) memory_bytes: u64,
    /// Hash of the recipe.
    pub(crate) recipe: String,
    /// Makes the image's files in a directory.
    pub(crate) make: Make,
}

/// Packages by selection, the mirror they are from, where to put the files.
type Make = fn(&[Vec<(Package, PathBuf)>], &str, &Path, &mut Job<'_>) -> Result<(), BuildError>;

/// Packages that are asked of apt together.
pub(crate) struct Selection {
    pub(crate) roots: Vec<&'static str>,
    /// Dependencies that are not wanted.
    pub(crate) provided: Vec<&'static str>,
}

impl Plan {
    fn draft(&self, packages: &[Package], mirror: &str) -> Draft {
        let mut versions: Vec<PackageVersion> = packages
            .iter()
            .map(|Package { name, version, .. }| PackageVersion {
                name: name.clone(),
                version: version.clone(),
            })
            .collect();
        versions.sort_by(|a, b| a.name.cmp(&b.name));
        versions.dedup();
        Draft {
            name: self.name.to_owned(),
            append: self.append.to_owned(),
            memory_bytes: self.memory_bytes,
            // The mirror is written into the image.
            recipe: recipe_hash(&[&self.recipe, mirror]),
            packages: versions,
        }
    }
}

fn plan(name: &str) -> Result<Plan, BuildError> {
    match name {
        "tiny" => Ok(tiny::plan()),
        "debian" => Ok(debian::plan()),
        _ => Err(BuildError::UnknownName { name: name.to_owned() }),
    }
}

/// A hash of the texts an image is made by.
pub(crate) fn recipe_hash(texts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for text in [RECIPE_VERSION].iter().chain(texts) {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.finalize().to_hex().to_string()
}

/// Makes a file by `write`.
pub(crate) fn write_file(
    path: &Path,
    write: &mut dyn FnMut(&mut dyn Write) -> io::Result<()>,
) -> Result<(), StoreError> {
    let io = |error| StoreError::io(path, error);
    let mut out = BufWriter::with_capacity(1 << 20, File::create_new(path).map_err(io)?);
    write(&mut out).and_then(|()| out.flush()).map_err(io)
}

fn absolute(path: &Path) -> Result<PathBuf, StoreError> {
    std::path::absolute(path).map_err(|error| StoreError::io(path, error))
}
