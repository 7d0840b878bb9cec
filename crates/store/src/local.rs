//! The store on this computer's disk. This module owns its folder and who may change what in it;
//! what a disk or a RAM means to a machine is not known here.
//!
//! # Folder
//!
//! | what | |
//! |---|---|
//! | `packs/ID.pack` | sealed packs; ID is the start of the hash of the pack's index |
//! | `incoming/` | packs that are being written, each with a lock file that its writer holds |
//! | `quarantine/ID.pack` | packs that nothing needed; purged after a while, or taken back |
//! | `index.sqlite` | packs, roots and pins; see [`catalog`] for why not chunks |
//! | `keeper.lock` | who holds it may move packs: the *keeper* |
//!
//! # Why nothing is lost
//!
//! * A root is named only after its pack was fsynced, read back and hashed again, and moved to its
//!   place. A crash before that leaves a stray file.
//! * Chunks are found through the indices of the packs that the store has open. Before a chunk that
//!   is there already is relied on, its pack is pinned, in one transaction with the check that the
//!   pack is still in use. A tree that is built on is pinned in the transaction that reads its name.
//! * `gc` marks first, which takes as long as it takes, and then reads roots and pins again in the
//!   transaction that decides. A pack that came after it looked is not touched, one that is pinned
//!   is not touched, and what the others need to decode their nodes is not touched either.
//! * What `gc` takes away goes to quarantine. There it is still found by the next `gc`, which takes
//!   it back should a root need it, and removes it otherwise after a grace period.
//! * A folder that cannot be listed, a pack that cannot be opened or a root that cannot be read whole
//!   ends `gc` with an error before it has removed anything. An index without packs beside a folder
//!   with packs is no store.
//!
//! All calls block. Asynchronous code makes them on a thread for blocking work.

mod catalog;
mod check_in;
mod check_out;
mod gc;
mod host;
mod keeper;
mod scrub;
mod session;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use stackvm_machine::digest::Digest;

use crate::backend::{Root, RootName, Store, StoreError};
use crate::chunks::file::FileAt;
use crate::chunks::{Chunks, ReadError};
use crate::pack::{Pack, PackSet};
use crate::tree::{self, Tree};
use catalog::{Catalog, PackRow, Snapshot};
use host::Host;

pub use check_in::{CheckIn, CheckedIn};
pub use gc::{GRACE, GcReport};
pub use scrub::{Damage, ScrubReport};

/// How long the pins of a check-in hold when its process cannot be asked any more.
const SESSION_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// How far something is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Progress {
    /// Bytes that are done.
    pub done_bytes: u64,
    /// Of so many.
    pub total_bytes: u64,
}

/// Who is told how far something is, and may call it off.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> Continue;

/// Whether something goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Continue {
    /// It does.
    Yes,
    /// It is called off; nothing half-done stays.
    No,
}

/// A store in a folder. Any number of processes and threads may use one at the same time.
#[derive(Debug)]
pub struct LocalStore {
    folder: PathBuf,
    host: Host,
    catalog: Mutex<Catalog>,
    packs: PackSet,
    loaded: Mutex<Loaded>,
}

/// Which packs are open.
#[derive(Debug, Default)]
struct Loaded {
    /// In the order of `LocalStore::packs`.
    ids: Vec<PackId>,
    numbers: BTreeMap<PackId, usize>,
    /// Those that are in the index and cannot be opened.
    broken: BTreeMap<PackId, String>,
}

/// A pack's name: the first half of the hash of its index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct PackId(u128);

impl PackId {
    fn of(hash: &Digest) -> PackId {
        let (half, _) = hash.as_bytes().split_first_chunk().expect("32 bytes");
        PackId(u128::from_be_bytes(*half))
    }

    fn parse(text: &str) -> Option<PackId> {
        let id = PackId(u128::from_str_radix(text, 16).ok()?);
        (id.to_string() == text).then_some(id)
    }

