//! Physical memory protection, to the four bytes.

use super::*;
use crate::pmp::Pmp;

/// NA4, locked or not, and TOR configurations.
const NA4: u8 = 2 << 3;
const TOR: u8 = 1 << 3;

/// Lets U-mode do all but what `entries` (configuration and address each) say first.
fn protect(rig: &mut Rig, entries: &[(u8, u64)]) {
    let mut pmp = Pmp::default();
    let mut config = 0;
    for (i, (byte, addr)) in entries.iter().enumerate() {
        pmp.set_addr_csr(i, addr >> 2);
        config |= u64::from(*byte) << (8 * i);
    }
    pmp.set_addr_csr(entries.len(), u64::MAX);
    config |= 0x1f << (8 * entries.len());
    pmp.set_config_csr(0, config);
    rig.hart().pmp = pmp;
}

#[test]
fn protection_within_a_page_is_exact_for_data() {
    let check = |what, addr: u64, size: u32, expected: Outcome| {
        let mut rig = Rig::new(&[load(size, T0, A0, 0), store(size, A1, A0, 0)]);
        // Four bytes at DATA + 0x100 are read-only, four at 0x200 are nobody's.
        protect(&mut rig, &[(NA4 | 1, DATA + 0x100), (NA4, DATA + 0x200)]);
        rig.hart().mode = User;
        // Warm up what could be cached of the page.
        assert_eq!(attempt(&mut rig, Try::Load, DATA), Ok(()));
        assert_eq!(attempt(&mut rig, Try::Store, DATA), Ok(()));
        let found = attempt(&mut rig, what, addr);
        assert_eq!(found, expected, "{what:?} {addr:#x} of {size}");
    };
    let (load, store) = (Err(Cause::LoadAccess), Err(Cause::StoreAccess));
    check(Try::Load, DATA + 0x100, 2, Ok(()));
    check(Try::Store, DATA + 0x100, 2, store);
    check(Try::Store, DATA + 0x103, 0, store);
    check(Try::Store, DATA + 0x104, 2, Ok(()));
    check(Try::Store, DATA + 0xfc, 2, Ok(()));
    check(Try::Load, DATA + 0x200, 0, load);
    check(Try::Load, DATA + 0x204, 2, Ok(()));
    // Partly covered: fails whatever the parts allow.
    check(Try::Load, DATA + 0x100, 3, load);
    check(Try::Load, DATA + 0xfe, 2, load);
    check(Try::Store, DATA + 0x1fc, 3, store);
}

#[test]
fn protection_within_a_page_is_exact_for_code() {
    // U-mode may execute up to `end`; what lies behind faults when it is reached.
    let check = |warm: bool, end: u64, tval: u64| {
        let mut rig = Rig::new(&[addi(T0, T0, 1), addi(T0, T0, 1), jal(ZERO, 8), NOP, NOP, NOP]);
        rig.poke(CODE + 24, &bytes(&[SPIN]));
        if warm {
            // All of it is decoded and linked already, for M-mode.
            rig.run(8);
        }
        protect(&mut rig, &[(TOR | 5, end), (TOR, CODE + PAGE_BYTES)]);
        rig.hart().mode = User;
        rig.hart().set_pc(CODE);
        assert_eq!(rig.expect_trap(Cause::InstructionAccess).0, tval, "end {end:#x}");
    };
    for warm in [false, true] {
        check(warm, CODE + 4, CODE + 4);
        check(warm, CODE + 8, CODE + 8);
        check(warm, CODE + 12, CODE + 16);
        check(warm, CODE + 20, CODE + 20);
    }
}

#[test]
fn both_halves_of_an_instruction_must_be_executable() {
    let mut rig = Rig::new(&[]);
    rig.poke(CODE, &C_NOP.to_le_bytes());
    rig.poke(CODE + 2, &NOP.to_le_bytes());
    protect(&mut rig, &[(TOR | 5, CODE + 4), (TOR, CODE + PAGE_BYTES)]);
    rig.hart().mode = User;
    let (tval, epc) = rig.expect_trap(Cause::InstructionAccess);
    assert_eq!((tval, epc), (CODE + 4, CODE + 2));
}

#[test]
fn protection_binds_page_walks_and_locked_entries_bind_machine_mode() {
    let mut walker = rig(Supervisor);
    walker.map(VA, DATA, V | RWX);
    protect(&mut walker, &[(0, leaf_entry(0)), (TOR | 4, leaf_entry(0) + PAGE_BYTES)]);
    assert_eq!(attempt(&mut walker, Try::Load, VA), Err(Cause::LoadAccess), "unreadable table");
    // Readable, but A cannot be set in it.
    let mut walker = rig(Supervisor);
    walker.map(VA, DATA, V | RWX);
    protect(&mut walker, &[(0, leaf_entry(0)), (TOR | 1, leaf_entry(0) + PAGE_BYTES)]);
    assert_eq!(attempt(&mut walker, Try::Load, VA), Err(Cause::LoadAccess), "read-only table");

    for (locked, expected) in [(0, Ok(())), (0x80, Err(Cause::StoreAccess))] {
        let mut machine = Rig::new(&[ld(T0, A0, 0), sd(A1, A0, 0)]);
        protect(&mut machine, &[(0, DATA), (locked | TOR | 1, DATA + PAGE_BYTES)]);
        assert_eq!(attempt(&mut machine, Try::Store, DATA), expected);
        assert_eq!(attempt(&mut machine, Try::Load, DATA), Ok(()));
    }
}

#[test]
fn without_entries_only_machine_mode_has_memory() {
    for (mode, expected) in [(Machine, Ok(())), (User, Err(Cause::InstructionAccess))] {
        let mut rig = Rig::new(&[NOP, NOP]);
        rig.hart().pmp = Pmp::default();
        rig.hart().mode = mode;
        assert_eq!(attempt(&mut rig, Try::Fetch, CODE), expected, "{mode:?}");
    }
}
