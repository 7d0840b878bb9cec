//! Reading everything again: what is damaged, and which roots need it.

use std::collections::BTreeSet;

use stackvm_machine::digest::Digest;

use super::keeper::check_name;
use super::{Continue, LocalStore, PackRow, Progress, Watch};
use crate::backend::{Root, RootName, Store, StoreError};
use crate::chunks::ReadError;
use crate::pack::PackSet;
use crate::tree::{self, Descend};

/// What a scrub found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ScrubReport {
    /// Packs read.
    pub packs: u64,
    /// Chunks hashed.
    pub chunks: u64,
    /// Bytes of the packs.
    pub bytes: u64,
    /// What is damaged or missing.
    pub damages: Vec<Damage>,
}

/// A chunk or a whole pack that is not what it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// What is wrong, and where.
    pub problem: String,
    /// Roots that cannot be read whole because of it: none if it is not needed, or another copy
    /// is whole.
    pub roots: Vec<RootName>,
}

impl LocalStore {
    /// Reads and hashes every chunk of every pack in use, and says what of it is needed.
    ///
    /// # Errors
    /// See [`StoreError`]; damage is no error but in the report.
    pub fn scrub(&self, watch: Watch<'_>) -> Result<ScrubReport, StoreError> {
        // What this one has open may be gone from the disk.
        self.again()?.scrub_all(watch)
    }

    fn scrub_all(&self, watch: Watch<'_>) -> Result<ScrubReport, StoreError> {
        let snapshot = self.refresh()?;
        let live = |pack: &&PackRow| pack.quarantined.is_none();
        let packs: Vec<PackRow> = snapshot.packs.iter().filter(live).cloned().collect();
        let total_bytes = packs.iter().map(|pack| pack.bytes).sum();
        let mut report = ScrubReport::default();
        let mut damaged: Vec<(Option<Digest>, String)> = Vec::new();
        for pack in packs {
            report.packs += 1;
            report.chunks += pack.chunks;
            report.bytes += pack.bytes;
            match self.open_again(&pack) {
                Ok(set) => damaged.extend(
                    set.check_all(0).into_iter().map(|(id, error)| (Some(id), error.to_string())),
                ),
                Err(error) => damaged.push((None, error.to_string())),
            }
            if watch(Progress { done_bytes: report.bytes, total_bytes }) == Continue::No {
                return Err(StoreError::Cancelled);
            }
        }
        let unreadable = self.unreadable(&snapshot.roots)?;
        report.damages = damages(damaged, unreadable);
        Ok(report)
    }

    /// Reads everything that a root needs and hashes it.
    ///
    /// # Errors
    /// See [`StoreError`]; the first damage that is found.
    pub fn verify(&self, name: &RootName, watch: Watch<'_>) -> Result<Root, StoreError> {
        self.again()?.verify_root(name, watch)
    }

    fn verify_root(&self, name: &RootName, watch: Watch<'_>) -> Result<Root, StoreError> {
        let root = self.root(name)?;
        let total_bytes = root.size_bytes;
        let mut cancelled = false;
        let read = tree::visit_pages(self, &root.tree, &mut |number, id| {
            tree::read_page(self, id)?;
            let done_bytes = number * crate::PAGE_BYTES as u64;
            cancelled = watch(Progress { done_bytes, total_bytes }) == Continue::No;
            if cancelled { Err(ReadError::TooLarge { bytes: 0, max: 0 }) } else { Ok(()) }
        });
        match read {
            _ if cancelled => Err(StoreError::Cancelled),
            Err(error) => Err(error.into()),
            Ok(()) => Ok(root),
        }
    }

    /// A pack as it is on disk now.
    fn open_again(&self, row: &PackRow) -> Result<PackSet, StoreError> {
        let pack = self.open_pack(row.id)?;
        check_name(&pack, row.id)?;
        let set = PackSet::above(&self.packs);
        set.add(pack);
        Ok(set)
    }

    /// Chunks that roots need and that no pack has whole, with those roots.
    fn unreadable(&self, roots: &[Root]) -> Result<Vec<(Digest, String, RootName)>, StoreError> {
        let mut unreadable = Vec::new();
        let mut whole = BTreeSet::new();
        for root in roots {
            let mut seen = BTreeSet::new();
            tree::visit_nodes(self, &root.tree, &mut |id| {
                if whole.contains(id) || !seen.insert(*id) {
                    return Ok(Descend::No);
                }
                let read = tree::get(self, id).err();
                if let Some(error) = &read {
                    unreadable.push((*id, error.to_string(), root.name.clone()));
                }
                Ok(if read.is_some() { Descend::No } else { Descend::Yes })
            })?;
            if !unreadable.iter().any(|(_, _, name)| *name == root.name) {
                whole.append(&mut seen);
            }
        }
        Ok(unreadable)
    }
}

/// Joins what is wrong in packs with what is wrong for roots.
fn damages(
    damaged: Vec<(Option<Digest>, String)>,
    unreadable: Vec<(Digest, String, RootName)>,
) -> Vec<Damage> {
    let mut rest: BTreeSet<&Digest> = unreadable.iter().map(|(id, _, _)| id).collect();
    let needing = |id: &Digest| {
        let needs = unreadable.iter().filter(|(other, _, _)| other == id);
        needs.map(|(_, _, root)| root.clone()).collect()
    };
    let mut damages: Vec<Damage> = Vec::new();
    for (id, problem) in &damaged {
        let roots = id.as_ref().map(needing).unwrap_or_default();
        if let Some(id) = id {
            rest.remove(id);
        }
        damages.push(Damage { problem: problem.clone(), roots });
    }
    for id in rest {
        let (_, problem, _) = unreadable.iter().find(|(other, _, _)| other == id).expect("in it");
        damages.push(Damage { problem: problem.clone(), roots: needing(id) });
    }
    damages
}
