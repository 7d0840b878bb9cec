//! Cached translations of one hart.
//!
//! A pure cache: what a hart computes never depends on what is in here. [`crate::Engine`] keeps
//! that promise by dropping entries whenever the page tables, protections or host addresses that
//! they were made from change, so SFENCE.VMA has nothing left to do.

#![expect(unsafe_code, reason = "the tables in use are at hand by address")]

use crate::blocks::CodePage;
use crate::bus::{PAGE_BYTES, RamPage};
use crate::native::EntryTable;

/// Entries of each table; direct-mapped.
pub(crate) const DATA_ENTRIES: usize = 4096;
pub(crate) const FETCH_ENTRIES: usize = 2048;

/// See [`Tables::fetch_index`].
pub(crate) const FETCH_FOLD: u8 = 12;

/// A tag of entry `index` that no address has that looks there: of a page whose place is another.
/// Compiled code takes any address for a hit that is within a page of the tag. Nearly everywhere
/// it is 0, so that tables begin as zeroed memory, of which the host backs what is used.
fn no_tag(index: usize) -> u64 {
    if index == 0 { PAGE_BYTES } else { 0 }
}

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
#[repr(C, align(32))]
pub(crate) struct FetchEntry {
    pub(crate) tag: u64,
    pub(crate) page: *mut CodePage,
    /// What is compiled of it, if there is a compiler.
    pub(crate) entries: *const EntryTable,
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
    /// The page of RAM behind each entry for reading and for writing.
    read_pages: [RamPage; DATA_ENTRIES],
    write_pages: [RamPage; DATA_ENTRIES],
    /// Which entries were filled since the last flush, if those are few: of reading, writing and
    /// fetching one behind the other.
    filled: [u16; FILLED_MAX],
    /// How many; more than there is room for if they are not few.
    filled_count: usize,
    /// Most entries filled before all are forgotten.
    entries_max: usize,
}

/// Entries that are flushed one by one; if more were filled, all are.
const FILLED_MAX: usize = 2048;
const FIRST_WRITE: usize = DATA_ENTRIES;
const FIRST_FETCH: usize = 2 * DATA_ENTRIES;

/// Most address spaces of a hart whose translations are kept beside each other.
const SPACES_MAX: usize = 8;

/// Translations under one value of `satp`.
struct Space {
    satp: u64,
    /// Made when first asked for.
    contexts: [Option<Box<Tables>>; CONTEXTS],
}

/// All translations of one hart.
///
/// Those of several address spaces, ASID and root table both, are kept: switching to and fro
/// forgets nothing.
pub(crate) struct Tlb {
    spaces: Vec<Space>,
    current: usize,
    /// Its tables, as far as they are made.
    tables: [*mut Tables; CONTEXTS],
    /// Whose turn it is to make room.
    victim: usize,
    /// See [`Tlb::limit`].
    entries_max: usize,
}

/// Which data entries: those at one place of the tables of one context of one space.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(pub(crate) u32);

/// Which data entries of a page are forgotten.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Evicted {
    /// Those for writing.
    Write,
    /// All.
    All,
}

impl Tlb {
    pub(crate) fn new() -> Self {
        Tlb {
            spaces: vec![Space { satp: 0, contexts: [const { None }; CONTEXTS] }],
            current: 0,
            tables: [std::ptr::null_mut(); CONTEXTS],
            victim: 0,
            entries_max: usize::MAX,
        }
    }

    /// Keeps at most so many translations of a context, at least one; tests do with few.
    pub(crate) fn limit(&mut self, entries_max: usize) {
        self.entries_max = entries_max.max(1);
        self.flush();
        let max = self.entries_max;
        self.all().for_each(|tables| tables.entries_max = max);
    }

    /// Forgets everything, and gives its memory back to the host. Nobody may hold an address of it.
    pub(crate) fn give_back(&mut self) {
        *self = Tlb { entries_max: self.entries_max, ..Tlb::new() };
    }

    pub(crate) fn tables(&mut self, context: Context) -> &mut Tables {
        let mut tables = self.tables[context as usize];
        if tables.is_null() {
            tables = self.make_tables(context);
        }
        // SAFETY: the current space's tables live until the space is no longer current.
        unsafe { &mut *tables }
    }

