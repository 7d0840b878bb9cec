//! What a `.vmcast` says about itself: `manifest.json`.

use serde::{Deserialize, Serialize};
use stackvm_store::Blob;

use crate::branch::Branch;
use crate::header::{Header, Place};
use crate::keyframe::Keyframe;
use crate::note::Note;
use crate::timeline::OpenError;

pub(super) const FORMAT: &str = "stackvm vmcast";
pub(super) const VERSION: u32 = 1;

/// Names of the entries in the file, in the order in which they are written.
pub(super) mod names {
    /// The input logs of all branches, one after another.
    pub(crate) const LOG: &str = "log";
    /// The chunks of the first keyframes, boot files and disks.
    pub(crate) const FIRST: &str = "first.pack";
    /// Those of later keyframes, as far as they are not there.
    pub(crate) const LATER: &str = "later.pack";
    /// The output tracks, as blobs.
    pub(crate) const TRACK: &str = "track.pack";
    /// Everything else.
    pub(crate) const MANIFEST: &str = "manifest.json";
    /// All.
    pub(crate) const ALL: [&str; 5] = [LOG, FIRST, LATER, TRACK, MANIFEST];
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    pub(super) format: String,
    pub(super) version: u32,
    pub(super) header: Header,
    pub(super) actors: Vec<String>,
    pub(super) branches: Vec<BranchEntry>,
    pub(super) keyframes: Vec<Keyframe>,
    pub(super) notes: Vec<Note>,
}

/// A branch and where its log and track are.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct BranchEntry {
    #[serde(flatten)]
    pub(super) branch: Branch,
    /// First byte of its blocks in the entry `log`.
    pub(super) log_start: u64,
    /// Their bytes.
    pub(super) log_bytes: u64,
    /// Its output track, in `track.pack`.
    pub(super) track: Option<Blob>,
}

/// What every version of the manifest has, so that other versions can be named.
#[derive(Deserialize)]
struct Probe {
    format: String,
    version: u32,
    header: ProbeHeader,
}

#[derive(Deserialize)]
struct ProbeHeader {
    profile: String,
    determinism_version: u32,
}

impl Manifest {
    pub(super) fn parse(place: &str, bytes: &[u8]) -> Result<Manifest, OpenError> {
        let not_one = |problem: String| OpenError::NotOne { place: place.to_owned(), problem };
        let bad = |error: serde_json::Error| not_one(format!("{}: {error}", names::MANIFEST));
        let probe: Probe = serde_json::from_slice(bytes).map_err(bad)?;
        if probe.format != FORMAT {
            return Err(not_one(format!("its format is {:?}", probe.format)));
        }
        if probe.version != VERSION {
            let ProbeHeader { profile, determinism_version } = probe.header;
            return Err(OpenError::Version {
                place: place.to_owned(),
                found: format!(
                    "version {} of the format (profile {profile}, determinism \
                     {determinism_version})",
                    probe.version
                ),
                expected: format!("version {VERSION}"),
            });
        }
        let foreign = probe.header.profile != stackvm_machine::persist::PROFILE
            || probe.header.determinism_version != stackvm_machine::persist::DETERMINISM_VERSION;
        let manifest: Result<Manifest, _> = serde_json::from_slice(bytes);
        let manifest = match manifest {
            Ok(manifest) => manifest,
            // A header of another profile may have other fields.
            Err(_) if foreign => return Err(foreign_error(place, &probe.header)),
            Err(error) => return Err(bad(error)),
        };
        manifest.header.check(place, Place::Vmcast)?;
        Ok(manifest)
    }
}

fn foreign_error(place: &str, header: &ProbeHeader) -> OpenError {
    let name = |profile: &str, version: u32| format!("profile {profile}, determinism {version}");
    use stackvm_machine::persist::{DETERMINISM_VERSION, PROFILE};
    OpenError::Version {
        place: place.to_owned(),
        found: name(&header.profile, header.determinism_version),
        expected: name(PROFILE, DETERMINISM_VERSION),
    }
}
