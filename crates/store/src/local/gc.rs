//! Removing packs that nothing needs.

use std::collections::BTreeSet;
use std::time::Duration;

use stackvm_machine::digest::Digest;

use super::catalog::{PackRow, PinRow, Pinned, Snapshot, Sweep};
use super::keeper::{Keeper, id_of};
use super::{LocalStore, PackId, now_unix_s, open_pack_file};
use crate::backend::StoreError;
use crate::chunks::ReadError;
use crate::tree::{self, Descend, Tree};

/// How long a pack stays in quarantine, unless told otherwise.
pub const GRACE: Duration = Duration::from_secs(3600);

/// What a `gc` did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GcReport {
    /// Packs that are needed.
    pub kept_packs: u64,
    /// Packs that went to quarantine now.
    pub quarantined_packs: u64,
    /// What they take.
    pub quarantined_bytes: u64,
    /// Packs taken back out of quarantine, because something needs them after all.
    pub rescued_packs: u64,
    /// Packs removed for good.
    pub purged_packs: u64,
    /// What they took.
    pub purged_bytes: u64,
}

impl LocalStore {
    /// Moves packs that no root and no pin needs to quarantine, and removes what has been there for
    /// longer than `grace`. Others may go on meanwhile.
    ///
    /// # Errors
    /// See [`StoreError`]; when in doubt, nothing was removed.
    pub fn gc(&self, grace: Duration) -> Result<GcReport, StoreError> {
        // What this one has open may be gone from the disk.
        let store = self.again()?;
        store.clear_sessions()?;
        store.take_strays()?;
        let snapshot = store.catalog().snapshot()?;
        store.load(snapshot.packs.iter());
        let mut mark = Mark::new(&store);
        mark.all(&snapshot)?;
        let keeper = Keeper::elect(&store)?;
        let now = now_unix_s();
        let mut last = None;
        let sweep = store.catalog().sweep(now, &mut |snapshot| {
            mark.all(snapshot)?;
            let sweep = mark.decide(snapshot, now, grace)?;
            last = Some(snapshot.clone());
            Ok(sweep)
        })?;
        let last = last.expect("the sweep was decided");
        keeper.move_packs(&last, &sweep)?;
        Ok(report(&last, &sweep))
    }

    /// Ends the sessions of processes that are no more.
    fn clear_sessions(&self) -> Result<(), StoreError> {
        let folder = self.folder.join("incoming");
        for name in self.host.list(&folder)? {
            let Some(owner) = name.strip_suffix(".lock") else { continue };
            let path = folder.join(&name);
            // Who made it and has not locked it yet will notice that it is gone.
            let Some(lock) = self.host.try_lock(&path)? else { continue };
            self.host.remove(&path.with_extension("pack"))?;
            self.catalog().unpin(owner)?;
            self.host.remove(&lock.path)?;
        }
        Ok(())
    }

    /// Packs that came to their place without getting into the index: their check-in died.
    fn take_strays(&self) -> Result<(), StoreError> {
        let _keeper = Keeper::elect(self)?;
        let known = self.catalog().snapshot()?;
        let files = self.host.list(&self.folder.join("packs"))?;
        let packs: Vec<&str> = files.iter().filter_map(|name| name.strip_suffix(".pack")).collect();
        if known.packs.is_empty() && known.roots.is_empty() && packs.len() > 1 {
            // One may be the stray of a first check-in; more are a store whose index is lost.
            return Err(StoreError::Index {
                path: self.folder.join("index.sqlite"),
                problem: format!("it is empty, and there are {} packs", packs.len()),
            });
        }
        for name in packs {
            let Some(id) = PackId::parse(name) else { continue };
            if known.packs.iter().any(|pack| pack.id == id) {
                continue;
            }
            let path = self.path_in("packs", id);
            let row = match open_pack_file(&self.host, &path) {
                Ok(pack) if id_of(&pack) == id => PackRow {
                    id,
                    bytes: pack.size_bytes(),
                    chunks: pack.ids().len() as u64,
                    quarantined: Some(now_unix_s()),
                },
                // Not one of ours: it stays where it is.
                _ => continue,
            };
            self.catalog().add_stray(&row)?;
            self.host.rename(&path, &self.path_in("quarantine", id))?;
        }
        Ok(())
    }

