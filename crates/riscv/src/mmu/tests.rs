//! Translation and protection: what is seen after each kind of change, without SFENCE.VMA.

mod protection;

use crate::bus::{PAGE_BYTES, RAM_BASE};
use crate::csr::{envcfg, mstatus};
use crate::hart::Privilege::{self, Machine, Supervisor, User};
use crate::testing::asm::*;
use crate::testing::{CODE, DATA, HANDLER, ROOT, Rig, leaf_entry, pte};
use crate::trap::Cause;

/// Flags of page-table entries.
const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const X: u64 = 8;
const U: u64 = 0x10;
const A: u64 = 0x40;
const D: u64 = 0x80;
const RWX: u64 = R | W | X;
const ALL: u64 = V | RWX | A | D;

/// Where the page under test is mapped.
const VA: u64 = 0x5000;

/// What one access does: nothing wrong, or an exception.
type Outcome = Result<(), Cause>;

/// Runs one instruction at `VA` or with it as base address and says what happened.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Try {
    Load,
    Store,
    Fetch,
}

fn attempt(rig: &mut Rig, what: Try, va: u64) -> Outcome {
    let mode = rig.hart().mode;
    rig.hart().set_reg(10, va);
    let at = match what {
        Try::Load => CODE,
        Try::Store => CODE + 4,
        Try::Fetch => va,
    };
    rig.hart().set_pc(at);
    rig.run(1);
    if rig.harts[0].pc() != HANDLER {
        return Ok(());
    }
    let (cause, tval) = (rig.harts[0].csr.mcause, rig.harts[0].csr.mtval);
    assert_eq!(tval, va, "tval of {what:?}");
    rig.hart().mode = mode;
    let causes = [
        Cause::LoadPage,
        Cause::StorePage,
        Cause::InstructionPage,
        Cause::LoadAccess,
        Cause::StoreAccess,
        Cause::InstructionAccess,
    ];
    Err(causes.into_iter().find(|c| *c as u64 == cause).expect("a memory fault"))
}

/// Code that loads and stores through `a0`, and pages to map.
fn rig(mode: Privilege) -> Rig {
    let mut rig = Rig::new(&[ld(T0, A0, 0), sd(A1, A0, 0)]);
    rig.poke(DATA, &bytes(&[NOP, SPIN]));
    rig.enable_paging(mode);
    if mode == User {
        // The code and the handler are user pages then.
        rig.poke_u64(ROOT + 2 * 8, pte(RAM_BASE, 0xdf));
    }
    rig
}

const TRIES: [Try; 3] = [Try::Load, Try::Store, Try::Fetch];
const PAGE: [Outcome; 3] =
    [Err(Cause::LoadPage), Err(Cause::StorePage), Err(Cause::InstructionPage)];

#[test]
fn leaves_allow_what_they_say() {
    let check = |mode, status: u64, flags: u64, allowed: [bool; 3]| {
        for (i, what) in TRIES.into_iter().enumerate() {
            let mut rig = rig(mode);
            rig.map(VA, DATA, flags);
            rig.hart().csr.mstatus |= status;
            let expected = if allowed[i] { Ok(()) } else { PAGE[i] };
            let found = attempt(&mut rig, what, VA);
            assert_eq!(found, expected, "{mode:?} {status:#x} {flags:#x} {what:?}");
            // Once more, with whatever is cached now.
            assert_eq!(attempt(&mut rig, what, VA), expected, "again");
        }
    };
    let (no, yes) = (false, true);
    check(Supervisor, 0, ALL, [yes, yes, yes]);
    check(Supervisor, 0, ALL & !V, [no, no, no]);
    check(Supervisor, 0, V | R | A | D, [yes, no, no]);
    check(Supervisor, 0, V | X | A | D, [no, no, yes]);
    check(Supervisor, mstatus::MXR, V | X | A | D, [yes, no, yes]);
    check(Supervisor, 0, V | W | A | D, [no, no, no]);
    check(Supervisor, 0, V | W | X | A | D, [no, no, no]);
    check(Supervisor, 0, ALL | U, [no, no, no]);
    check(Supervisor, mstatus::SUM, ALL | U, [yes, yes, no]);
    check(User, 0, ALL | U, [yes, yes, yes]);
    check(User, mstatus::SUM, ALL, [no, no, no]);
    // Reserved bits, and those of extensions that do not exist (Svnapot, Svpbmt).
    for bit in 54..64 {
        check(Supervisor, 0, ALL | 1 << bit, [no, no, no]);
    }
    // A pointer to a table, where there can be none.
    check(Supervisor, 0, V, [no, no, no]);
    // Bits for software.
    check(Supervisor, 0, ALL | 3 << 8, [yes, yes, yes]);
}

