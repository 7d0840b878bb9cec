//! Watching memory: a run stops behind whatever stores into a range of physical addresses.
//!
//! Owns what is told of such a store. Finding them is the hart's ([`stackvm_riscv::Engine`]) and
//! RAM's business. Nothing here belongs to the machine's state: watched or not, it computes the
//! same.

use std::ops::Range;

use crate::machine::Machine;
use crate::memory::{PAGE_BYTES, RAM_BASE};

/// A store into the watched range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WatchedStore {
    /// Who stored.
    pub by: Writer,
    /// Physical address of the first byte that lies in the range.
    pub addr: u64,
    /// The bytes from there on before the store, as far as they lie in the range.
    pub old: Vec<u8>,
    /// The same bytes after it.
    pub new: Vec<u8>,
}

/// Who stores to RAM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Writer {
    /// An instruction.
    Hart {
        /// Of which hart.
        hart: u32,
        /// Its virtual address.
        pc: u64,
    },
    /// A device, the built-in firmware or the HTIF mailbox.
    Device,
}

impl Machine {
    /// Has every run stop with [`Stop::Watched`](crate::Stop::Watched) behind an instruction or
    /// device that stores into `range` of the physical addresses, even if it stores what is there
    /// already; instead of any earlier range. An empty range ends it. The bits that page walks set
    /// in page tables are no stores.
    ///
    /// Costs nothing but slower stores to the pages that the range touches. A fork, a restored
    /// machine and a machine after a reset have no watch.
    pub fn watch(&mut self, range: Range<u64>) {
        self.engine.report_no_stores();
        self.watch_htif();
        let page_bytes = PAGE_BYTES as u64;
        let end = range.end.min(RAM_BASE + self.board.ram.size_bytes());
        let start = range.start.max(RAM_BASE) / page_bytes * page_bytes;
        for page in (start..end).step_by(PAGE_BYTES) {
            self.engine.report_stores(&mut self.board, page);
        }
        self.watched.clear();
        self.board.ram.watch(range.clone());
        self.watched_range = range;
    }

    /// Takes the stores into the watched range since the last call, in the order in which they
    /// happened. All of them took effect right before [`Machine::now`].
    pub fn take_watched(&mut self) -> Vec<WatchedStore> {
        std::mem::take(&mut self.watched)
    }

    /// Collects the stores of the instruction that the current hart just executed.
    pub(crate) fn collect_reported(&mut self) {
        let hart = self.current as u32;
        let range = self.watched_range.clone();
        for store in self.engine.take_reported() {
            let start = store.addr.max(range.start);
            let end = (store.addr + u64::from(store.len)).min(range.end);
            if start >= end {
                continue;
            }
            let inside = (start - store.addr) as usize..(end - store.addr) as usize;
            let old = store.old[inside].to_vec();
            let mut new = vec![0; old.len()];
            self.board.ram.read(start, &mut new).expect("reported stores are in RAM");
            let by = Writer::Hart { hart, pc: store.pc };
            self.watched.push(WatchedStore { by, addr: start, old, new });
        }
    }

    /// Collects what devices wrote; whether anything was stored that nobody took yet.
    pub(crate) fn collect_overwritten(&mut self) -> bool {
        if self.watched_range.is_empty() {
            return false;
        }
        let by_devices = self.board.ram.take_overwritten();
        self.watched.extend(by_devices.into_iter().map(|found| WatchedStore {
            by: Writer::Device,
            addr: found.addr,
            old: found.old,
            new: found.new,
        }));
        !self.watched.is_empty()
    }
}

#[cfg(test)]
mod tests;
