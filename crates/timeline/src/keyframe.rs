//! Keyframes: whole states, as roots of trees of chunks.

use serde::{Deserialize, Serialize};
use stackvm_machine::Instant;
use stackvm_machine::digest::Digest;
use stackvm_store::{Blob, Tree};

use crate::branch::BranchId;

/// A machine's whole state at an instant. All but the first one of a timeline are a cache.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Keyframe {
    /// On which branch.
    pub branch: BranchId,
    /// When.
    pub at: Instant,
    /// How many of the branch's own entries it contains.
    pub entries: u64,
    /// The machine's digest.
    pub digest: Digest,
    /// Everything but RAM and disks ([`stackvm_machine::Frozen::state_bytes`]).
    pub state: Blob,
    /// RAM.
    pub ram: Tree,
    /// What the guest has written to each disk.
    pub disks: Vec<WrittenBlocks>,
    /// Seed and RTC base of the configuration now: the last reset may have changed them.
    pub seed: u64,
    /// See `seed`.
    pub rtc_ns: u64,
    /// What is derived from outputs and outside the digest: the terminals' screens and the guest's
    /// ports ([`crate::screen::Derived`]), in postcard.
    pub derived: Blob,
    /// Instructions retired, for estimating how long a replay takes.
    pub retired: u64,
    /// Bytes of the branch's output track up to here.
    pub track_bytes: u64,
}

/// The blocks of a disk that a guest has written.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WrittenBlocks {
    /// Which blocks: one bit each, lowest bit first. A written block may be all zeroes.
    pub written: Blob,
    /// Their content; all others are zeroes here. As many pages as the disk has blocks.
    pub blocks: Tree,
}
