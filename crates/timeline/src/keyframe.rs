//! Keyframes: whole states, as roots of trees of chunks.
//!
//! Owns how a frozen machine becomes chunks and a machine again. [`write()`] touches only what
//! changed since the keyframe before, and needs nothing of the running machine but its [`Frozen`],
//! so that it can run behind it; `Keyframer` does that on a thread. [`load`] believes nothing: a
//! keyframe whose hashes are right may still be made by an enemy. When keyframes are taken and
//! which are kept is [`crate::cadence`]'s business.

#[cfg(unix)]
mod behind;
mod load;

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use stackvm_machine::digest::Digest;
use stackvm_machine::memory::PageBytes;
use stackvm_machine::persist::StateTrees;
use stackvm_machine::{Frozen, Instant};
use stackvm_store::tree::{self, Blob, Tree};
use stackvm_store::{Chunks, PackError, PackWriter};

use crate::branch::BranchId;
use crate::screen::Derived;

#[cfg(unix)]
pub(crate) use behind::write_alone;
#[cfg(unix)]
pub use behind::{Finished, Job, Keyframer, KeyframerError};
pub use load::{KeyframeError, Near, load};

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
    /// Which blocks: one bit each, the lowest of a byte first. A written block may be all zeroes.
    pub written: Blob,
    /// Their content; all others are zeroes here. As many pages as the disk has blocks.
    pub blocks: Tree,
}

/// Where in a timeline a frozen machine belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Place {
    /// On which branch.
    pub branch: BranchId,
    /// How many of the branch's own entries were put in.
    pub entries: u64,
    /// Bytes of the branch's output track up to here.
    pub track_bytes: u64,
}

/// Writes a frozen machine's chunks that `known` does not have. `trees` become those of `frozen`;
/// they may show any earlier state of the machine, which saves hashing. `before` are the trees of
/// a keyframe that `known` has: what is equal is not looked at.
///
/// # Errors
/// The sink's.
pub fn write<W: Write>(
    frozen: &Frozen,
    trees: &mut StateTrees,
    mut before: Option<&mut StateTrees>,
    derived: &Derived,
    place: Place,
    known: &dyn Chunks,
    pack: &mut PackWriter<W>,
) -> Result<Keyframe, PackError> {
    let digest = frozen.digest(trees);
    let state = tree::write_blob(&frozen.state_bytes(), known, pack)?;
    let derived = postcard::to_stdvec(derived).expect("plain data");
    let derived = tree::write_blob(&derived, known, pack)?;
    let frozen_ram = frozen.ram();
    let mut page = |number: u64, to: &mut PageBytes| {
        let number = u32::try_from(number).expect("a page of RAM");
        *to = *frozen_ram.page(number).expect("a page of RAM");
        Ok(())
    };
    let ram_before = before.as_deref_mut().map(StateTrees::ram_tree);
    let ram = tree::write(trees.ram_tree(), ram_before, &mut page, known, pack)?;
    let mut disks = Vec::new();
    for (number, overlay) in frozen.overlays().iter().enumerate() {
        let mut block = |block: u64, to: &mut PageBytes| {
            let content = overlay.get(block).ok_or(io::ErrorKind::NotFound)?;
            *to = **content;
            Ok(())
        };
        let blocks_before = before.as_deref_mut().map(|trees| trees.disk_tree(number));
        let blocks = tree::write(trees.disk_tree(number), blocks_before, &mut block, known, pack)?;
        let mut bitmap = |page: u64, to: &mut PageBytes| {
            *to = overlay.bitmap_page(page);
            Ok(())
        };
        let map_before = before.as_deref_mut().map(|trees| trees.written_tree(number));
        let map = tree::write(trees.written_tree(number), map_before, &mut bitmap, known, pack)?;
        let written = Blob { bytes: blocks.pages.div_ceil(8), tree: map };
        disks.push(WrittenBlocks { written, blocks });
    }
    Ok(Keyframe {
        branch: place.branch,
        at: frozen.instant(),
        entries: place.entries,
        digest,
        state,
        ram,
        disks,
        seed: frozen.config().seed,
        rtc_ns: frozen.config().rtc_ns,
        derived,
        retired: frozen.retired(),
        track_bytes: place.track_bytes,
    })
}
