//! Dropping keyframes, and what only they needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stackvm_store::tree::{self, Descend};
use stackvm_store::{Chunks, Digest, PackError, PackSet, PackWriter, ReadError};

use super::files::{self, failed};
use super::manifest::KeyframeRecord;
use super::{Journal, JournalError, keyframes, paths, records};
use crate::branch::Origin;
use crate::keyframe::Keyframe;
use crate::timeline::{OpenError, trees_of};

/// A pack with less than this of its chunks needed, in percent, is written anew.
const SPARSE_PERCENT: usize = 50;

/// Chunks of sparse packs that are needed.
#[derive(Default)]
struct Sparse {
    pages: Vec<Digest>,
    nodes: Vec<Digest>,
}

impl Journal {
    /// Keeps only the keyframes for which `keep` says so, the first ones, and the one that was added
    /// last, because the next one is written as its difference. Packs without a live chunk are
    /// removed, sparse ones rewritten. Takes as long as writing what is rewritten.
    ///
    /// # Errors
    /// See [`JournalError`].
    pub fn thin(&mut self, keep: &dyn Fn(&Keyframe) -> bool) -> Result<(), JournalError> {
        let is_first = |keyframe: &Keyframe| {
            let branch = &self.branches[keyframe.branch.0 as usize];
            keyframe.entries == branch.folded.entries
                && !matches!(branch.origin, Origin::Fork(_))
                && !self.keyframes().any(|k| k.branch == keyframe.branch && k.at < keyframe.at)
        };
        let last = self.records.last().map(|record| record.keyframe.clone());
        let kept = |record: &&KeyframeRecord| {
            let keyframe = &record.keyframe;
            is_first(keyframe) || Some(keyframe) == last.as_ref() || keep(keyframe)
        };
        let kept: Vec<KeyframeRecord> = self.records.iter().filter(kept).cloned().collect();
        if kept.len() == self.records.len() {
            return Ok(());
        }
        let gone = self.keep_only(kept)?;
        gone.iter().try_for_each(|name| files::remove(&self.folder.join(name)))
    }

    /// Keeps these keyframes and the packs they need; returns the names of those that nothing needs
    /// any more and that may be removed.
    pub(super) fn keep_only(
        &mut self,
        mut kept: Vec<KeyframeRecord>,
    ) -> Result<Vec<String>, JournalError> {
        let live = self.live_chunks(&kept).map_err(OpenError::Chunks)?;
        let mut needed: Vec<String> = Vec::new();
        let mut sparse = Sparse::default();
        for pack in self.own_packs() {
            let (pages, nodes) = pack.ids().split_at(pack.pages().len());
            let is_live = |id: &&Digest| live.contains(id);
            let count = pack.ids().iter().filter(is_live).count();
            if count * 100 >= pack.ids().len().max(1) * SPARSE_PERCENT {
                needed.push(file_name(pack.place()));
            } else {
                sparse.pages.extend(pages.iter().filter(is_live));
                sparse.nodes.extend(nodes.iter().filter(is_live));
            }
        }
        if !sparse.pages.is_empty() || !sparse.nodes.is_empty() {
            needed.push(self.write_anew(&sparse)?);
        }
        // Whose packs are whose is lost when they are mixed: the first one that is kept has all.
        kept.iter_mut().for_each(|record| record.packs.clear());
        if let Some(first) = kept.first_mut() {
            first.packs.clone_from(&needed);
        }
        self.records_file = records::replace(&paths::keyframes(&self.folder), &kept)?;
        self.records = kept;
        let mut sizes = BTreeMap::new();
        for name in self.manifest.packs.iter().chain(&needed) {
            let path = self.folder.join(name);
            sizes.insert(name.clone(), std::fs::metadata(&path).map_err(failed(&path))?.len());
        }
        let former = std::mem::replace(&mut self.pack_bytes, sizes);
        self.reopen_packs()?;
        Ok(former.into_keys().filter(|name| !self.pack_bytes.contains_key(name)).collect())
    }

