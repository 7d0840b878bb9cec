//! What the harts of a machine share and may forget at any time: translations, predecoded code,
//! and the watch kept on the pages both were made from.
//!
//! Nothing here is saved. A store to a watched page takes the slow path and drops what was derived
//! from the page, so the caches never show: a guest that forgets SFENCE.VMA or FENCE.I computes
//! the same as one that does not, on every engine and after every restore.
#![expect(unsafe_code, reason = "guest memory is reached through host addresses")]

use std::ptr::NonNull;

use crate::blocks::{Blocks, CodePage};
use crate::bus::{Bus, PAGE_BYTES, RamPage};
use crate::hart::{Hart, RESERVATION_LINE_BYTES};
use crate::mmu::{pte, ram_page};
use crate::native::{Compiler, EntryTable, Region, Source, Usage};
use crate::tlb::{Evicted, Place, Tlb};

/// Why a page is watched. Only pages without a watch have entries for writing in a TLB.
pub(crate) mod page_flag {
    /// Code was decoded from it.
    pub(crate) const CODE: u8 = 1;
    /// A page walk read it.
    pub(crate) const TABLE: u8 = 2;
    /// A hart whose turn is over holds a reservation in it.
    pub(crate) const RESERVED: u8 = 4;
    /// The machine wants to know of stores to it.
    pub(crate) const REPORT: u8 = 8;
    /// All reasons to watch.
    pub(crate) const WATCHED: u8 = CODE | TABLE | RESERVED | REPORT;
    /// A TLB has had an entry for it since its host address last changed.
    pub(crate) const CACHED: u8 = 16;
    /// With [`TABLE`]: an entry was read as one of another level than the last.
    pub(crate) const UPPER_TABLE: u8 = 32;
}

/// Slow stores that change no translation after which a table page is taken for ordinary memory.
const TABLE_STORES_MAX: u8 = 64;

/// In [`Engine::places`]: at more than one place.
const MANY_PLACES: u32 = u32::MAX;
/// Lower bits of one of [`Engine::places`], which are a [`Place`].
const PLACE_BITS: u32 = 24;

/// Why a store happens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum StoreKind {
    /// An instruction stores.
    Instruction,
    /// A page walk sets A or D, which no cached translation contradicts.
    AccessedOrDirty,
}

/// Makes a compiler, or says why there is none.
pub type MakeCompiler = Box<dyn Fn() -> Result<Box<dyn Compiler>, String>>;

/// The caches of a machine.
pub struct Engine {
    pub(crate) tlbs: Vec<Tlb>,
    pub(crate) blocks: Blocks,
    pub(crate) compiler: Option<Box<dyn Compiler>>,
    make_compiler: Option<MakeCompiler>,
    no_compiler: Option<String>,
    clock: Option<fn() -> u64>,
    /// How long compiling took, all together and at most.
    compiling_ns: (u64, u64),
    flags: Vec<u8>,
    /// For each page that is cached, where the TLBs have it: a hart, counted from 1, and a
    /// [`Place`], or [`MANY_PLACES`].
    places: Vec<u32>,
    /// Slow stores to each table page since it was last watched.
    table_stores: Vec<u8>,
    /// Lines that harts whose turn is over hold reservations in, and those broken meanwhile.
    pub(crate) reserved_lines: Vec<Option<u64>>,
    /// A store hit decoded code, or a page the machine wants reported: leave the block.
    pub(crate) leave_block: bool,
    /// Stores to reported pages by the instruction that ended the run, or is about to.
    pub(crate) reported: Vec<ReportedStore>,
}

/// A store to a page of [`Engine::report_stores`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportedStore {
    /// Physical address of the first byte.
    pub addr: u64,
    /// Number of bytes, at most eight.
    pub len: u8,
    /// What was there before.
    pub old: [u8; 8],
    /// Address of the instruction.
    pub pc: u64,
}

impl Engine {
    /// Empty caches for `harts` harts and `ram_pages` pages of RAM.
    pub fn new(harts: usize, ram_pages: u32) -> Self {
        Engine {
            tlbs: (0..harts).map(|_| Tlb::new()).collect(),
            blocks: Blocks::new(ram_pages),
            compiler: None,
            make_compiler: None,
            no_compiler: None,
            clock: None,
            compiling_ns: (0, 0),
            flags: vec![0; ram_pages as usize],
            places: vec![0; ram_pages as usize],
            table_stores: vec![0; ram_pages as usize],
            reserved_lines: vec![None; harts],
            leave_block: false,
            reported: Vec::new(),
        }
    }