    /// Whether the process of a session is still there.
    fn is_alive(&self, owner: &str) -> bool {
        let path = self.folder.join("incoming").join(format!("{owner}.lock"));
        // Without a file nobody holds it; where it is unknown, somebody may.
        path.exists() && !matches!(self.host.try_lock(&path), Ok(Some(_)))
    }
}

impl Keeper<'_> {
    /// Makes the folders say what the index says.
    fn move_packs(&self, snapshot: &Snapshot, sweep: &Sweep) -> Result<(), StoreError> {
        let place = |folder: &str, id| self.store.path_in(folder, id);
        for id in &sweep.forget {
            self.store.host.remove(&place("quarantine", *id))?;
            self.store.host.remove(&place("packs", *id))?;
        }
        let gone = |id: &PackId| sweep.forget.contains(id);
        let was = snapshot.packs.iter().filter(|pack| pack.quarantined.is_some());
        let waiting = was.map(|pack| pack.id).filter(|id| !sweep.rescue.contains(id));
        for id in sweep.quarantine.iter().copied().chain(waiting).filter(|id| !gone(id)) {
            if place("packs", id).exists() {
                self.store.host.rename(&place("packs", id), &place("quarantine", id))?;
            }
        }
        let live = snapshot.packs.iter().filter(|pack| pack.quarantined.is_none());
        let live = live.map(|pack| pack.id).filter(|id| !sweep.quarantine.contains(id));
        for id in sweep.rescue.iter().copied().chain(live) {
            // It was taken back, or the move after an earlier decision was cut off.
            if place("quarantine", id).exists() && !place("packs", id).exists() {
                self.store.host.rename(&place("quarantine", id), &place("packs", id))?;
            }
        }
        self.tidy_quarantine(snapshot, sweep)
    }

    /// Removes files that the index does not have in quarantine: their removal was cut off, or the
    /// same pack was checked in again.
    fn tidy_quarantine(&self, snapshot: &Snapshot, sweep: &Sweep) -> Result<(), StoreError> {
        let was = snapshot.packs.iter().filter(|pack| pack.quarantined.is_some());
        let kept: BTreeSet<String> = was
            .map(|pack| pack.id)
            .filter(|id| !sweep.rescue.contains(id) && !sweep.forget.contains(id))
            .chain(sweep.quarantine.iter().copied())
            .map(PackId::file_name)
            .collect();
        let folder = self.store.folder.join("quarantine");
        for name in self.store.host.list(&folder)? {
            if !kept.contains(&name) {
                self.store.host.remove(&folder.join(name))?;
            }
        }
        Ok(())
    }
}

/// What is reached so far.
struct Mark<'a> {
    store: &'a LocalStore,
    /// Packs that were looked at: others are not touched.
    seen_packs: BTreeSet<PackId>,
    /// Packs in use, as of the last look.
    live: BTreeSet<PackId>,
    chunks: BTreeSet<Digest>,
    needed: BTreeSet<PackId>,
    /// Packs whose nodes' bases were looked up.
    closed: BTreeSet<PackId>,
}

