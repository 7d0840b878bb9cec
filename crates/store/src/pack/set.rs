//! Many packs that are read as one. Owns the look-up of digests and a small cache of extents.
//!
//! Digests are looked up in *runs*: sorted tables over the chunks of neighbouring packs, merged so
//! that each is at least twice as long as the next one. A hundred packs are a handful of searches.

#[cfg(unix)]
mod check;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use stackvm_machine::digest::Digest;

use super::node::{self, Children};
use super::read::{Pack, Place};
use super::{Class, NODE_STEPS_MAX, prefix};
use crate::chunks::{Chunks, ReadError};

/// Extents kept decompressed, at most: 16 MiB.
const CACHE_EXTENTS: usize = 64;

/// Packs that are read together. Clones share what is in them.
#[derive(Clone, Default)]
pub struct PackSet {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    packs: RwLock<Packs>,
    cache: Mutex<Cache>,
    below: Option<PackSet>,
}

#[derive(Default)]
struct Packs {
    all: Vec<Arc<Pack>>,
    runs: Vec<Vec<Entry>>,
}

/// A chunk in a run, which is sorted by `prefix` and then by `pack`.
#[derive(Clone, Copy)]
struct Entry {
    prefix: u64,
    pack: u32,
    index: u32,
}

/// A chunk in one of the packs.
struct Found {
    pack: Arc<Pack>,
    /// Number of the pack, for the cache.
    number: u32,
    index: u32,
}

/// Extents read last. The oldest one goes first.
#[derive(Default)]
struct Cache {
    extents: BTreeMap<CacheKey, (u64, Arc<[u8]>)>,
    clock: u64,
}

/// Numbers of a pack and of an extent in it.
type CacheKey = (u32, u32);

impl fmt::Debug for PackSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.packs().iter().map(|pack| pack.place().to_owned())).finish()
    }
}

impl PackSet {
    /// None yet.
    pub fn new() -> PackSet {
        PackSet::default()
    }

    /// None yet, in front of others: those deliver what is not in this set.
    pub fn above(below: &PackSet) -> PackSet {
        let shared = Shared { below: Some(below.clone()), ..Shared::default() };
        PackSet { shared: Arc::new(shared) }
    }

    /// Adds a pack; chunks of earlier ones come first.
    pub fn add(&self, mut pack: Pack) {
        let order = std::mem::take(&mut pack.order);
        let mut packs = self.shared.packs.write().unwrap_or_else(PoisonError::into_inner);
        let number = u32::try_from(packs.all.len()).expect("fewer than 2^32 packs");
        packs.all.push(Arc::new(pack));
        let entry = |(prefix, index)| Entry { prefix, pack: number, index };
        packs.runs.push(order.into_iter().map(entry).collect());
        while let [.., before, last] = &packs.runs[..]
            && before.len() < 2 * last.len()
        {
            let last = packs.runs.pop().expect("there are two");
            let before = packs.runs.pop().expect("there are two");
            packs.runs.push(merge(before, last));
        }
    }

    /// All packs, in the order they were added.
    pub fn packs(&self) -> Vec<Arc<Pack>> {
        self.shared.packs.read().unwrap_or_else(PoisonError::into_inner).all.clone()
    }

    /// In which packs of this set a chunk is, by the order in which they were added.
    pub fn holders(&self, id: &Digest) -> Vec<usize> {
        self.find(id).iter().map(|found| found.number as usize).collect()
    }