    /// Packs that were written for keyframes: neither the first one's nor the base's.
    fn own_packs(&self) -> Vec<std::sync::Arc<stackvm_store::Pack>> {
        let mut packs = self.chunks.packs();
        packs.retain(|pack| {
            let path = Path::new(pack.place());
            let name = file_name(pack.place());
            path.parent() == Some(&*self.folder)
                && self.pack_bytes.contains_key(&name)
                && !self.manifest.packs.contains(&name)
        });
        packs
    }

    /// Chunks that keyframes need, as far as they are in packs of their own. Those of the first
    /// keyframe and of the base have whole trees, so what is below their nodes is there too.
    fn live_chunks(&self, kept: &[KeyframeRecord]) -> Result<BTreeSet<Digest>, ReadError> {
        let own: BTreeSet<_> =
            self.own_packs().iter().map(|pack| pack.place().to_owned()).collect();
        let packs = self.chunks.packs();
        let fixed =
            |id: &Digest| self.chunks.holders(id).iter().any(|n| !own.contains(packs[*n].place()));
        let mut live = BTreeSet::new();
        for record in kept {
            for tree in trees_of(&record.keyframe) {
                tree::visit_nodes(&self.chunks, &tree, &mut |id| {
                    if fixed(id) || !live.insert(*id) {
                        return Ok(Descend::No);
                    }
                    Ok(Descend::Yes)
                })?;
            }
        }
        // A node that is kept as a difference needs the one that it differs from.
        let mut queue: Vec<Digest> = live.iter().copied().collect();
        while let Some(node) = queue.pop() {
            for base in self.chunks.bases(&node)? {
                if !fixed(&base) && live.insert(base) {
                    queue.push(base);
                }
            }
        }
        Ok(live)
    }

    /// Writes chunks into a pack of their own, which is verified, and says its name.
    fn write_anew(&mut self, chunks: &Sparse) -> Result<String, JournalError> {
        let path = self.new_pack_path();
        let written = write_pack(&path, &self.chunks, chunks);
        let verified = written.and_then(|()| keyframes::verify_pack(&path));
        if let Err(error) = verified {
            let _ = files::remove(&path);
            return Err(error);
        }
        files::sync_directory(&self.folder)?;
        Ok(file_name(&path.display().to_string()))
    }
}

fn write_pack(path: &Path, chunks: &PackSet, sparse: &Sparse) -> Result<(), JournalError> {
    let file = std::fs::File::create(path).map_err(failed(path))?;
    let mut pack = PackWriter::new(std::io::BufWriter::new(file));
    let failed_pack = |error: PackError| match error {
        PackError::Io(error) => failed(path)(error),
        PackError::Read(error) => JournalError::Open(error.into()),
    };
    let read = |id: &Digest| {
        let missing = || ReadError::Missing { id: *id, place: "the journal".to_owned() };
        let bytes = chunks.get(id).and_then(|bytes| bytes.ok_or_else(missing));
        bytes.map_err(OpenError::Chunks)
    };
    for id in &sparse.pages {
        pack.put(id, &read(id)?).map_err(failed_pack)?;
    }
    for id in &sparse.nodes {
        let bytes = read(id)?;
        let (digests, _) = bytes.as_chunks::<32>();
        let children = std::array::from_fn(|n| Digest::from_bytes(digests[n]));
        pack.put_node(id, &children, None).map_err(failed_pack)?;
    }
    let sink = pack.finish().map_err(failed_pack)?;
    let file = sink.into_inner().map_err(|error| failed(path)(error.into_error()))?;
    file.sync_all().map_err(failed(path))
}

fn file_name(path: &str) -> String {
    let name = Path::new(path).file_name().expect("a pack has a name");
    name.to_str().expect("names of packs are plain").to_owned()
}