#[test]
fn accessed_and_dirty_are_set_by_hardware() {
    let check = |what, before: u64, after: u64| {
        let mut rig = rig(Supervisor);
        rig.map(VA, DATA, before);
        assert_eq!(attempt(&mut rig, what, VA), Ok(()));
        assert_eq!(rig.peek(leaf_entry(VA)), pte(DATA, after), "{what:?} of {before:#x}");
    };
    check(Try::Load, V | RWX, V | RWX | A);
    check(Try::Fetch, V | RWX, V | RWX | A);
    check(Try::Store, V | RWX, V | RWX | A | D);
    check(Try::Store, V | RWX | A, V | RWX | A | D);
    check(Try::Load, ALL, ALL);
}

#[test]
fn a_load_does_not_hide_that_a_later_store_makes_the_page_dirty() {
    let mut rig = rig(Supervisor);
    rig.map(VA, DATA, V | RWX);
    for (what, after) in [(Try::Load, A), (Try::Store, A | D)] {
        assert_eq!(attempt(&mut rig, what, VA), Ok(()));
        assert_eq!(rig.peek(leaf_entry(VA)), pte(DATA, V | RWX | after));
    }
}

#[test]
fn without_svadu_the_guest_sets_accessed_and_dirty() {
    let check = |what, flags: u64, expected| {
        let mut rig = rig(Supervisor);
        rig.hart().csr.menvcfg &= !envcfg::ADUE;
        rig.map(VA, DATA, flags);
        assert_eq!(attempt(&mut rig, what, VA), expected, "{what:?} of {flags:#x}");
        assert_eq!(rig.peek(leaf_entry(VA)), pte(DATA, flags));
    };
    check(Try::Load, V | RWX, Err(Cause::LoadPage));
    check(Try::Load, V | RWX | A, Ok(()));
    check(Try::Store, V | RWX | A, Err(Cause::StorePage));
    check(Try::Fetch, V | RWX | D, Err(Cause::InstructionPage));
    check(Try::Store, ALL, Ok(()));
}

#[test]
fn non_leaf_entries_have_no_accessed_dirty_or_user_bit() {
    for flags in [V | A, V | D, V | U] {
        let mut rig = rig(Supervisor);
        rig.map(VA, DATA, ALL);
        rig.poke_u64(ROOT, pte(ROOT + PAGE_BYTES, flags));
        assert_eq!(attempt(&mut rig, Try::Load, VA), Err(Cause::LoadPage), "{flags:#x}");
    }
}

#[test]
fn superpages_are_aligned() {
    let check = |pa: u64, expected: Outcome| {
        let mut rig = rig(Supervisor);
        rig.map(VA, DATA, ALL);
        // A megapage of 2 MiB in place of the table.
        rig.poke_u64(ROOT + PAGE_BYTES, pte(pa, ALL));
        assert_eq!(attempt(&mut rig, Try::Load, 0x8000), expected, "{pa:#x}");
        if expected.is_ok() {
            assert_eq!(rig.harts[0].reg(5), rig.peek(DATA));
        }
    };
    check(RAM_BASE, Ok(()));
    check(RAM_BASE + PAGE_BYTES, Err(Cause::LoadPage));
}

#[test]
fn addresses_are_canonical() {
    let check = |va: u64, expected: Outcome| {
        for (what, fault) in TRIES.into_iter().zip(PAGE) {
            let mut rig = rig(Supervisor);
            // The highest gigapage is RAM's, too.
            rig.poke_u64(ROOT + 511 * 8, pte(RAM_BASE, ALL));
            let expected = if expected.is_ok() { Ok(()) } else { fault };
            assert_eq!(attempt(&mut rig, what, va), expected, "{what:?} {va:#x}");
        }
    };
    check(0xffff_ffff_c000_8000, Ok(()));
    check(0xffff_ff7f_c000_8000, PAGE[0]);
    check(0x0000_0040_0000_8000, PAGE[0]);
    check(0x7fff_ffff_c000_8000, PAGE[0]);
}

#[test]
fn tables_outside_ram_are_access_faults() {
    for (what, cause) in
        TRIES.into_iter().zip([Cause::LoadAccess, Cause::StoreAccess, Cause::InstructionAccess])
    {
        for table in [0, 0x1000_0000, 0xff_ffff_ffff_f000] {
            let mut rig = rig(Supervisor);
            rig.poke_u64(ROOT, pte(table, V));
            assert_eq!(attempt(&mut rig, what, VA), Err(cause), "{what:?} {table:#x}");
        }
    }
}

