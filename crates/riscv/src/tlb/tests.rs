//! What is kept from one address space to the next, and what is forgotten.

use super::*;

const VA: u64 = 0x4000_1000;
const PAGE: RamPage = RamPage(5);

/// Where a page would be in the host; never looked at.
fn host(n: u64) -> *mut u8 {
    (0x7f00_0000_0000 + n * PAGE_BYTES) as *mut u8
}

fn write(tlb: &mut Tlb, satp: u64, n: u64) {
    tlb.switch(satp);
    tlb.tables(Context::User).insert_write(VA, PAGE, host(n));
}

fn is_known(tlb: &mut Tlb, satp: u64) -> bool {
    tlb.switch(satp);
    tlb.tables(Context::User).write_pa(VA).is_some()
}

#[test]
fn an_address_space_finds_its_translations_again() {
    let mut tlb = Tlb::new();
    write(&mut tlb, 1, 1);
    assert!(!is_known(&mut tlb, 2), "another space's");
    assert!(is_known(&mut tlb, 1));
    tlb.tables(Context::Supervisor).insert_read(VA, PAGE, host(1));
    assert_eq!(tlb.tables(Context::User).read_pa(VA), None, "another context's");
    assert_eq!(tlb.tables(Context::Supervisor).read_pa(VA + 8), Some(PAGE.addr() + 8));
    tlb.flush();
    assert!(!is_known(&mut tlb, 1));
}

#[test]
fn one_address_space_too_many_costs_another_its_own() {
    let mut tlb = Tlb::new();
    let satps = 1..=SPACES_MAX as u64 * 3;
    for satp in satps.clone() {
        write(&mut tlb, satp, satp);
        // Nobody sees what a space had whose place this one took.
        assert_eq!(tlb.tables(Context::Supervisor).read_pa(VA), None);
        tlb.tables(Context::Supervisor).insert_read(VA, PAGE, host(satp));
    }
    let newest = *satps.end();
    assert!(is_known(&mut tlb, newest) && is_known(&mut tlb, newest - 1));
    assert!(tlb.spaces.len() == SPACES_MAX);
}

#[test]
fn a_page_is_evicted_where_it_is() {
    for place_is_known in [true, false] {
        let mut tlb = Tlb::new();
        write(&mut tlb, 1, 1);
        let place = tlb.place(Context::User, VA);
        tlb.switch(2);
        tlb.tables(Context::User).insert_write(VA, RamPage(6), host(2));
        tlb.evict(PAGE, Evicted::Write, place_is_known.then_some(place));
        assert!(!is_known(&mut tlb, 1), "{place_is_known}");
        assert!(is_known(&mut tlb, 2), "{place_is_known}: another page's");
    }
}

#[test]
fn an_entry_of_a_page_table_is_forgotten_in_all_tables() {
    let alike = |n: u64| VA + n * TABLE_ENTRIES as u64 * PAGE_BYTES;
    let mut tlb = Tlb::new();
    for satp in 0..3 {
        tlb.switch(satp);
        for context in [Context::User, Context::Supervisor] {
            let tables = tlb.tables(context);
            (0..4).for_each(|n| tables.insert_read(alike(n), PAGE, host(n)));
            (0..4).for_each(|n| tables.insert_write(alike(n), PAGE, host(n)));
            tables.insert_read(VA + PAGE_BYTES, PAGE, host(9));
        }
    }
    tlb.evict_leaf((VA / PAGE_BYTES) as usize % TABLE_ENTRIES);
    for satp in 0..3 {
        tlb.switch(satp);
        for context in [Context::User, Context::Supervisor] {
            let tables = tlb.tables(context);
            let gone = |n| tables.read_pa(alike(n)).or(tables.write_pa(alike(n))).is_none();
            assert!((0..4).all(gone), "{satp} {context:?}");
            assert!(tables.read_pa(VA + PAGE_BYTES).is_some(), "another entry's");
        }
    }
}

/// Compiled code takes an address for a hit if it differs from a tag by less than a page.
#[test]
fn an_empty_entry_is_no_page_of_any_address_that_looks_at_it() {
    let mut tlb = Tlb::new();
    let tables = tlb.tables(Context::Machine);
    for page in 0..2 * DATA_ENTRIES as u64 {
        for va in [page * PAGE_BYTES, (page * PAGE_BYTES).wrapping_neg()] {
            let index = Tables::data_index(va);
            assert!(va ^ tables.read[index].tag >= PAGE_BYTES, "{va:#x}");
            assert!(va ^ tables.write[index].tag >= PAGE_BYTES, "{va:#x}");
        }
    }
}

/// Few entries are flushed one by one, many all together; nothing is left either way.
#[test]
fn flushing_forgets_few_and_many() {
    let room = FILLED_MAX as u64;
    for count in [1, room / 2, room / 2 + 1, 3 * DATA_ENTRIES as u64] {
        let mut tlb = Tlb::new();
        for n in 0..count {
            let tables = tlb.tables(Context::User);
            tables.insert_read(n * PAGE_BYTES, PAGE, host(n));
            tables.insert_write(n * PAGE_BYTES, PAGE, host(n));
        }
        tlb.flush();
        let tables = tlb.tables(Context::User);
        for va in (0..count).map(|n| n * PAGE_BYTES) {
            assert!(tables.read_pa(va).is_none() && tables.write_pa(va).is_none(), "{count}");
        }
    }
}

/// With room for fewer, older ones go; what is there is right.
#[test]
fn a_limit_keeps_few() {
    let mut tlb = Tlb::new();
    tlb.limit(3);
    for n in 1..20 {
        let tables = tlb.tables(Context::User);
        tables.insert_read(n * PAGE_BYTES, RamPage(n as u32), host(n));
        assert_eq!(tables.read_pa(n * PAGE_BYTES), Some(RamPage(n as u32).addr()));
        let known = (1..=n).filter(|page| tables.read_pa(page * PAGE_BYTES).is_some()).count();
        assert!(known <= 3, "{known} after {n}");
    }
}
