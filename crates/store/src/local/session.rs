//! What a check-in may rely on: chunks are known only once their pack is pinned.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use stackvm_machine::digest::Digest;

use super::host::Lock;
use super::{LocalStore, PackId, SESSION_LIMIT, now_unix_s};
use crate::backend::{Root, RootName, StoreError};
use crate::chunks::{Chunks, ReadError};

/// A check-in, from its first pin to the root's name. While its lock is held, its pins hold.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) store: &'a LocalStore,
    pub(super) owner: String,
    lock: Lock,
    pins: Mutex<Pins>,
}

#[derive(Debug, Default)]
struct Pins {
    held: BTreeSet<PackId>,
    gone: BTreeSet<PackId>,
    /// Why a pin could not be written; everything after it counts as unknown.
    error: Option<StoreError>,
}

impl<'a> Session<'a> {
    /// Begins one, with the root that it builds on.
    pub(super) fn begin(
        store: &'a LocalStore,
        parent: Option<&RootName>,
    ) -> Result<(Session<'a>, Option<Root>), StoreError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_nanos());
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let owner = format!("{}-{nanos:x}-{number}", std::process::id());
        let lock = store.host.lock(&store.folder.join("incoming").join(format!("{owner}.lock")))?;
        let session = Session { store, owner, lock, pins: Mutex::default() };
        let root = store.catalog().begin(&session.owner, parent, session.expires())?;
        if let (Some(name), None) = (parent, &root) {
            return Err(StoreError::NoRoot(name.clone()));
        }
        // Only now: what the parent needs cannot go any more.
        store.refresh()?;
        Ok((session, root))
    }

    /// Where its pack is written.
    pub(super) fn pack_path(&self) -> PathBuf {
        self.lock.path.with_extension("pack")
    }

    /// Why a pin could not be written, if one could not.
    pub(super) fn trouble(&self) -> Result<(), StoreError> {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        pins.error.take().map_or(Ok(()), Err)
    }

    fn expires(&self) -> u64 {
        now_unix_s() + SESSION_LIMIT.as_secs()
    }

    /// Makes sure that a pack stays; says whether it does.
    fn hold(&self, pack: PackId) -> bool {
        let mut pins = self.pins.lock().unwrap_or_else(PoisonError::into_inner);
        if pins.held.contains(&pack) {
            return true;
        }
        if pins.error.is_some() || pins.gone.contains(&pack) {
            return false;
        }
        match self.store.catalog().pin_pack(&self.owner, pack, self.expires()) {
            Ok(true) => pins.held.insert(pack),
            Ok(false) => {
                pins.gone.insert(pack);
                false
            }
            Err(error) => {
                pins.error = Some(error);
                false
            }
        }
    }
}

impl Chunks for Session<'_> {
    fn get(&self, id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        self.store.get(id)
    }

    fn contains(&self, id: &Digest) -> bool {
        let holders = self.store.packs.holders(id);
        holders.into_iter().any(|number| {
            let pack = self.store.loaded().ids[number];
            self.hold(pack)
        })
    }

    fn difference_depth(&self, id: &Digest) -> u32 {
        if self.contains(id) { self.store.packs.difference_depth(id) } else { u32::MAX }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        // What fails here is done by the next `gc`: nobody holds the lock any more.
        let _ = self.store.host.remove(&self.pack_path());
        let _ = self.store.catalog().unpin(&self.owner);
        let _ = self.store.host.remove(&self.lock.path);
    }
}