    /// Has blocks compiled that were entered `heat` times, at least once. The compiler is made when
    /// the first is.
    pub fn compile_with(&mut self, make: MakeCompiler, heat: u16) {
        self.interpret();
        self.make_compiler = Some(make);
        self.blocks.heat = i32::from(heat.max(1));
    }

    /// Keeps at most so many translations of each of a hart's contexts.
    pub fn limit_translations(&mut self, entries_max: usize) {
        self.tlbs.iter_mut().for_each(|tlb| tlb.limit(entries_max));
    }

    /// Goes on with the interpreter alone.
    pub fn interpret(&mut self) {
        self.make_compiler = None;
        self.no_compiler = None;
        self.blocks.heat = 0;
        self.forget_code();
    }

    /// Gives the memory of compiled and decoded code, and of translations, back to the host; what is
    /// hot is made again.
    pub fn forget_code(&mut self) {
        // Never cleared first: after a fork(2) its memory is also another process's.
        self.compiler = None;
        self.compiling_ns = (0, 0);
        self.flush_code();
        self.blocks.give_back();
        self.tlbs.iter_mut().for_each(Tlb::give_back);
        self.forget_places();
        self.places = vec![0; self.places.len()];
    }

    /// What is compiled, if the compiler was made to count.
    pub fn regions(&self) -> Vec<Region> {
        self.compiler.as_ref().map_or_else(Vec::new, |compiler| compiler.regions())
    }

    /// What compiling cost since code was last given back.
    pub fn usage(&self) -> Usage {
        let usage = self.compiler.as_ref().map_or_else(Usage::default, |compiler| compiler.usage());
        Usage { total_ns: self.compiling_ns.0, longest_ns: self.compiling_ns.1, ..usage }
    }

    /// Gives the host's clock, in nanoseconds, for [`Engine::usage`] alone.
    pub fn set_clock(&mut self, clock: fn() -> u64) {
        self.clock = Some(clock);
    }

    /// Takes the reason why nothing is compiled although that was asked for, once it is known.
    pub fn take_no_compiler(&mut self) -> Option<String> {
        self.no_compiler.take()
    }

    /// Forgets all host addresses: to be called after RAM pages moved (freeze, restore).
    pub fn forget_pages(&mut self) {
        self.flush_translations();
        self.forget_places();
    }

    /// Stops the run with [`crate::Exit::Reported`] after each store to the page at `addr`.
    pub fn report_stores<B: Bus>(&mut self, bus: &mut B, addr: u64) {
        if let Some(page) = ram_page(addr, bus.ram_pages()) {
            self.watch(page, page_flag::REPORT);
        }
    }

    /// Ends all of [`Engine::report_stores`].
    pub fn report_no_stores(&mut self) {
        self.flags.iter_mut().for_each(|flags| *flags &= !page_flag::REPORT);
        self.reported.clear();
    }

    /// Takes the stores that ended a run with [`crate::Exit::Reported`]: those of one instruction,
    /// in the order of their addresses.
    pub fn take_reported(&mut self) -> Vec<ReportedStore> {
        std::mem::take(&mut self.reported)
    }

    /// Notes which instruction made the latest reported stores; false if there are none.
    pub(crate) fn settle_reported(&mut self, pc: u64) -> bool {
        self.reported.iter_mut().for_each(|store| store.pc = pc);
        !self.reported.is_empty()
    }

    /// Tells the caches that a device wrote to `page`, and breaks reservations in it.
    pub fn device_wrote(&mut self, page: RamPage, harts: &mut [Hart]) {
        let Some(flags) = self.flags.get_mut(page.0 as usize) else { return };
        // Its address may have changed with the write, so it is dropped from the TLBs.
        let changed = std::mem::replace(flags, *flags & (page_flag::REPORT | page_flag::RESERVED));
        if changed & page_flag::CODE != 0
            && let Some(code) = self.blocks.existing_page(page)
        {
            code.clear();
        }
        if changed & page_flag::TABLE != 0 {
            self.flush_translations();
        } else if changed & page_flag::CACHED != 0 {
            self.evict(page, Evicted::All);
        }
        for (hart, line) in harts.iter_mut().zip(&mut self.reserved_lines) {
            if hart.reservation.is_some_and(|r| r.addr / PAGE_BYTES == page.addr() / PAGE_BYTES) {
                hart.reservation = None;
                *line = None;
            }
        }
    }

