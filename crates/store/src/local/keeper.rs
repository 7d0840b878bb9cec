//! The keeper: whoever holds the store's lock, and only they, may move packs. Any command that has
//! something to move becomes the keeper for as long as that takes.

use std::path::Path;

use super::host::Lock;
use super::session::Session;
use super::{LocalStore, PackId, PackRow, open_pack_file};
use crate::backend::{Root, StoreError};
use crate::chunks::ReadError;
use crate::pack::{Pack, PackSet};

/// Holds the store's lock.
#[derive(Debug)]
pub(super) struct Keeper<'a> {
    pub(super) store: &'a LocalStore,
    _lock: Lock,
}

impl<'a> Keeper<'a> {
    /// Waits for whoever is the keeper now.
    pub(super) fn elect(store: &'a LocalStore) -> Result<Keeper<'a>, StoreError> {
        let lock = store.host.lock(&store.folder.join("keeper.lock"))?;
        Ok(Keeper { store, _lock: lock })
    }

    /// Moves a pack that was verified to its place, and names the tree that it came for.
    pub(super) fn adopt(
        &self,
        session: &Session<'_>,
        pack: Option<PackRow>,
        root: &Root,
    ) -> Result<(), StoreError> {
        if let Some(pack) = &pack {
            // One in quarantine is the same file.
            let place = self.store.path_in("packs", pack.id);
            self.store.host.rename(&session.pack_path(), &place)?;
        }
        let named = self.store.catalog().adopt(&session.owner, pack.as_ref(), root)?;
        if !named {
            return Err(StoreError::Taken(root.name.clone()));
        }
        self.store.load(pack.iter());
        Ok(())
    }
}

/// Reads a pack that was just written back and hashes every chunk.
pub(super) fn verified(store: &LocalStore, path: &Path) -> Result<PackRow, StoreError> {
    let pack = open_pack_file(&store.host, path)?;
    let row = PackRow {
        id: id_of(&pack),
        bytes: pack.size_bytes(),
        chunks: pack.ids().len() as u64,
        quarantined: None,
    };
    let set = PackSet::above(&store.packs);
    set.add(pack);
    match set.check_all(0).into_iter().next() {
        None => Ok(row),
        Some((_, error)) => Err(error.into()),
    }
}

/// The name of a pack.
pub(super) fn id_of(pack: &Pack) -> PackId {
    PackId::of(&pack.index_hash())
}

/// That a pack is not the one its file name says.
pub(super) fn check_name(pack: &Pack, id: PackId) -> Result<(), ReadError> {
    let found = id_of(pack);
    if found == id {
        return Ok(());
    }
    Err(ReadError::Damaged {
        what: "the pack".to_owned(),
        place: pack.place().to_owned(),
        problem: format!("it is pack {found} by its content"),
    })
}