    /// From which other node each holder's record of a node is a difference; nothing for pages and
    /// for nodes in full. It is needed for reading the node.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn bases(&self, id: &Digest) -> Result<Vec<Digest>, ReadError> {
        let mut bases = Vec::new();
        for found in self.find(id) {
            bases.extend(self.base_of(&found, id)?);
        }
        Ok(bases)
    }

    /// From which other nodes those of pack `number` are differences: they are needed for reading
    /// it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub fn bases_of(&self, number: usize) -> Result<BTreeSet<Digest>, ReadError> {
        let mut bases = BTreeSet::new();
        let pack = Arc::clone(&self.packs()[number]);
        for index in pack.pages().len()..pack.ids().len() {
            let found =
                Found { pack: Arc::clone(&pack), number: number as u32, index: index as u32 };
            bases.extend(self.base_of(&found, &pack.ids()[index])?);
        }
        Ok(bases)
    }

    fn base_of(&self, found: &Found, id: &Digest) -> Result<Option<Digest>, ReadError> {
        let place = found.pack.locate(found.index);
        if place.class == Class::Page {
            return Ok(None);
        }
        let extent = self.stored(found, &place)?;
        let record = node::decode(&extent[place.range])
            .map_err(|problem| found.pack.damaged(id, problem))?;
        let outside = || found.pack.damaged(id, "its base is outside of the pack");
        record.base.map(|base| found.pack.resolve(base).ok_or_else(outside)).transpose()
    }

    /// Hashes chunks of pack `number`, given by where they are in [`Pack::ids`]; returns those that
    /// are damaged.
    pub fn check(&self, number: usize, chunks: Range<usize>) -> Vec<(Digest, ReadError)> {
        let pack = Arc::clone(&self.packs()[number]);
        let mut damaged = Vec::new();
        for index in chunks {
            let found =
                Found { pack: Arc::clone(&pack), number: number as u32, index: index as u32 };
            let id = pack.ids()[index];
            if let Err(error) = self.read_from(&found, &id, &mut NODE_STEPS_MAX.clone()) {
                damaged.push((id, error));
            }
        }
        damaged
    }

    fn find(&self, id: &Digest) -> Vec<Found> {
        let packs = self.shared.packs.read().unwrap_or_else(PoisonError::into_inner);
        let prefix = prefix(id);
        let mut found = Vec::new();
        for run in &packs.runs {
            let first = run.partition_point(|entry| entry.prefix < prefix);
            for entry in run[first..].iter().take_while(|entry| entry.prefix == prefix) {
                let pack = &packs.all[entry.pack as usize];
                if pack.ids()[entry.index as usize] == *id {
                    let pack = Arc::clone(pack);
                    found.push(Found { pack, number: entry.pack, index: entry.index });
                }
            }
        }
        found
    }

    /// The extent that a chunk is in.
    fn stored(&self, found: &Found, place: &Place) -> Result<Arc<[u8]>, ReadError> {
        let key = (found.number, place.extent);
        let cache = || self.shared.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(extent) = cache().get(key) {
            return Ok(extent);
        }
        let extent: Arc<[u8]> = found.pack.extent(place.extent)?.into();
        cache().put(key, Arc::clone(&extent));
        Ok(extent)
    }

    /// A chunk, from the first pack that has it whole. `steps` is what may still be read for it.
    fn read(&self, id: &Digest, steps: &mut u32) -> Result<Option<Arc<[u8]>>, ReadError> {
        let mut first_error = None;
        for found in self.find(id) {
            match self.read_from(&found, id, steps) {
                Ok(bytes) => return Ok(Some(bytes)),
                Err(error) => first_error = first_error.or(Some(error)),
            }
        }
        match (first_error, &self.shared.below) {
            (Some(error), _) => Err(error),
            (None, Some(below)) => below.read(id, steps),
            (None, None) => Ok(None),
        }
    }

    fn read_from(
        &self,
        found: &Found,
        id: &Digest,
        steps: &mut u32,
    ) -> Result<Arc<[u8]>, ReadError> {
        let pack = &found.pack;
        let place = pack.locate(found.index);
        let extent = self.stored(found, &place)?;
        let stored = &extent[place.range.clone()];
        let bytes: Arc<[u8]> = match place.class {
            Class::Page => stored.into(),
            Class::Node => self.node(pack, id, stored, steps)?.into(),
        };
        if Digest::of(&bytes) != *id {
            return Err(pack.damaged(id, "its bytes have another hash"));
        }
        Ok(bytes)
    }

    /// A node's chunk from its record.
    fn node(
        &self,
        pack: &Pack,
        id: &Digest,
        record: &[u8],
        steps: &mut u32,
    ) -> Result<Vec<u8>, ReadError> {
        let record = node::decode(record).map_err(|problem| pack.damaged(id, problem))?;
        let outside = || pack.damaged(id, "it names a chunk outside of the pack");
        let mut children = match record.base {
            None => Box::new([Digest::ZERO; _]),
            Some(base) => {
                let base = pack.resolve(base).ok_or_else(outside)?;
                self.base(pack, id, &base, steps)?
            }
        };
        for (slot, child) in record.children {
            children[slot] = pack.resolve(child).ok_or_else(outside)?;
        }
        Ok(node::chunk_of(&children))
    }

    fn base(
        &self,
        pack: &Pack,
        id: &Digest,
        base: &Digest,
        steps: &mut u32,
    ) -> Result<Box<Children>, ReadError> {
        let Some(left) = steps.checked_sub(1) else {
            let problem = format!("it is a difference from a difference, {NODE_STEPS_MAX} times");
            return Err(pack.damaged(id, problem));
        };
        *steps = left;
        let bytes = self.read(base, steps)?.ok_or_else(|| ReadError::Missing {
            id: *base,
            place: format!("the packs, where chunk {id} in {} needs it", pack.place()),
        })?;
        node::children_of(&bytes).ok_or_else(|| pack.damaged(id, "its base is no node"))
    }
}