    /// Ends a hart's turn: its reservation, if it has one, is watched from now on.
    pub fn end_turn<B: Bus>(&mut self, index: usize, hart: &Hart, bus: &mut B) {
        self.reserved_lines[index] = None;
        if let Some(r) = hart.reservation
            && let Some(page) = ram_page(r.addr, bus.ram_pages())
        {
            self.reserved_lines[index] = Some(r.addr / RESERVATION_LINE_BYTES);
            self.watch(page, page_flag::RESERVED);
        }
    }

    /// Begins a hart's turn: a reservation that was broken meanwhile is gone.
    pub fn begin_turn(&mut self, index: usize, hart: &mut Hart) {
        self.settle(index, hart);
        self.reserved_lines[index] = None;
    }

    /// Takes a reservation that was broken from a hart whose turn is over, so that the hart can be
    /// saved.
    pub fn settle(&mut self, index: usize, hart: &mut Hart) {
        if self.reserved_lines[index].is_none() {
            hart.reservation = None;
        }
    }

    pub(crate) fn is_watched(&self, page: RamPage) -> bool {
        self.flags[page.0 as usize] & page_flag::WATCHED != 0
    }

    /// Notes that the TLB of hart `index` is about to have an entry for `page` at a place.
    pub(crate) fn note_cached(&mut self, page: RamPage, index: usize, place: Place) {
        let at = (1 + index as u32) << PLACE_BITS | place.0;
        let (flags, places) = (&mut self.flags[page.0 as usize], &mut self.places[page.0 as usize]);
        if *flags & page_flag::CACHED == 0 {
            *flags |= page_flag::CACHED;
            *places = at;
        } else if *places != at {
            *places = MANY_PLACES;
        }
    }

    /// Drops what the TLBs have of a page that is cached.
    fn evict(&mut self, page: RamPage, which: Evicted) {
        let places = self.places[page.0 as usize];
        if places == MANY_PLACES {
            self.tlbs.iter_mut().for_each(|tlb| tlb.evict(page, which, None));
        } else {
            let index = (places >> PLACE_BITS) as usize - 1;
            let place = Place(places & ((1 << PLACE_BITS) - 1));
            self.tlbs[index].evict(page, which, Some(place));
        }
    }

    /// Has stores to a page take the slow path from now on.
    pub(crate) fn watch(&mut self, page: RamPage, reason: u8) {
        let flags = &mut self.flags[page.0 as usize];
        if *flags & reason != 0 {
            return;
        }
        let evict = *flags & page_flag::WATCHED == 0 && *flags & page_flag::CACHED != 0;
        *flags |= reason;
        if reason == page_flag::TABLE {
            self.table_stores[page.0 as usize] = 0;
        }
        if evict {
            self.evict(page, Evicted::Write);
        }
    }

    /// Notes that a watched page table has entries of another level than the last.
    pub(crate) fn note_upper_table(&mut self, page: RamPage) {
        self.flags[page.0 as usize] |= page_flag::UPPER_TABLE;
    }

    /// Host address of a page for writing; forgets the address it had for reading if that changes.
    pub(crate) fn page_mut<B: Bus>(&mut self, bus: &mut B, page: RamPage) -> *mut u8 {
        let flags = &mut self.flags[page.0 as usize];
        if *flags & page_flag::CACHED == 0 {
            return bus.page_mut(page);
        }
        let before = bus.page(page);
        let host = bus.page_mut(page);
        if before != host.cast_const() {
            *flags &= !page_flag::CACHED;
            self.evict(page, Evicted::All);
        }
        host
    }

    /// Drops all translations of all harts; the code stays.
    pub(crate) fn flush_translations(&mut self) {
        self.tlbs.iter_mut().for_each(Tlb::flush);
    }