/// Stores `entry` at `addr` with an instruction, as a guest does, with no fence behind it.
fn guest_stores(rig: &mut Rig, addr: u64, entry: u64) {
    let a1 = rig.harts[0].reg(11);
    rig.hart().set_reg(11, entry);
    assert_eq!(attempt(rig, Try::Store, addr), Ok(()));
    rig.hart().set_reg(11, a1);
}

#[test]
fn edits_of_tables_are_seen_at_once() {
    const OTHER: u64 = DATA + PAGE_BYTES;
    // An edit of one entry; what load, store and fetch do then; where they go.
    let check = |addr: u64, entry: u64, allowed: [bool; 3], goes_to: u64| {
        for (i, what) in TRIES.into_iter().enumerate() {
            let mut rig = rig(Supervisor);
            rig.map(VA, DATA, ALL);
            // Nothing but code everywhere, and that is what stores store.
            rig.poke(OTHER, &bytes(&[NOP, NOP]));
            rig.poke(RAM_BASE + VA, &bytes(&[NOP, NOP]));
            rig.hart().set_reg(11, u64::from(NOP) << 32 | u64::from(NOP));
            for warm in TRIES {
                assert_eq!(attempt(&mut rig, warm, VA), Ok(()));
            }
            guest_stores(&mut rig, addr, entry);
            rig.hart().set_reg(11, 0x77);
            let expected = if allowed[i] { Ok(()) } else { PAGE[i] };
            let found = attempt(&mut rig, what, VA);
            assert_eq!(found, expected, "{what:?} after {entry:#x} at {addr:#x}");
            if allowed[i] && what == Try::Store {
                assert_eq!(rig.peek(goes_to), 0x77);
            }
            if allowed[i] && what == Try::Load {
                assert_eq!(rig.harts[0].reg(5), rig.peek(goes_to));
            }
        }
    };
    let (no, yes) = (false, true);
    let leaf = leaf_entry(VA);
    check(leaf, pte(OTHER, ALL), [yes, yes, yes], OTHER);
    check(leaf, pte(DATA, ALL & !W), [yes, no, yes], DATA);
    check(leaf, pte(DATA, ALL & !X), [yes, yes, no], DATA);
    check(leaf, pte(DATA, ALL | U), [no, no, no], DATA);
    check(leaf, 0, [no, no, no], DATA);
    // The entry above becomes a megapage, or goes away; then the root's.
    let megapage_offset = RAM_BASE + VA;
    check(ROOT + PAGE_BYTES, pte(RAM_BASE, ALL), [yes, yes, yes], megapage_offset);
    check(ROOT + PAGE_BYTES, 0, [no, no, no], DATA);
    check(ROOT, 0, [no, no, no], DATA);
    check(ROOT, pte(RAM_BASE, ALL), [yes, yes, yes], megapage_offset);
}

#[test]
fn an_entry_made_valid_is_seen_at_once() {
    let mut rig = rig(Supervisor);
    rig.map(0x6000, DATA, ALL);
    assert_eq!(attempt(&mut rig, Try::Load, VA), Err(Cause::LoadPage));
    guest_stores(&mut rig, leaf_entry(VA), pte(DATA, ALL));
    assert_eq!(attempt(&mut rig, Try::Load, VA), Ok(()));
}

#[test]
fn a_device_and_another_hart_may_edit_tables() {
    for by_device in [true, false] {
        let mut rig = Rig::with_harts(2, &[ld(T0, A0, 0), sd(A1, A0, 0)]);
        rig.enable_paging(Supervisor);
        rig.map(VA, DATA, ALL);
        assert_eq!(attempt(&mut rig, Try::Load, VA), Ok(()));
        if by_device {
            rig.device_writes(leaf_entry(VA), 0);
        } else {
            rig.harts[1].set_reg(10, leaf_entry(VA));
            rig.harts[1].set_pc(CODE + 4);
            rig.run_hart(1, 1);
        }
        assert_eq!(attempt(&mut rig, Try::Load, VA), Err(Cause::LoadPage));
    }
}

#[test]
fn clearing_accessed_and_dirty_has_them_set_again() {
    let mut rig = rig(Supervisor);
    rig.map(VA, DATA, V | RWX);
    for _ in 0..3 {
        assert_eq!(attempt(&mut rig, Try::Store, VA), Ok(()));
        assert_eq!(rig.peek(leaf_entry(VA)), pte(DATA, ALL));
        guest_stores(&mut rig, leaf_entry(VA), pte(DATA, V | RWX));
    }
}