impl Chunks for PackSet {
    fn get(&self, id: &Digest) -> Result<Option<Arc<[u8]>>, ReadError> {
        let mut steps = NODE_STEPS_MAX;
        self.read(id, &mut steps)
    }

    fn contains(&self, id: &Digest) -> bool {
        let packs = self.shared.packs.read().unwrap_or_else(PoisonError::into_inner);
        let prefix = prefix(id);
        let here = packs.runs.iter().any(|run| {
            let first = run.partition_point(|entry| entry.prefix < prefix);
            run[first..]
                .iter()
                .take_while(|entry| entry.prefix == prefix)
                .any(|entry| packs.all[entry.pack as usize].ids()[entry.index as usize] == *id)
        });
        here || self.shared.below.as_ref().is_some_and(|below| below.contains(id))
    }

    fn difference_depth(&self, id: &Digest) -> u32 {
        let Some(found) = self.find(id).into_iter().next() else {
            let below = self.shared.below.as_ref();
            return below.map_or(u32::MAX, |below| below.difference_depth(id));
        };
        let place = found.pack.locate(found.index);
        match (place.class, self.stored(&found, &place)) {
            (Class::Page, _) => 0,
            (Class::Node, Ok(extent)) => node::depth(&extent[place.range]).unwrap_or(u32::MAX),
            (Class::Node, Err(_)) => u32::MAX,
        }
    }
}

impl Cache {
    fn get(&mut self, key: CacheKey) -> Option<Arc<[u8]>> {
        self.clock += 1;
        let (used, extent) = self.extents.get_mut(&key)?;
        *used = self.clock;
        Some(Arc::clone(extent))
    }

    fn put(&mut self, key: CacheKey, extent: Arc<[u8]>) {
        if self.extents.len() >= CACHE_EXTENTS {
            let oldest = self.extents.iter().min_by_key(|(_, (used, _))| *used);
            let oldest = oldest.map(|(key, _)| *key).expect("it is full");
            self.extents.remove(&oldest);
        }
        self.extents.insert(key, (self.clock, extent));
    }
}

/// Joins two sorted runs; of equal digests those of `before` come first.
fn merge(before: Vec<Entry>, last: Vec<Entry>) -> Vec<Entry> {
    let mut merged = Vec::with_capacity(before.len() + last.len());
    let mut last = last.into_iter().peekable();
    for entry in before {
        while let Some(other) = last.next_if(|other| other.prefix < entry.prefix) {
            merged.push(other);
        }
        merged.push(entry);
    }
    merged.extend(last);
    merged
}
