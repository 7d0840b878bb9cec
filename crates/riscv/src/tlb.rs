//! Cached translations of one hart.
//!
//! A pure cache: what a hart computes never depends on what is in here. [`crate::Engine`] keeps
//! that promise by dropping entries whenever the page tables, protections or host addresses that
//! they were made from change, so SFENCE.VMA has nothing left to do.

use crate::blocks::CodePage;
use crate::bus::PAGE_BYTES;
use crate::native::EntryTable;

/// Entries of each table; direct-mapped.
pub(crate) const DATA_ENTRIES: usize = 1024;
pub(crate) const FETCH_ENTRIES: usize = 256;
/// A tag no address has.
const NO_TAG: u64 = u64::MAX;

/// A page of data. Hit if `addr & (!0xfff | (size - 1)) == tag`, which also catches misalignment.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct DataEntry {
    pub(crate) tag: u64,
    /// Host address of the page minus its virtual address.
    pub(crate) addend: u64,
}

/// A page of code.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct FetchEntry {
    pub(crate) tag: u64,
    pub(crate) page: *mut CodePage,
    /// What is compiled of it, if there is a compiler.
    pub(crate) entries: *const EntryTable,
    /// To a power of two.
    _pad: u64,
}

/// Which translations apply: by privilege, and for S-mode whether it may touch user pages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(crate) enum Context {
    User,
    Supervisor,
    SupervisorSum,
    Machine,
}

const CONTEXTS: usize = 4;

/// Translations under one [`Context`].
#[repr(C)]
pub(crate) struct Tables {
    pub(crate) read: [DataEntry; DATA_ENTRIES],
    pub(crate) write: [DataEntry; DATA_ENTRIES],
    pub(crate) fetch: [FetchEntry; FETCH_ENTRIES],
    used: bool,
}

/// All translations of one hart.
pub(crate) struct Tlb {
    contexts: Vec<Tables>,
}

impl Tlb {
    pub(crate) fn new() -> Self {
        let no_data = DataEntry { tag: NO_TAG, addend: 0 };
        let no_fetch = FetchEntry {
            tag: NO_TAG,
            page: std::ptr::null_mut(),
            entries: std::ptr::null(),
            _pad: 0,
        };
        let contexts = (0..CONTEXTS)
            .map(|_| Tables {
                read: [no_data; DATA_ENTRIES],
                write: [no_data; DATA_ENTRIES],
                fetch: [no_fetch; FETCH_ENTRIES],
                used: false,
            })
            .collect();
        Tlb { contexts }
    }

    pub(crate) fn tables(&mut self, context: Context) -> &mut Tables {
        &mut self.contexts[context as usize]
    }

    /// Forgets everything.
    pub(crate) fn flush(&mut self) {
        for tables in self.contexts.iter_mut().filter(|t| t.used) {
            tables.read.iter_mut().for_each(|e| e.tag = NO_TAG);
            tables.write.iter_mut().for_each(|e| e.tag = NO_TAG);
            tables.fetch.iter_mut().for_each(|e| e.tag = NO_TAG);
            tables.used = false;
        }
    }

    /// Has the entries for fetching from `page` lead to `entries`.
    pub(crate) fn set_entries(&mut self, page: *mut CodePage, entries: *const EntryTable) {
        for tables in self.contexts.iter_mut().filter(|t| t.used) {
            tables.fetch.iter_mut().filter(|e| e.page == page).for_each(|e| e.entries = entries);
        }
    }

    /// Forgets the entries for writing that lead to the page at `host`.
    pub(crate) fn evict_write(&mut self, host: u64) {
        for tables in self.contexts.iter_mut().filter(|t| t.used) {
            evict(&mut tables.write, host);
        }
    }

    /// Forgets all data entries that lead to the page at `host`.
    pub(crate) fn evict(&mut self, host: u64) {
        for tables in self.contexts.iter_mut().filter(|t| t.used) {
            evict(&mut tables.read, host);
            evict(&mut tables.write, host);
        }
    }
}

fn evict(entries: &mut [DataEntry], host: u64) {
    for e in entries {
        if e.addend.wrapping_add(e.tag) == host {
            e.tag = NO_TAG;
        }
    }
}

impl Tables {
    pub(crate) fn data_index(va: u64) -> usize {
        (va / PAGE_BYTES) as usize % DATA_ENTRIES
    }

    pub(crate) fn fetch_index(va: u64) -> usize {
        (va / PAGE_BYTES) as usize % FETCH_ENTRIES
    }

    pub(crate) fn insert_read(&mut self, va: u64, host: *const u8) {
        self.used = true;
        self.read[Self::data_index(va)] = entry(va, host as u64);
    }

    pub(crate) fn insert_write(&mut self, va: u64, host: *mut u8) {
        self.used = true;
        self.write[Self::data_index(va)] = entry(va, host as u64);
    }

    pub(crate) fn insert_fetch(
        &mut self,
        va: u64,
        page: *mut CodePage,
        entries: *const EntryTable,
    ) {
        self.used = true;
        let tag = va & !(PAGE_BYTES - 1);
        self.fetch[Self::fetch_index(va)] = FetchEntry { tag, page, entries, _pad: 0 };
    }
}

fn entry(va: u64, host: u64) -> DataEntry {
    let tag = va & !(PAGE_BYTES - 1);
    DataEntry { tag, addend: host.wrapping_sub(tag) }
}
