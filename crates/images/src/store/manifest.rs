//! What an image says of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use stackvm_machine::config::limits;

use super::StoreError;

/// Version of the manifest's form.
const FORMAT: u32 = 1;
/// Largest manifest, in bytes.
pub(super) const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Longest kernel command line (`COMMAND_LINE_SIZE` of Linux for RISC-V is 1024).
const APPEND_BYTES_MAX: usize = 1023;
/// The files an image may have, and how large each may be. Disks are sparse.
const ROLES: [(&str, u64); 3] = [("kernel", 1 << 30), ("initrd", 8 << 30), ("disk", 4 << 40)];

/// Names an image's content: BLAKE3 of its manifest, which has the hashes of its files.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct ImageHash(String);

impl ImageHash {
    pub(super) fn of(manifest: &[u8]) -> ImageHash {
        ImageHash(blake3::hash(manifest).to_hex().to_string())
    }

    /// Reads 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<ImageHash> {
        let hex = text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| ImageHash(text.to_owned()))
    }

    /// The 64 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Debian package an image was made from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PackageVersion {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// An image: what a machine starts from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Image {
    /// Its name in the store.
    pub name: String,
    /// Its content's hash.
    pub hash: ImageHash,
    /// Kernel file.
    pub kernel: PathBuf,
    /// Initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// Raw disk, `vda`.
    pub disk: Option<PathBuf>,
    /// Kernel command line.
    pub append: String,
    /// RAM it is given unless told otherwise, in bytes.
    pub memory_bytes: u64,
    /// Sizes of its files together, in bytes (of a disk: as the guest sees it).
    pub size_bytes: u64,
    /// The packages it was made from.
    pub packages: Vec<PackageVersion>,
    /// Hash of all that decides the image's content beside the packages.
    pub recipe: String,
}

/// An image's description as stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) format: u32,
    pub(super) name: String,
    pub(super) append: String,
    pub(super) memory_bytes: u64,
    pub(super) recipe: String,
    pub(super) packages: Vec<PackageVersion>,
    pub(super) files: BTreeMap<String, FileEntry>,
}

/// A file of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileEntry {
    /// Size.
    pub(super) bytes: u64,
    /// BLAKE3 of its content, as `b3sum` prints it.
    pub(super) blake3: String,
}

impl Manifest {
    pub(super) fn new(draft: &super::Draft, files: BTreeMap<String, FileEntry>) -> Manifest {
        Manifest {
            format: FORMAT,
            name: draft.name.clone(),
            append: draft.append.clone(),
            memory_bytes: draft.memory_bytes,
            recipe: draft.recipe.clone(),
            packages: draft.packages.clone(),
            files,
        }
    }

    /// Reads and checks a manifest; it may come from anywhere.
    pub(super) fn parse(text: &[u8]) -> Result<Manifest, String> {
        if text.len() as u64 > MANIFEST_BYTES_MAX {
            return Err("the manifest is too large".to_owned());
        }
        let manifest: Manifest =
            serde_json::from_slice(text).map_err(|error| format!("manifest: {error}"))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The bytes that are stored and hashed.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("strings and numbers serialize");
        text.push(b'\n');
        text
    }

    fn check(&self) -> Result<(), String> {
        if self.format != FORMAT {
            return Err(format!("format {} is not known (this knows {FORMAT})", self.format));
        }
        check_name(&self.name).map_err(|error| error.to_string())?;
        let printable = self.append.chars().all(|c| c.is_ascii_graphic() || c == ' ');
        if !printable || self.append.len() > APPEND_BYTES_MAX {
            return Err("the kernel command line is too long or not printable".to_owned());
        }
        let memory = limits::MEMORY_BYTES_MIN..=limits::MEMORY_BYTES_MAX;
        if !memory.contains(&self.memory_bytes) || !self.memory_bytes.is_multiple_of(4096) {
            return Err(format!("memory of {} bytes is impossible", self.memory_bytes));
        }
        if !self.files.contains_key("kernel") {
            return Err("it has no kernel".to_owned());
        }
        for (role, file) in &self.files {
            let limit = ROLES.iter().find(|(known, _)| known == role).map(|(_, limit)| *limit);
            match limit {
                None => return Err(format!("a file {role:?} is not known")),
                Some(limit) if file.bytes > limit || file.bytes == 0 => {
                    return Err(format!("{role} of {} bytes is impossible", file.bytes));
                }
                Some(_) if ImageHash::parse(&file.blake3).is_none() => {
                    return Err(format!("{role} has no proper hash"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    pub(super) fn into_image(self, hash: ImageHash, directory: PathBuf) -> Image {
        let file = |role: &str| self.files.contains_key(role).then(|| directory.join(role));
        Image {
            hash,
            kernel: directory.join("kernel"),
            initrd: file("initrd"),
            disk: file("disk"),
            size_bytes: self.files.values().map(|file| file.bytes).sum(),
            name: self.name,
            append: self.append,
            memory_bytes: self.memory_bytes,
            packages: self.packages,
            recipe: self.recipe,
        }
    }
}

/// Checks that a name can be an image's, and a file's.
pub(super) fn check_name(name: &str) -> Result<(), StoreError> {
    let allowed = |c: u8| matches!(c, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    let start = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    // `objects` and `lock` are the store's own.
    let own = ["objects", "lock"].contains(&name);
    if start && !own && name.len() <= 64 && name.bytes().all(allowed) {
        Ok(())
    } else {
        Err(StoreError::BadName(name.to_owned()))
    }
}
