//! What a journal is made of, in a small file that is replaced as a whole when that changes:
//! branches, names, actors. Entries, keyframes and notes have files of their own that only grow.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use stackvm_machine::Instant;
use stackvm_store::Digest;

use super::JournalError;
use super::files;
use crate::branch::{Branch, BranchId, BranchKind, Folded, Origin};
use crate::header::Header;
use crate::keyframe::Keyframe;
use crate::limits::MANIFEST_BYTES_MAX;
use crate::timeline::OpenError;

pub(super) const FORMAT: &str = "stackvm journal";
pub(super) const VERSION: u32 = 1;
const NAME: &str = "manifest.json";

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) header: Header,
    /// The `.vmcast` that this goes on from.
    pub(super) base: Option<Base>,
    /// Packs that are always kept: those of the first keyframe.
    pub(super) packs: Vec<String>,
    pub(super) actors: Vec<String>,
    pub(super) branches: Vec<BranchInfo>,
    /// The branch that grows.
    pub(super) grows: BranchId,
}

/// A `.vmcast` that must stay as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Base {
    /// Relative to the journal's folder where that is possible, so that both can be moved together.
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
    /// Hash of its manifest and directory, which have checksums of everything in it.
    pub(super) directory: Digest,
}

/// A branch, without what changes with every entry.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct BranchInfo {
    pub(super) origin: Origin,
    pub(super) name: String,
    pub(super) author: String,
    pub(super) created_unix_ms: u64,
    pub(super) kind: BranchKind,
    pub(super) deleted: bool,
    /// What of it is in the base.
    pub(super) base: Option<BaseBranch>,
    /// Whether it has files in this folder.
    pub(super) has_files: bool,
    /// What of those was folded into its first keyframe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fold: Option<Fold>,
}

/// What of a branch's files is gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Fold {
    /// The instant of its first keyframe now.
    pub(super) at: Instant,
    /// How many entries were before.
    pub(super) entries: u64,
    /// Where the first block of its log is that is needed, and the number of that block's first entry.
    pub(super) log_start: u64,
    pub(super) log_first_entry: u64,
    /// Where its output track begins.
    pub(super) track_start: u64,
}

/// A branch's part in the base.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct BaseBranch {
    pub(super) entries: u64,
    pub(super) end: Instant,
    /// Bytes of the base's output track that are still right.
    pub(super) track_bytes: u64,
}

/// A keyframe and packs that are kept as long as it is, in the file of keyframes: the one that was
/// written for it, and after thinning what was written for others and is still needed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct KeyframeRecord {
    pub(super) keyframe: Keyframe,
    pub(super) packs: Vec<String>,
}

impl BranchInfo {
    /// The branch as it is with `entries` up to `end`.
    pub(super) fn branch(&self, entries: u64, end: Instant) -> Branch {
        Branch {
            origin: self.origin,
            name: self.name.clone(),
            author: self.author.clone(),
            created_unix_ms: self.created_unix_ms,
            kind: self.kind,
            entries,
            folded: self.fold.map_or_else(Folded::default, |fold| Folded {
                entries: fold.entries,
                track_bytes: fold.track_start,
            }),
            end,
            deleted: self.deleted,
        }
    }
}

impl Manifest {
    /// Where it is.
    pub(super) fn path(folder: &Path) -> PathBuf {
        folder.join(NAME)
    }

    /// Reads it.
    pub(super) fn read(folder: &Path) -> Result<Manifest, OpenError> {
        let path = Manifest::path(folder);
        let place = path.display().to_string();
        let not_one = |problem: String| OpenError::NotOne { place: place.clone(), problem };
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => not_one("it is not there".to_owned()),
            _ => OpenError::Io { place: place.clone(), error },
        };
        let bytes = std::fs::metadata(&path).map_err(io)?.len();
        if bytes > MANIFEST_BYTES_MAX {
            let (what, count, max) = ("bytes", bytes, MANIFEST_BYTES_MAX);
            return Err(OpenError::TooMuch { place, what, count, max });
        }
        let bytes = std::fs::read(&path).map_err(io)?;
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| not_one(error.to_string()))?;
        if value.get("format").and_then(|format| format.as_str()) != Some(FORMAT) {
            return Err(not_one("it is of no journal".to_owned()));
        }
        if value.get("version").and_then(serde_json::Value::as_u64) != Some(VERSION.into()) {
            let found = value.get("version").map_or("none".to_owned(), ToString::to_string);
            let (found, expected) = (format!("journals of version {found}"), VERSION.to_string());
            return Err(OpenError::Version { place, found, expected });
        }
        let manifest: Manifest =
            serde_json::from_value(value).map_err(|error| not_one(error.to_string()))?;
        manifest.header.check(&place, crate::header::Place::Journal)?;
        Ok(manifest)
    }

    /// Writes it in place of what was there.
    pub(super) fn write(&self, folder: &Path) -> Result<(), JournalError> {
        let bytes = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        let path = Manifest::path(folder);
        let bytes = bytes.map_err(files::failed(&path))?;
        files::replace(&path, &bytes)
    }
}