    /// Notes that no page is in any TLB. Otherwise the next write to each, which moves it after a
    /// freeze, would look for it in all of them. A byte for each page is little enough beside that,
    /// but not beside a flush that the guest asks for.
    fn forget_places(&mut self) {
        self.flags.iter_mut().for_each(|flags| *flags &= !page_flag::CACHED);
    }

    /// Drops all decoded code, and the translations that lead to it.
    pub(crate) fn flush_code(&mut self) {
        self.flush_translations();
        self.blocks.clear();
        if let Some(compiler) = &mut self.compiler {
            compiler.clear();
        }
        self.flags.iter_mut().for_each(|f| *f &= !page_flag::CODE);
    }

    /// The table of what is compiled of a page, for its entries in the TLBs.
    pub(crate) fn entries(&self, code: *const CodePage) -> *const EntryTable {
        // SAFETY: the caller has the address of a live page.
        match (unsafe { (*code).native }, &self.compiler) {
            (Some(entries), _) => entries.as_ptr(),
            (None, Some(compiler)) => compiler.no_entries(),
            (None, None) => std::ptr::null(),
        }
    }

    /// Makes the compiler, if that was not tried yet.
    fn ready_compiler(&mut self) {
        if self.compiler.is_some() {
            return;
        }
        match self.make_compiler.as_ref().map(|make| make()) {
            Some(Ok(compiler)) => {
                self.compiler = Some(compiler);
                // Their entries for fetching lead to no table yet.
                self.flush_translations();
            }
            Some(Err(reason)) => {
                self.no_compiler = Some(reason);
                self.make_compiler = None;
                self.blocks.heat = 0;
            }
            None => {}
        }
    }

    /// Compiles what begins at `offset` of a page; `behind` begins the page that is fetched from
    /// behind it, if that is known. If there is no room, all code is forgotten as
    /// soon as nobody is inside any.
    pub(crate) fn compile<B: Bus>(
        &mut self,
        bus: &B,
        code: *mut CodePage,
        offset: u16,
        behind: Option<u16>,
    ) {
        self.ready_compiler();
        let Some(compiler) = &mut self.compiler else { return };
        let started_ns = self.clock.map(|clock| clock());
        // SAFETY: the caller has the address of a live page that nobody else refers to now.
        let code_page = unsafe { &mut *code };
        let compiled = (|| {
            if code_page.native.is_none() {
                let entries = compiler.new_entries()?;
                // SAFETY: a table of the compiler's has all its entries.
                code_page.miss = unsafe { (*entries)[0] };
                code_page.native = NonNull::new(entries);
                self.tlbs.iter_mut().for_each(|tlb| tlb.set_entries(code, entries));
            }
            let entries = code_page.native.expect("made above");
            // SAFETY: the bus gives the address of a readable page, which nothing writes to now.
            let page = unsafe { &*bus.page(code_page.page).cast::<[u8; PAGE_BYTES as usize]>() };
            let ran = &code_page.entry;
            // SAFETY: tables live until `clear`, and this one is not written to now.
            let (number, entries) = (code_page.page, unsafe { entries.as_ref() });
            compiler.compile(&Source { number, page, behind, offset, ran, entries })
        })();
        let Ok(compiled) = compiled else {
            self.blocks.fill_up();
            return;
        };
        for (from, to) in compiled.ranges {
            code_page.cover(from.into(), u64::from(to - from));
        }
        let entries = code_page.native.expect("made above").as_ptr();
        for (offset, entry) in compiled.entries {
            let slot = usize::from(offset) / 2;
            // SAFETY: tables live until `clear`; an offset of a page is half its size in slots.
            unsafe { (&mut *entries)[slot] = entry };
            self.blocks.mark_native(code_page.entry[slot]);
        }
        if let (Some(clock), Some(started_ns)) = (self.clock, started_ns) {
            let took_ns = clock().saturating_sub(started_ns);
            let (total_ns, longest_ns) = self.compiling_ns;
            self.compiling_ns = (total_ns + took_ns, longest_ns.max(took_ns));
        }
    }

    /// Reads the aligned eight bytes at `addr`, which is in RAM.
    pub(crate) fn read_ram<B: Bus>(&mut self, bus: &B, addr: u64) -> u64 {
        let page = ram_page(addr, bus.ram_pages()).expect("the caller looked");
        let at = (addr & (PAGE_BYTES - 1) & !7) as usize;
        // SAFETY: `at + 8 <= 4096`, and the bus gave the address of a readable page.
        u64::from_le(unsafe { bus.page(page).add(at).cast::<u64>().read_unaligned() })
    }