impl<'a> Mark<'a> {
    fn new(store: &'a LocalStore) -> Mark<'a> {
        Mark {
            store,
            seen_packs: store.loaded().ids.iter().copied().collect(),
            live: BTreeSet::new(),
            chunks: BTreeSet::new(),
            needed: BTreeSet::new(),
            closed: BTreeSet::new(),
        }
    }

    /// Marks what all roots and pins need.
    fn all(&mut self, snapshot: &Snapshot) -> Result<(), StoreError> {
        self.store.load(snapshot.packs.iter());
        let live = snapshot.packs.iter().filter(|pack| pack.quarantined.is_none());
        self.live = live.map(|pack| pack.id).collect();
        self.all_open()?;
        for root in &snapshot.roots {
            self.tree(&format!("root {}", root.name), &root.tree)?;
        }
        let now = now_unix_s();
        let holds = |pin: &&PinRow| pin.expires_unix_s > now || self.store.is_alive(&pin.owner);
        let pins: Vec<PinRow> = snapshot.pins.iter().filter(holds).cloned().collect();
        for pin in pins {
            match pin.pinned {
                Pinned::Pack(id) => {
                    self.needed.insert(id);
                }
                Pinned::Tree(tree) => self.tree(&format!("pin of {}", pin.owner), &tree)?,
            }
        }
        self.close()
    }

    /// A pack that cannot be opened may have what is needed.
    fn all_open(&self) -> Result<(), StoreError> {
        let loaded = self.store.loaded();
        let broken = loaded.broken.iter().find(|(id, _)| self.live.contains(id));
        let Some((id, problem)) = broken else { return Ok(()) };
        let place = self.store.path_in("packs", *id).display().to_string();
        let what = "the pack".to_owned();
        let error = ReadError::Damaged { what, place, problem: problem.clone() };
        Err(StoreError::Unreadable { root: format!("pack {id}"), error })
    }

    fn tree(&mut self, root: &str, tree: &Tree) -> Result<(), StoreError> {
        let store = self.store;
        tree::visit_nodes(store, tree, &mut |id| {
            if !self.chunks.insert(*id) {
                return Ok(Descend::No);
            }
            self.need(id)?;
            Ok(Descend::Yes)
        })
        .map_err(|error| StoreError::Unreadable { root: root.to_owned(), error })
    }

    /// Needs every pack in use that has a chunk; those in quarantine only if there is no other.
    fn need(&mut self, id: &Digest) -> Result<(), ReadError> {
        let loaded = self.store.loaded();
        let holders = self.store.packs.holders(id);
        let holders: Vec<PackId> = holders.into_iter().map(|number| loaded.ids[number]).collect();
        let live = holders.iter().filter(|id| self.live.contains(id));
        let mut found = false;
        for pack in live {
            self.needed.insert(*pack);
            found = true;
        }
        if !found {
            self.needed.extend(&holders);
        }
        if holders.is_empty() {
            return Err(ReadError::Missing { id: *id, place: "the store".to_owned() });
        }
        Ok(())
    }

    /// What nodes of needed packs are differences from is needed as well, wherever it is.
    fn close(&mut self) -> Result<(), StoreError> {
        while let Some(id) = self.needed.difference(&self.closed).next().copied() {
            self.closed.insert(id);
            let number = self.store.loaded().numbers.get(&id).copied();
            let Some(number) = number else { continue };
            let unreadable = |error| StoreError::Unreadable { root: format!("pack {id}"), error };
            for base in self.store.packs.bases_of(number).map_err(unreadable)? {
                self.need(&base).map_err(unreadable)?;
            }
        }
        Ok(())
    }

    fn decide(&self, snapshot: &Snapshot, now: u64, grace: Duration) -> Result<Sweep, StoreError> {
        let mut sweep = Sweep::default();
        for pack in &snapshot.packs {
            let needed = self.needed.contains(&pack.id);
            match pack.quarantined {
                None if !needed && self.seen_packs.contains(&pack.id) => {
                    sweep.quarantine.push(pack.id);
                }
                None => {}
                Some(_) if needed => sweep.rescue.push(pack.id),
                Some(since) if now.saturating_sub(since) >= grace.as_secs() => {
                    sweep.forget.push(pack.id);
                }
                Some(_) => {}
            }
        }
        Ok(sweep)
    }
}

fn report(snapshot: &Snapshot, sweep: &Sweep) -> GcReport {
    let bytes = |ids: &[PackId]| {
        let of = snapshot.packs.iter().filter(|pack| ids.contains(&pack.id));
        of.map(|pack| pack.bytes).sum()
    };
    let live = snapshot.packs.iter().filter(|pack| pack.quarantined.is_none()).count();
    GcReport {
        kept_packs: (live - sweep.quarantine.len() + sweep.rescue.len()) as u64,
        quarantined_packs: sweep.quarantine.len() as u64,
        quarantined_bytes: bytes(&sweep.quarantine),
        rescued_packs: sweep.rescue.len() as u64,
        purged_packs: sweep.forget.len() as u64,
        purged_bytes: bytes(&sweep.forget),
    }
}
