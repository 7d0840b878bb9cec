//! Reading a `.vmcast`: nothing in it is believed.

use std::sync::Arc;

use stackvm_machine::Instant;
use stackvm_store::tree;
use stackvm_store::{Blob, Chunks, Pack, PackSet, ReadAt, ReadError, Tree};

use super::manifest::{BranchEntry, Manifest, names};
use super::zip::Directory;
use crate::limits::{BRANCHES_MAX, DATA_BYTES_MAX, MANIFEST_BYTES_MAX};
use crate::timeline::{OpenError, Parts, Piece, Timeline, TrackPart, is_blob, scan_log, trees_of};

/// Most bytes of a track that are kept in memory at once.
const TRACK_PAGE_BYTES: usize = stackvm_store::PAGE_BYTES;

/// Reads everything but the entries of the logs and the chunks.
pub(crate) fn read(place: &str, source: Arc<dyn ReadAt>) -> Result<Parts, OpenError> {
    let directory = Directory::read(place, source, &names::ALL)?;
    let manifest = read_manifest(place, &directory)?;
    let count = manifest.branches.len();
    if count > BRANCHES_MAX {
        let (what, count, max) = ("branches", count as u64, BRANCHES_MAX as u64);
        return Err(OpenError::TooMuch { place: place.to_owned(), what, count, max });
    }
    let chunks = PackSet::new();
    for name in [names::FIRST, names::LATER] {
        if let Some(pack) = open_pack(place, &directory, name)? {
            chunks.add(pack);
        } else if name == names::FIRST {
            return Err(missing(place, name));
        }
    }
    let tracks = PackSet::new();
    if let Some(pack) = open_pack(place, &directory, names::TRACK)? {
        tracks.add(pack);
    }
    let tracks: Arc<dyn Chunks> = Arc::new(tracks);
    let log = directory.entry(names::LOG).ok_or_else(|| missing(place, names::LOG))?;
    let log: Arc<dyn ReadAt> = Arc::new(directory.open(log));
    let mut logs = Vec::new();
    let mut track_parts = Vec::new();
    let mut end = 0;
    for branch in &manifest.branches {
        logs.push(read_log(place, &log, branch, &mut end)?);
        track_parts.push(read_track(place, &tracks, branch)?.into_iter().collect());
    }
    if end != log.size_bytes() {
        let problem = format!("its log has {} bytes that are no branch's", log.size_bytes() - end);
        return Err(OpenError::Damaged { place: place.to_owned(), problem });
    }
    Ok(Parts {
        place: place.to_owned(),
        header: manifest.header,
        actors: manifest.actors,
        branches: manifest.branches.into_iter().map(|entry| entry.branch).collect(),
        keyframes: manifest.keyframes,
        notes: manifest.notes,
        chunks,
        logs,
        tracks: track_parts,
    })
}

/// What tells one file from another: its size, and the hash of directory and manifest, which have
/// checksums of everything else.
#[cfg(unix)]
pub(crate) fn identity(
    place: &str,
    source: Arc<dyn ReadAt>,
) -> Result<(u64, stackvm_store::Digest), OpenError> {
    let size = source.size_bytes();
    let directory = Directory::read(place, source, &names::ALL)?;
    let mut bytes = manifest_bytes(place, &directory)?;
    bytes.extend_from_slice(&directory.raw);
    Ok((size, stackvm_store::Digest::of(&bytes)))
}

/// Names and sizes in bytes of a file's parts, in their order. `place` names it in errors.
///
/// # Errors
/// See [`OpenError`].
pub fn entries(place: &str, source: Arc<dyn ReadAt>) -> Result<Vec<(String, u64)>, OpenError> {
    let directory = Directory::read(place, source, &names::ALL)?;
    Ok(directory.entries().iter().map(|entry| (entry.name.clone(), entry.bytes)).collect())
}

fn manifest_bytes(place: &str, directory: &Directory) -> Result<Vec<u8>, OpenError> {
    let entry = directory.entry(names::MANIFEST).ok_or_else(|| missing(place, names::MANIFEST))?;
    directory.read_entry(entry, MANIFEST_BYTES_MAX)
}

fn read_manifest(place: &str, directory: &Directory) -> Result<Manifest, OpenError> {
    Manifest::parse(place, &manifest_bytes(place, directory)?)
}