    #[cold]
    fn make_tables(&mut self, context: Context) -> *mut Tables {
        let tables = &mut self.spaces[self.current].contexts[context as usize];
        let max = self.entries_max;
        let tables: *mut Tables = &raw mut **tables.get_or_insert_with(|| Tables::new(max));
        self.tables[context as usize] = tables;
        tables
    }

    /// Goes to the address space of a value of `satp`.
    pub(crate) fn switch(&mut self, satp: u64) {
        if self.spaces[self.current].satp == satp {
            return;
        }
        self.current = match self.spaces.iter().position(|space| space.satp == satp) {
            Some(known) => known,
            None if self.spaces.len() < SPACES_MAX => {
                self.spaces.push(Space { satp, contexts: [const { None }; CONTEXTS] });
                self.spaces.len() - 1
            }
            None => {
                self.victim = (self.victim + 1) % SPACES_MAX;
                let space = &mut self.spaces[self.victim];
                space.contexts.iter_mut().flatten().for_each(|tables| tables.flush());
                space.satp = satp;
                self.victim
            }
        };
        let contexts = self.spaces[self.current].contexts.each_mut();
        self.tables = contexts.map(|tables| match tables {
            Some(tables) => &raw mut **tables,
            None => std::ptr::null_mut(),
        });
    }

    /// Forgets everything.
    pub(crate) fn flush(&mut self) {
        self.all().for_each(Tables::flush);
    }

    /// Forgets what entry `index` of a last-level page table translates, if that is data: all pages
    /// that have this place in their table.
    pub(crate) fn evict_leaf(&mut self, index: usize) {
        for tables in self.all().filter(|t| t.is_used()) {
            for at in (index..DATA_ENTRIES).step_by(TABLE_ENTRIES) {
                tables.read[at].tag = no_tag(at);
                tables.write[at].tag = no_tag(at);
            }
        }
    }

    /// Has the entries for fetching from `page` lead to `entries`.
    pub(crate) fn set_entries(&mut self, page: *mut CodePage, entries: *const EntryTable) {
        for tables in self.all().filter(|t| t.is_used()) {
            tables.fetch.iter_mut().filter(|e| e.page == page).for_each(|e| e.entries = entries);
        }
    }

    /// The place of the data entries for `va`.
    pub(crate) fn place(&self, context: Context, va: u64) -> Place {
        let tables = self.current * CONTEXTS + context as usize;
        Place((tables * DATA_ENTRIES + Tables::data_index(va)) as u32)
    }

    /// Forgets the entries that lead to a page of RAM; they are nowhere but at `place`, if that is
    /// known.
    pub(crate) fn evict(&mut self, page: RamPage, which: Evicted, place: Option<Place>) {
        let Some(Place(place)) = place else {
            return self.all().for_each(|tables| tables.evict(page, which));
        };
        let (tables, index) = (place as usize / DATA_ENTRIES, place as usize % DATA_ENTRIES);
        let space = self.spaces.get_mut(tables / CONTEXTS);
        if let Some(tables) = space.and_then(|s| s.contexts[tables % CONTEXTS].as_mut()) {
            tables.evict_at(index, page, which);
        }
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Tables> {
        self.spaces
            .iter_mut()
            .flat_map(|space| space.contexts.iter_mut().flatten())
            .map(|t| &mut **t)
    }
}

/// Entries of a page table.
const TABLE_ENTRIES: usize = 512;

const _: () = assert!(DATA_ENTRIES.is_multiple_of(TABLE_ENTRIES));
const _: () = assert!(SPACES_MAX * CONTEXTS * DATA_ENTRIES <= 1 << 24);

impl Tables {
    fn new(entries_max: usize) -> Box<Tables> {
        // SAFETY: all fields are numbers, addresses that may be null, and arrays of these.
        let mut tables = unsafe { Box::<Tables>::new_zeroed().assume_init() };
        tables.read[0].tag = no_tag(0);
        tables.write[0].tag = no_tag(0);
        tables.fetch[0].tag = no_tag(0);
        tables.entries_max = entries_max;
        tables
    }

    fn flush(&mut self) {
        let count = std::mem::take(&mut self.filled_count);
        if count > FILLED_MAX {
            (0..FIRST_FETCH + FETCH_ENTRIES).for_each(|at| self.empty(at));
        } else {
            (0..count).for_each(|nth| self.empty(self.filled[nth].into()));
        }
    }

