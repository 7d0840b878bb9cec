//! Adding keyframes to a journal.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use stackvm_store::chunks::file::FileAt;
use stackvm_store::{Chunks, Digest, Pack, PackSet, ReadError};

use super::manifest::KeyframeRecord;
use super::{Journal, JournalError, at_most, paths};
use crate::keyframe::Keyframe;
use crate::limits::KEYFRAMES_MAX;
use crate::timeline::{OpenError, trees_of};

/// A pack whose chunks were read back.
#[derive(Debug)]
pub struct VerifiedPack {
    path: PathBuf,
    pack: Pack,
}

impl VerifiedPack {
    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Reads a finished and synced pack back and compares its pages with their names. It needs nothing
/// of the journal, so that it can be done on the thread that wrote the pack.
///
/// # Errors
/// [`JournalError::Pack`] or [`JournalError::Open`].
pub fn verify_pack(path: &Path) -> Result<VerifiedPack, JournalError> {
    let pack = open_pack(path)?;
    let alone = PackSet::new();
    alone.add(open_pack(path)?);
    for id in pack.pages() {
        alone.get(id).map_err(OpenError::Chunks)?;
    }
    Ok(VerifiedPack { path: path.to_owned(), pack })
}

pub(super) fn open_pack(path: &Path) -> Result<Pack, JournalError> {
    let place = path.display().to_string();
    let file = FileAt::open(path).map_err(|error| OpenError::Io { place: place.clone(), error })?;
    Ok(Pack::open(&place, Arc::new(file)).map_err(OpenError::Chunks)?)
}

/// The chunks that a journal has: packs that were dropped are not among them any more, so that a
/// writer of keyframes leaves out nothing that is gone.
#[derive(Debug)]
pub(super) struct CurrentChunks(RwLock<PackSet>);

impl CurrentChunks {
    pub(super) fn new(chunks: &PackSet) -> CurrentChunks {
        CurrentChunks(RwLock::new(chunks.clone()))
    }

    fn set(&self, chunks: &PackSet) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = chunks.clone();
    }

    fn now(&self) -> PackSet {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Chunks for CurrentChunks {
    fn get(&self, id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        self.now().get(id)
    }

    fn contains(&self, id: &Digest) -> bool {
        self.now().contains(id)
    }

    fn difference_depth(&self, id: &Digest) -> u32 {
        self.now().difference_depth(id)
    }
}

/// Checks that a node and its children are there.
fn check_node(chunks: &PackSet, id: &Digest) -> Result<(), ReadError> {
    let missing = |id: &Digest| ReadError::Missing { id: *id, place: "the journal".to_owned() };
    let node = chunks.get(id)?.ok_or_else(|| missing(id))?;
    let (children, _) = node.as_chunks::<32>();
    for child in children.iter().map(|child| Digest::from_bytes(*child)) {
        if child != Digest::ZERO && !chunks.contains(&child) {
            return Err(missing(&child));
        }
    }
    Ok(())
}

impl Journal {
    /// A path in the journal's folder for writing the next keyframe's pack.
    pub fn new_pack_path(&mut self) -> PathBuf {
        let path = self.folder.join(paths::pack_name(self.next_pack));
        self.next_pack += 1;
        path
    }

    /// Adds a keyframe, whose new chunks are in the finished and synced pack at `pack` (of
    /// [`Journal::new_pack_path`]), which is read back first.
    ///
    /// # Errors
    /// See [`JournalError`].
    ///
    /// # Panics
    /// As [`Journal::add_verified_keyframe`].
    pub fn add_keyframe(&mut self, keyframe: &Keyframe, pack: &Path) -> Result<(), JournalError> {
        self.add_verified_keyframe(keyframe, verify_pack(pack)?)
    }

    /// As [`Journal::add_keyframe`], when another thread has read the pack back.
    ///
    /// # Errors
    /// See [`JournalError`].
    ///
    /// # Panics
    /// When the pack is not in the journal's folder, or the keyframe's branch never was there.
    pub fn add_verified_keyframe(
        &mut self,
        keyframe: &Keyframe,
        pack: VerifiedPack,
    ) -> Result<(), JournalError> {
        let VerifiedPack { path, pack } = pack;
        assert_eq!(path.parent(), Some(&*self.folder), "a pack of this journal");
        at_most("keyframes", self.keyframes().count() + 1, KEYFRAMES_MAX)?;
        let branch = keyframe.branch;
        let was = if branch == self.grows {
            self.grown()
        } else {
            self.branches[branch.0 as usize].clone()
        };
        assert!(
            keyframe.at <= was.end && keyframe.entries <= was.entries,
            "a keyframe at {} of a branch that goes to {}",
            keyframe.at,
            was.end
        );
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
        let name = name.filter(|name| paths::pack_number(name).is_some());
        let name = name.expect("a name of Journal::new_pack_path");
        let bytes = pack.size_bytes();
        let nodes = pack.ids()[pack.pages().len()..].to_vec();
        let roots = trees_of(keyframe);
        self.chunks.add(pack);
        // Nodes may be differences from nodes elsewhere, so they are read among all packs. What they
        // name must be there: packs may have been dropped while this one was written.
        let added = nodes
            .iter()
            .chain(roots.iter().map(|tree| &tree.root).filter(|root| **root != Digest::ZERO))
            .try_for_each(|id| check_node(&self.chunks, id))
            .map_err(|error| JournalError::Open(error.into()))
            .and_then(|()| super::files::sync_directory(&self.folder))
            .and_then(|()| {
                let record =
                    KeyframeRecord { keyframe: keyframe.clone(), packs: vec![name.clone()] };
                self.records_file.push(&record)?;
                self.records.push(record);
                self.pack_bytes.insert(name, bytes);
                Ok(())
            });
        if added.is_err() {
            // Chunks that nobody keeps must not count as known.
            self.reopen_packs()?;
        }
        added
    }

    /// Bytes of all keyframe packs.
    pub fn packs_bytes(&self) -> u64 {
        self.pack_bytes.values().sum()
    }

    /// Opens all packs anew: those there are.
    pub(super) fn reopen_packs(&mut self) -> Result<(), JournalError> {
        let chunks = match &self.manifest.base {
            Some(base) => super::base::open(&self.folder, base)?.parts().chunks.clone(),
            None => PackSet::new(),
        };
        for name in self.pack_bytes.keys() {
            chunks.add(open_pack(&self.folder.join(name))?);
        }
        self.current_chunks.set(&chunks);
        self.chunks = chunks;
        Ok(())
    }
}