    fn file_name(self) -> String {
        format!("{self}.pack")
    }
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a store holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Named trees.
    pub roots: u64,
    /// What they add up to, were they whole files.
    pub content_bytes: u64,
    /// Packs in use.
    pub packs: u64,
    /// What those take on disk.
    pub pack_bytes: u64,
    /// Chunks in them.
    pub chunks: u64,
    /// Packs in quarantine.
    pub quarantined_packs: u64,
    /// What those take on disk.
    pub quarantined_bytes: u64,
}

/// A run of pages that differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Change {
    /// Where it starts in the content.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
}

impl LocalStore {
    /// Opens the store in `folder`, or makes an empty one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(folder: &Path) -> Result<LocalStore, StoreError> {
        LocalStore::open_on(folder, Host::default())
    }

    /// Opens a store on a host that tests let die.
    fn open_on(folder: &Path, host: Host) -> Result<LocalStore, StoreError> {
        for name in ["packs", "incoming", "quarantine"] {
            host.create_dir(&folder.join(name))?;
        }
        let index = folder.join("index.sqlite");
        let is_new = !index.exists();
        if is_new && host.list(&folder.join("packs"))?.iter().any(|name| name.ends_with(".pack")) {
            let problem = "it is gone, and there are packs; bring it back from a backup";
            return Err(StoreError::Index { path: index, problem: problem.to_owned() });
        }
        // Two processes that make a store at the same time wait for one another.
        let making = is_new.then(|| host.lock(&folder.join("keeper.lock"))).transpose()?;
        let catalog = Catalog::open(&index, &host)?;
        drop(making);
        let store = LocalStore {
            folder: folder.to_owned(),
            host,
            catalog: Mutex::new(catalog),
            packs: PackSet::new(),
            loaded: Mutex::default(),
        };
        store.refresh()?;
        Ok(store)
    }

    /// The same store as it is on disk now.
    fn again(&self) -> Result<LocalStore, StoreError> {
        LocalStore::open_on(&self.folder, self.host.clone())
    }

    /// Gives a tree a second name: nothing is copied.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn clone_root(&self, name: &RootName, new: &RootName) -> Result<(), StoreError> {
        match self.catalog().clone_root(name, new, now_unix_s())? {
            Some(true) => Ok(()),
            Some(false) => Err(StoreError::Taken(new.clone())),
            None => Err(StoreError::NoRoot(name.clone())),
        }
    }

    /// Takes a name away. What only it needed is there until `gc`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn remove(&self, name: &RootName) -> Result<(), StoreError> {
        let removed = self.catalog().remove_root(name)?;
        if removed { Ok(()) } else { Err(StoreError::NoRoot(name.clone())) }
    }

    /// Keeps a tree until `until`, whatever becomes of its names. `owner` is for [`Self::unpin`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn pin(&self, owner: &str, tree: Tree, until: SystemTime) -> Result<(), StoreError> {
        self.catalog().pin_tree(owner, tree, unix_s(until))
    }

    /// Ends all pins of an owner.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn unpin(&self, owner: &str) -> Result<(), StoreError> {
        self.catalog().unpin(owner)
    }

    /// Where two contents of the same size differ, ascending.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn diff(&self, a: &RootName, b: &RootName) -> Result<Vec<Change>, StoreError> {
        let (old, new) = (self.root(a)?, self.root(b)?);
        if old.size_bytes != new.size_bytes {
            let (a, b) = (a.clone(), b.clone());
            let (a_bytes, b_bytes) = (old.size_bytes, new.size_bytes);
            return Err(StoreError::Sizes { a, a_bytes, b, b_bytes });
        }
        let mut changes: Vec<Change> = Vec::new();
        tree::visit_changes(self, &old.tree, &new.tree, &mut |page, _, _| {
            let offset = page * crate::PAGE_BYTES as u64;
            let bytes = (old.size_bytes - offset).min(crate::PAGE_BYTES as u64);
            match changes.last_mut() {
                Some(last) if last.offset + last.bytes == offset => last.bytes += bytes,
                _ => changes.push(Change { offset, bytes }),
            }
            Ok(())
        })?;
        Ok(changes)
    }

    /// What the store holds.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let Snapshot { packs, roots, .. } = self.catalog().snapshot()?;
        let mut stats = Stats {
            roots: roots.len() as u64,
            content_bytes: roots.iter().map(|root| root.size_bytes).sum(),
            ..Stats::default()
        };
        for pack in packs {
            if pack.quarantined.is_some() {
                stats.quarantined_packs += 1;
                stats.quarantined_bytes += pack.bytes;
            } else {
                stats.packs += 1;
                stats.pack_bytes += pack.bytes;
                stats.chunks += pack.chunks;
            }
        }
        Ok(stats)
    }

    /// The chunks of all packs that are open, for readers that outlive the store.
    pub fn chunks(&self) -> PackSet {
        self.packs.clone()
    }

    /// Opens the packs that others have added since.
    fn refresh(&self) -> Result<Snapshot, StoreError> {
        let snapshot = self.catalog().snapshot()?;
        self.load(snapshot.packs.iter().filter(|pack| pack.quarantined.is_none()));
        Ok(snapshot)
    }

    /// Opens packs; one that cannot be is noted, and reading its chunks will say what is missing.
    fn load<'a>(&self, rows: impl Iterator<Item = &'a PackRow>) {
        let mut loaded = self.loaded();
        for row in rows {
            if loaded.numbers.contains_key(&row.id) {
                continue;
            }
            match self.open_pack(row.id) {
                Ok(pack) => {
                    let number = loaded.ids.len();
                    self.packs.add(pack);
                    loaded.ids.push(row.id);
                    loaded.numbers.insert(row.id, number);
                    loaded.broken.remove(&row.id);
                }
                Err(error) => {
                    loaded.broken.insert(row.id, error.to_string());
                }
            }
        }
    }

    /// A pack, from wherever it is.
    fn open_pack(&self, id: PackId) -> Result<Pack, StoreError> {
        let mut path = self.path_in("packs", id);
        let quarantined = self.path_in("quarantine", id);
        if !path.exists() && quarantined.exists() {
            path = quarantined;
        }
        Ok(open_pack_file(&self.host, &path)?)
    }

    fn path_in(&self, folder: &str, id: PackId) -> PathBuf {
        self.folder.join(folder).join(id.file_name())
    }

    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn loaded(&self) -> MutexGuard<'_, Loaded> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for LocalStore {
    fn roots(&self) -> Result<Vec<Root>, StoreError> {
        Ok(self.refresh()?.roots)
    }

    fn root(&self, name: &RootName) -> Result<Root, StoreError> {
        // Its root may be in a pack that is open, and what is below in one that came since.
        let found = self.refresh()?.roots.into_iter().find(|root| root.name == *name);
        found.ok_or_else(|| StoreError::NoRoot(name.clone()))
    }
}

impl Chunks for LocalStore {
    fn get(&self, id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        match self.packs.get(id)? {
            Some(bytes) => Ok(Some(bytes)),
            // A pack that cannot be opened may well have had it.
            None => match self.loaded().broken.iter().next() {
                None => Ok(None),
                Some((pack, problem)) => Err(ReadError::Missing {
                    id: *id,
                    place: format!("the store, where pack {pack} cannot be opened ({problem})"),
                }),
            },
        }
    }

    fn contains(&self, id: &Digest) -> bool {
        self.packs.contains(id)
    }

    fn difference_depth(&self, id: &Digest) -> u32 {
        self.packs.difference_depth(id)
    }
}

fn open_pack_file(host: &Host, path: &Path) -> Result<Pack, ReadError> {
    let place = path.display().to_string();
    let io = |error| ReadError::Io { place: place.clone(), error };
    host.step().map_err(io)?;
    let file = FileAt::open(path).map_err(io)?;
    Pack::open(&place, Arc::new(file))
}

fn now_unix_s() -> u64 {
    unix_s(SystemTime::now())
}

fn unix_s(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