    /// Empties an entry, as [`Tables::filled`] numbers them.
    fn empty(&mut self, at: usize) {
        match at {
            0..FIRST_WRITE => self.read[at].tag = no_tag(at),
            FIRST_WRITE..FIRST_FETCH => self.write[at - FIRST_WRITE].tag = no_tag(at - FIRST_WRITE),
            _ => self.fetch[at - FIRST_FETCH].tag = no_tag(at - FIRST_FETCH),
        }
    }

    fn evict(&mut self, page: RamPage, which: Evicted) {
        if self.filled_count > FILLED_MAX {
            (0..DATA_ENTRIES).for_each(|index| self.evict_at(index, page, which));
            return;
        }
        for nth in 0..self.filled_count {
            match usize::from(self.filled[nth]) {
                at if at < FIRST_FETCH => self.evict_at(at % DATA_ENTRIES, page, which),
                _ => {}
            }
        }
    }

    fn evict_at(&mut self, index: usize, page: RamPage, which: Evicted) {
        if self.write_pages[index] == page {
            self.write[index].tag = no_tag(index);
        }
        if which == Evicted::All && self.read_pages[index] == page {
            self.read[index].tag = no_tag(index);
        }
    }

    fn note_filled(&mut self, at: usize) {
        if self.filled_count >= self.entries_max {
            self.flush();
        }
        if let Some(filled) = self.filled.get_mut(self.filled_count) {
            *filled = at as u16;
        }
        self.filled_count = (self.filled_count + 1).min(FILLED_MAX + 1);
    }

    fn is_used(&self) -> bool {
        self.filled_count != 0
    }

    pub(crate) fn data_index(va: u64) -> usize {
        (va / PAGE_BYTES) as usize % DATA_ENTRIES
    }

    /// A program and its libraries are far from each other and often alike in the lower bits of
    /// their addresses, so that the upper ones have a say.
    pub(crate) fn fetch_index(va: u64) -> usize {
        ((va ^ va >> FETCH_FOLD) / PAGE_BYTES) as usize % FETCH_ENTRIES
    }

    /// The code page that `va` is fetched from, if an entry knows.
    pub(crate) fn fetched(&self, va: u64) -> Option<*mut CodePage> {
        let entry = &self.fetch[Self::fetch_index(va)];
        (entry.tag == va & !(PAGE_BYTES - 1)).then_some(entry.page)
    }

    /// The physical address that `va` is read from, if an entry knows.
    pub(crate) fn read_pa(&self, va: u64) -> Option<u64> {
        let index = Self::data_index(va);
        let hit = self.read[index].tag == va & !(PAGE_BYTES - 1);
        hit.then(|| self.read_pages[index].addr() | va & (PAGE_BYTES - 1))
    }

    /// The physical address that `va` is written to, if an entry knows.
    pub(crate) fn write_pa(&self, va: u64) -> Option<u64> {
        let index = Self::data_index(va);
        let hit = self.write[index].tag == va & !(PAGE_BYTES - 1);
        hit.then(|| self.write_pages[index].addr() | va & (PAGE_BYTES - 1))
    }

    pub(crate) fn insert_read(&mut self, va: u64, page: RamPage, host: *const u8) {
        self.read_pages[Self::data_index(va)] = page;
        self.note_filled(Self::data_index(va));
        self.read[Self::data_index(va)] = entry(va, host as u64);
    }

    pub(crate) fn insert_write(&mut self, va: u64, page: RamPage, host: *mut u8) {
        self.write_pages[Self::data_index(va)] = page;
        self.note_filled(FIRST_WRITE + Self::data_index(va));
        self.write[Self::data_index(va)] = entry(va, host as u64);
    }

    pub(crate) fn insert_fetch(
        &mut self,
        va: u64,
        page: *mut CodePage,
        entries: *const EntryTable,
    ) {
        self.note_filled(FIRST_FETCH + Self::fetch_index(va));
        let tag = va & !(PAGE_BYTES - 1);
        self.fetch[Self::fetch_index(va)] = FetchEntry { tag, page, entries };
    }
}

fn entry(va: u64, host: u64) -> DataEntry {
    let tag = va & !(PAGE_BYTES - 1);
    DataEntry { tag, addend: host.wrapping_sub(tag) }
}

#[cfg(test)]
mod tests;