#[test]
fn switching_tables_needs_no_fence() {
    const SECOND: u64 = ROOT + 8 * PAGE_BYTES;
    let mut rig = rig(Supervisor);
    rig.map(VA, DATA, ALL);
    rig.poke_u64(SECOND + 2 * 8, pte(RAM_BASE, ALL));
    rig.poke(HANDLER + 0x100, &bytes(&[csrrw(ZERO, 0x180, A1)]));
    let satp = |root: u64| 8 << 60 | root >> 12;
    for (root, expected) in [
        (ROOT, Ok(())),
        (SECOND, Err(Cause::LoadPage)),
        (ROOT, Ok(())),
        (SECOND, Err(Cause::LoadPage)),
    ] {
        rig.hart().set_reg(11, satp(root));
        rig.hart().set_pc(HANDLER + 0x100);
        rig.run(1);
        assert_eq!(rig.harts[0].csr.satp, satp(root));
        assert_eq!(attempt(&mut rig, Try::Load, VA), expected, "root {root:#x}");
    }
}

#[test]
fn a_former_table_is_ordinary_memory() {
    let mut rig = rig(Supervisor);
    rig.map(VA, DATA, ALL);
    assert_eq!(attempt(&mut rig, Try::Load, VA), Ok(()));
    // Unhook the leaf table, then fill all of it with data that would be valid entries.
    guest_stores(&mut rig, ROOT + PAGE_BYTES, 0);
    let table = leaf_entry(0);
    for at in (0..PAGE_BYTES).step_by(8) {
        guest_stores(&mut rig, table + at, at | 0xff);
    }
    for at in (0..PAGE_BYTES).step_by(8) {
        assert_eq!(rig.peek(table + at), at | 0xff);
    }
    assert_eq!(attempt(&mut rig, Try::Load, VA), Err(Cause::LoadPage));
    // And hook it up again.
    guest_stores(&mut rig, leaf_entry(VA), pte(DATA, ALL));
    guest_stores(&mut rig, ROOT + PAGE_BYTES, pte(table, V));
    assert_eq!(attempt(&mut rig, Try::Load, VA), Ok(()));
}

#[test]
fn mprv_loads_and_stores_as_the_mode_before() {
    let check = |mpp: Privilege, sum: u64, flags: u64, expected: [Outcome; 2]| {
        for (what, expected) in [Try::Load, Try::Store].into_iter().zip(expected) {
            let mut rig = rig(Machine);
            rig.map(VA, DATA, flags);
            let status = mstatus::MPRV | sum | (mpp as u64) << mstatus::MPP_SHIFT;
            rig.hart().csr.mstatus |= status;
            rig.hart().set_reg(10, VA);
            rig.hart().set_pc(if what == Try::Load { CODE } else { CODE + 4 });
            rig.run(1);
            let trapped = rig.harts[0].pc() == HANDLER;
            assert_eq!(trapped, expected.is_err(), "{mpp:?} {sum:#x} {flags:#x} {what:?}");
            if let Err(cause) = expected {
                assert_eq!(rig.harts[0].csr.mcause, cause as u64);
            }
        }
    };
    check(Supervisor, 0, ALL, [Ok(()), Ok(())]);
    check(Supervisor, 0, ALL | U, [PAGE[0], PAGE[1]]);
    check(Supervisor, mstatus::SUM, ALL | U, [Ok(()), Ok(())]);
    check(User, 0, ALL, [PAGE[0], PAGE[1]]);
    check(User, 0, ALL | U, [Ok(()), Ok(())]);
    check(User, 0, V | R | U | A, [Ok(()), PAGE[1]]);
    // In M-mode itself `VA` is a physical address, where nothing is.
    check(Machine, 0, ALL, [Err(Cause::LoadAccess), Err(Cause::StoreAccess)]);
}

#[test]
fn sv48_is_a_level_deeper_and_only_where_offered() {
    const TOP: u64 = ROOT + 8 * PAGE_BYTES;
    let satp = 9 << 60 | TOP >> 12;
    for offered in [false, true] {
        let mut rig = rig(Supervisor);
        rig.map(VA, DATA, ALL);
        rig.poke_u64(TOP, pte(ROOT, V));
        rig.poke_u64(TOP + 8, pte(ROOT, V));
        if offered {
            rig.hart().offer_sv48();
        }
        let before = rig.harts[0].csr.satp;
        rig.poke(HANDLER + 0x100, &bytes(&[csrrw(ZERO, 0x180, A1)]));
        rig.hart().set_reg(11, satp);
        rig.hart().set_pc(HANDLER + 0x100);
        rig.run(1);
        assert_eq!(rig.harts[0].csr.satp, if offered { satp } else { before });
        let deep = 1 << 39 | VA;
        let expected = if offered { Ok(()) } else { Err(Cause::LoadPage) };
        assert_eq!(attempt(&mut rig, Try::Load, deep), expected);
        assert_eq!(attempt(&mut rig, Try::Load, VA), Ok(()));
        assert_eq!(attempt(&mut rig, Try::Load, 1 << 47), Err(Cause::LoadPage));
    }
}