fn missing(place: &str, name: &str) -> OpenError {
    OpenError::NotOne { place: place.to_owned(), problem: format!("it has no {name:?}") }
}

fn open_pack(place: &str, directory: &Directory, name: &str) -> Result<Option<Pack>, OpenError> {
    let Some(entry) = directory.entry(name) else { return Ok(None) };
    let source = Arc::new(directory.open(entry));
    Ok(Some(Pack::open(&format!("{name} in {place}"), source)?))
}

/// The blocks of a branch's log, which begins where the one before ended.
fn read_log(
    place: &str,
    log: &Arc<dyn ReadAt>,
    branch: &BranchEntry,
    end: &mut u64,
) -> Result<Vec<Piece>, OpenError> {
    let place: Arc<str> = format!("{} in {place}", names::LOG).into();
    let behind = branch.log_start.checked_add(branch.log_bytes);
    let behind = behind.filter(|behind| *behind <= log.size_bytes() && branch.log_start == *end);
    let behind = behind.ok_or_else(|| OpenError::Damaged {
        place: place.to_string(),
        problem: format!("the log of branch {} is not where it should be", branch.branch.name),
    })?;
    *end = behind;
    scan_log(log, &place, branch.log_start, behind, 0)
}

fn read_track(
    place: &str,
    chunks: &Arc<dyn Chunks>,
    branch: &BranchEntry,
) -> Result<Option<TrackPart>, OpenError> {
    let Some(blob) = branch.track else { return Ok(None) };
    let place = format!("{} in {place}", names::TRACK);
    if !is_blob(&blob, u64::MAX) {
        let problem = format!("the track of branch {} has another size", branch.branch.name);
        return Err(OpenError::Damaged { place, problem });
    }
    let pages = Pages::new(chunks.clone(), &blob)?;
    Ok(Some(TrackPart { source: Arc::new(pages), place: place.into(), start: 0, end: blob.bytes }))
}

/// A blob that is read where it is needed.
#[derive(Debug)]
struct Pages {
    disk: tree::TreeDisk,
    bytes: u64,
}

impl Pages {
    fn new(chunks: Arc<dyn Chunks>, blob: &Blob) -> Result<Pages, OpenError> {
        // A disk has whole sectors; what is behind the end is zeroes.
        let size = blob.bytes.next_multiple_of(TRACK_PAGE_BYTES as u64);
        Ok(Pages { disk: tree::TreeDisk::new(chunks, blob.tree, size), bytes: blob.bytes })
    }
}

impl ReadAt for Pages {
    fn size_bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> std::io::Result<()> {
        use stackvm_machine::devices::disk::BlockSource;
        debug_assert!(buf.len() <= 2 * DATA_BYTES_MAX, "tracks are read block by block");
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.bytes) {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.disk.read_at(offset, buf)
    }
}

impl Timeline {
    /// Checks that the chunks of the first keyframes, boot files and disks are all there. Those of a
    /// journal were verified when they came into it.
    pub(crate) fn check_presence(&self) -> Result<(), OpenError> {
        let chunks = &self.parts().chunks;
        for tree in self.vital_trees() {
            tree::visit_nodes(chunks, &tree, &mut |id| {
                if chunks.contains(id) {
                    return Ok(tree::Descend::Yes);
                }
                Err(ReadError::Missing { id: *id, place: self.place().to_owned() })
            })?;
        }
        Ok(())
    }

    /// Trees without which nothing can be played.
    pub(crate) fn vital_trees(&self) -> Vec<Tree> {
        let mut trees: Vec<Tree> = self.first_keyframes().flat_map(trees_of).collect();
        trees.extend(self.header().stored());
        trees
    }

    /// Reads every chunk of the packs and compares it with its name.
    ///
    /// # Errors
    /// [`OpenError::Chunks`] names the first one that is missing or damaged.
    pub fn verify_chunks(&self) -> Result<(), OpenError> {
        let chunks = &self.parts().chunks;
        for pack in chunks.packs() {
            for id in pack.ids() {
                let missing = || ReadError::Missing { id: *id, place: pack.place().to_owned() };
                chunks.get(id)?.ok_or_else(missing)?;
            }
        }
        self.check_presence()
    }

    /// Instant of the last thing that was recorded on any branch.
    pub fn end(&self) -> Instant {
        self.branches().iter().map(|branch| branch.end).max().unwrap_or(Instant::ZERO)
    }
}
