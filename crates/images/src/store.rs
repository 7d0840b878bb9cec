//! Where images live: `images/` in the data directory.
//!
//! `images/objects/HASH/` holds an image's files and its `manifest.json`, whose BLAKE3 hash is the
//! image's; `images/NAME` is a symbolic link to one of them. Objects are made aside in the same
//! file system, synced and renamed, and the link is replaced by a rename, so that a half-built
//! image never looks whole. Rebuilding an image leaves the former object in place, because
//! machines with a disk of their own still stand on it ([`ImageStore::prune`] removes it).

mod bundle;
mod manifest;
mod staging;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

pub use manifest::{Image, ImageHash, PackageVersion};
pub use staging::{Draft, Staging};

use crate::progress::Cancelled;
use manifest::Manifest;

/// Images that [`crate::build`] knows how to make.
pub const BUILDABLE: [&str; 2] = ["tiny", "debian"];
/// Name of an image's description inside its object and its bundle.
const MANIFEST: &str = "manifest.json";

/// Why the store could not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// No image has this name.
    #[error("{}", unknown_message(name, have))]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names of the images that exist.
        have: Vec<String>,
    },
    /// The name cannot be an image's.
    #[error(
        "image name {0:?}: a name is 1 to 64 of a-z, 0-9, '.', '_', '-', starting with a letter or \
         digit"
    )]
    BadName(String),
    /// Files of the image are missing or changed.
    #[error("image {name:?} is damaged: {problem}; build or import it again")]
    Damaged {
        /// Its name or hash.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A file is not a bundle, or a bundle is not what it says.
    #[error("{} is not a usable image bundle: {problem}", path.display())]
    Bundle {
        /// The bundle.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// No space left.
    #[error("no space left for {}", path.display())]
    DiskFull {
        /// What was being written.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot use {}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Told to stop.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl StoreError {
    /// Makes the error of a failed operation on `path`.
    pub(crate) fn io(path: &Path, source: io::Error) -> StoreError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull => StoreError::DiskFull { path },
            _ => StoreError::Io { path, source },
        }
    }
}

fn unknown_message(name: &str, have: &[String]) -> String {
    if BUILDABLE.contains(&name) {
        return format!("image {name:?} is not built yet; `stackvm image build {name}` builds it");
    }
    let candidates = have.iter().map(String::as_str).chain(BUILDABLE);
    let nearest = candidates
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().div_ceil(2));
    let hint = nearest.map(|(_, nearest)| format!("; did you mean {nearest:?}?"));
    let existing = if have.is_empty() { "none yet".to_owned() } else { have.join(", ") };
    format!(
        "no image is named {name:?}{}; images here: {existing}; `stackvm image build {}` builds \
         one",
        hint.unwrap_or_default(),
        BUILDABLE.join("|"),
    )
}

/// The images of a data directory.
#[derive(Clone, Debug)]
pub struct ImageStore {
    directory: PathBuf,
}