    /// Stores the low `size` bytes of `value` at `addr`, which is in RAM, inside one page and
    /// already checked, and drops what the store makes stale.
    pub(crate) fn store_ram<B: Bus>(
        &mut self,
        bus: &mut B,
        addr: u64,
        size: u8,
        value: u64,
        kind: StoreKind,
    ) {
        let page = ram_page(addr, bus.ram_pages()).expect("the caller looked");
        let offset = addr & (PAGE_BYTES - 1);
        let size = u64::from(size);
        debug_assert!(offset + size <= PAGE_BYTES);
        let host = self.page_mut(bus, page);
        if self.is_watched(page) {
            // SAFETY: `host` is the page's address, unshared.
            let bytes = unsafe { std::slice::from_raw_parts(host, PAGE_BYTES as usize) };
            self.note_store(bytes, page, offset, size, kind);
        }
        let bytes = value.to_le_bytes();
        // SAFETY: `offset + size <= 4096` and `size <= 8`; `host` is writable.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), host.add(offset as usize), size as usize);
        }
    }

    /// Before `len` bytes at `offset` of a watched page change (`bytes` is the page).
    pub(crate) fn note_store(
        &mut self,
        bytes: &[u8],
        page: RamPage,
        offset: u64,
        len: u64,
        kind: StoreKind,
    ) {
        let index = page.0 as usize;
        let flags = self.flags[index];
        if flags & page_flag::TABLE != 0 && kind == StoreKind::Instruction {
            self.table_stores[index] = self.table_stores[index].saturating_add(1);
            let (first, last) = (offset & !7, (offset + len - 1) & !7);
            let entries = (first..=last).step_by(8).map(|at| at as usize);
            let valid = entries.filter(|at| bytes[*at] & pte::VALID as u8 != 0);
            // Entries for data that are all of one level are dropped one by one.
            let drops_all = |at: usize| {
                bytes[at] & pte::EXECUTE as u8 != 0 || flags & page_flag::UPPER_TABLE != 0
            };
            if self.table_stores[index] > TABLE_STORES_MAX || valid.clone().any(drops_all) {
                // Without any translation left, nothing depends on the page.
                self.flush_translations();
                self.flags[index] &= !(page_flag::TABLE | page_flag::UPPER_TABLE);
                self.leave_block = true;
            } else {
                for at in valid {
                    self.tlbs.iter_mut().for_each(|tlb| tlb.evict_leaf(at / 8));
                }
            }
        }
        if flags & page_flag::CODE != 0
            && let Some(code) = self.blocks.existing_page(page)
            && code.covers(offset, len)
        {
            code.clear();
            self.flags[index] &= !page_flag::CODE;
            self.leave_block = true;
        }
        if flags & page_flag::RESERVED != 0 {
            self.break_reservations(page, offset, len);
        }
        // Walks set bits for instructions that never get to leave their block, or have none yet.
        if flags & page_flag::REPORT != 0 && kind == StoreKind::Instruction {
            self.leave_block = true;
            let mut old = [0; 8];
            let range = offset as usize..(offset + len) as usize;
            old[..range.len()].copy_from_slice(&bytes[range]);
            let addr = page.addr() + offset;
            self.reported.push(ReportedStore { addr, len: len as u8, old, pc: 0 });
        }
    }

    fn break_reservations(&mut self, page: RamPage, offset: u64, len: u64) {
        let line = |at| (page.addr() + at) / RESERVATION_LINE_BYTES;
        let stored = line(offset)..=line(offset + len - 1);
        for reserved in &mut self.reserved_lines {
            if reserved.is_some_and(|line| stored.contains(&line)) {
                *reserved = None;
            }
        }
        let page_number = page.addr() / RESERVATION_LINE_BYTES;
        let lines = page_number..page_number + PAGE_BYTES / RESERVATION_LINE_BYTES;
        if !self.reserved_lines.iter().flatten().any(|line| lines.contains(line)) {
            self.flags[page.0 as usize] &= !page_flag::RESERVED;
        }
    }
}

#[cfg(test)]
mod tests;