impl ImageStore {
    /// Opens the store of the data directory `root`, creating it if need be.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn open(root: &Path) -> Result<ImageStore, StoreError> {
        let directory = root.join("images");
        let objects = directory.join("objects");
        fs::create_dir_all(&objects).map_err(|error| StoreError::io(&objects, error))?;
        // Manifests are compared and apt is configured with absolute paths.
        let directory =
            directory.canonicalize().map_err(|error| StoreError::io(&directory, error))?;
        Ok(ImageStore { directory })
    }

    /// All whole images, by name. Damaged ones are left out; [`ImageStore::get`] explains them.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn list(&self) -> Result<Vec<Image>, StoreError> {
        Ok(self.names()?.iter().filter_map(|name| self.get(name).ok()).collect())
    }

    /// The image of this name.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] with a suggestion, [`StoreError::Damaged`], [`StoreError::Io`].
    pub fn get(&self, name: &str) -> Result<Image, StoreError> {
        let unknown = || -> Result<Image, StoreError> {
            Err(StoreError::Unknown { name: name.to_owned(), have: self.names()? })
        };
        if manifest::check_name(name).is_err() {
            return unknown();
        }
        let link = match fs::read_link(self.directory.join(name)) {
            Ok(link) => link,
            Err(_) => return unknown(),
        };
        let hash = link.file_name().and_then(|hash| ImageHash::parse(hash.to_str()?));
        let hash = hash.ok_or_else(|| StoreError::Damaged {
            name: name.to_owned(),
            problem: format!("its link leads to {}", link.display()),
        })?;
        let mut image = self.by_hash(&hash)?;
        name.clone_into(&mut image.name);
        Ok(image)
    }

    /// The image with this hash, whether or not a name still leads to it.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not here or its files have changed size.
    pub fn by_hash(&self, hash: &ImageHash) -> Result<Image, StoreError> {
        let damaged = |problem: String| StoreError::Damaged { name: hash.to_string(), problem };
        let directory = self.object(hash);
        let text = fs::read(directory.join(MANIFEST))
            .map_err(|error| damaged(format!("{MANIFEST}: {error}")))?;
        if ImageHash::of(&text) != *hash {
            return Err(damaged(format!("{MANIFEST} does not have the image's hash")));
        }
        let manifest = Manifest::parse(&text).map_err(damaged)?;
        for (role, file) in &manifest.files {
            let found = fs::metadata(directory.join(role)).map(|metadata| metadata.len());
            match found {
                Ok(bytes) if bytes == file.bytes => {}
                Ok(bytes) => {
                    return Err(damaged(format!("{role} has {bytes} bytes, not {}", file.bytes)));
                }
                Err(error) => return Err(damaged(format!("{role}: {error}"))),
            }
        }
        Ok(manifest.into_image(hash.clone(), directory))
    }

    /// Removes an image: its name and every object built or imported under it.
    ///
    /// # Errors
    /// [`StoreError::Unknown`] with a suggestion, [`StoreError::Io`].
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let link = self.directory.join(name);
        if manifest::check_name(name).is_err() || fs::symlink_metadata(&link).is_err() {
            return Err(StoreError::Unknown { name: name.to_owned(), have: self.names()? });
        }
        fs::remove_file(&link).map_err(|error| StoreError::io(&link, error))?;
        let named = self.named_objects()?;
        self.remove_objects(|image| image.name == name && !named.contains(&image.hash))
    }

    /// Removes the objects that no name leads to and that are not in `used` (the images that
    /// machines stand on).
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn prune(&self, used: &[ImageHash]) -> Result<(), StoreError> {
        let named = self.named_objects()?;
        self.remove_objects(|image| !named.contains(&image.hash) && !used.contains(&image.hash))
    }

    fn remove_objects(&self, doomed: impl Fn(&Image) -> bool) -> Result<(), StoreError> {
        let objects = self.directory.join("objects");
        let entries = fs::read_dir(&objects).map_err(|error| StoreError::io(&objects, error))?;
        for entry in entries {
            let path = entry.map_err(|error| StoreError::io(&objects, error))?.path();
            let hash = path.file_name().and_then(|hash| ImageHash::parse(hash.to_str()?));
            let image = hash.and_then(|hash| self.by_hash(&hash).ok());
            if image.is_some_and(|image| doomed(&image)) {
                fs::remove_dir_all(&path).map_err(|error| StoreError::io(&path, error))?;
            }
        }
        Ok(())
    }

    fn named_objects(&self) -> Result<Vec<ImageHash>, StoreError> {
        Ok(self.list()?.into_iter().map(|image| image.hash).collect())
    }

    /// Names that exist, sorted.
    fn names(&self) -> Result<Vec<String>, StoreError> {
        let io = |error| StoreError::io(&self.directory, error);
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.directory).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if link && manifest::check_name(&name).is_ok() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn object(&self, hash: &ImageHash) -> PathBuf {
        self.directory.join("objects").join(hash.as_str())
    }
}

#[cfg(test)]
mod tests;
