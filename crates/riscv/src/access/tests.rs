//! Loads and stores that are misaligned, cross pages or go to devices.

use crate::bus::PAGE_BYTES;
use crate::hart::Privilege::Supervisor;
use crate::run::Exit;
use crate::testing::asm::*;
use crate::testing::{CODE, DATA, DEVICE, HANDLER, PAGES, Rig};
use crate::trap::Cause;

const END: u64 = CODE + PAGES as u64 * PAGE_BYTES;

#[test]
fn misaligned_accesses_complete() {
    for size in 1..4 {
        let bytes = 1 << size;
        // Within a page and over its end, at every offset; cached or not.
        for base in [DATA + 0x100, DATA + PAGE_BYTES - 8] {
            for offset in 0..8 {
                let addr = base + offset;
                let mut rig = Rig::new(&[store(size, A1, A0, 0), load(size, T0, A0, 0)]);
                rig.hart().set_reg(10, addr);
                rig.hart().set_reg(11, 0x8877_6655_4433_2211);
                for pass in 0..2 {
                    rig.hart().set_pc(CODE);
                    rig.run(2);
                    let shift = 64 - 8 * bytes;
                    let value = (0x8877_6655_4433_2211u64 << shift) as i64 >> shift;
                    assert_eq!(rig.harts[0].reg(5) as i64, value, "{addr:#x} of {bytes}, {pass}");
                    assert_eq!(rig.peek(addr - 8), 0);
                    assert_eq!(rig.peek(addr + bytes), 0);
                }
            }
        }
    }
}

#[test]
fn floats_cross_pages_too() {
    let mut rig = Rig::new(&[flw(1, A0, 0), fsw(1, A1, 0), SPIN]);
    rig.hart().csr.mstatus |= 1 << 13;
    rig.poke_u64(DATA + PAGE_BYTES - 2, 0x3f80_1234);
    rig.hart().set_reg(10, DATA + PAGE_BYTES - 2);
    rig.hart().set_reg(11, DATA + 2 * PAGE_BYTES - 1);
    rig.run(2);
    assert_eq!(rig.harts[0].freg(1), 0xffff_ffff_3f80_1234);
    assert_eq!(rig.peek(DATA + 2 * PAGE_BYTES - 1), 0x3f80_1234);
}

#[test]
fn both_pages_are_checked_before_a_byte_is_written() {
    // Pages mapped with these flags, one after the other; the exception and the page at fault.
    let check = |first: u64, second: u64, instruction: u32, cause: Cause, at_second: bool| {
        let mut rig = Rig::new(&[instruction]);
        rig.enable_paging(Supervisor);
        rig.map(0x5000, DATA, first);
        rig.map(0x6000, DATA + 3 * PAGE_BYTES, second);
        rig.hart().set_reg(10, 0x5ffd);
        rig.hart().set_reg(11, u64::MAX);
        let expected = if at_second { 0x6000 } else { 0x5ffd };
        assert_eq!(rig.expect_trap(cause).0, expected, "{instruction:#x} {first:#x} {second:#x}");
        assert_eq!(rig.peek(DATA + PAGE_BYTES - 8), 0);
        assert_eq!(rig.peek(DATA + 3 * PAGE_BYTES), 0);
        assert_eq!(rig.harts[0].reg(5), 0);
    };
    const RW: u64 = 0xc7;
    const RO: u64 = 0xc3;
    let (load, store) = (ld(T0, A0, 0), sd(A1, A0, 0));
    check(RW, 0, store, Cause::StorePage, true);
    check(RW, RO, store, Cause::StorePage, true);
    check(RO, RW, store, Cause::StorePage, false);
    check(0, 0, store, Cause::StorePage, false);
    check(RW, 0, load, Cause::LoadPage, true);
    check(0, RW, load, Cause::LoadPage, false);
}

#[test]
fn crossing_stores_reach_watched_pages() {
    // The second page holds code that the store changes: `addi t0, t0, 1` becomes `... 2`.
    let mut rig = Rig::new(&[sd(A1, A0, 0), jalr(ZERO, A2, 0)]);
    let target = DATA + PAGE_BYTES;
    rig.poke(target, &bytes(&[addi(T0, T0, 1), SPIN]));
    rig.hart().set_pc(target);
    rig.run(2);
    rig.hart().set_reg(10, target - 4);
    rig.hart().set_reg(11, u64::from(addi(T0, T0, 2)) << 32);
    rig.hart().set_reg(12, target);
    rig.hart().set_pc(CODE);
    rig.run(3);
    assert_eq!(rig.harts[0].reg(5), 3);
}

#[test]
fn devices_take_aligned_accesses_only() {
    for size in 0..4 {
        for offset in 0..8 {
            let aligned = offset % (1 << size) == 0;
            for (instruction, cause) in [
                (load(size, T0, A0, 0), Cause::LoadMisaligned),
                (store(size, A1, A0, 0), Cause::StoreMisaligned),
            ] {
                let mut rig = Rig::new(&[instruction, SPIN]);
                rig.hart().set_reg(10, DEVICE + offset);
                rig.run(1);
                assert_eq!(rig.harts[0].pc() == HANDLER, !aligned, "{size} at {offset}");
                assert_eq!(rig.bus.accesses.len(), usize::from(aligned));
                if !aligned {
                    assert_eq!(rig.expect_trap(cause).0, DEVICE + offset);
                }
            }
        }
    }
}

#[test]
fn loads_from_devices_extend_like_others() {
    let check = |instruction: u32, expected: u64| {
        let mut rig = Rig::new(&[instruction]);
        rig.bus.registers =
            [0x80, 0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0xe6, 0xf7, 0, 0, 0, 0, 0, 0, 0, 0];
        rig.hart().set_reg(10, DEVICE);
        assert_eq!(rig.run_hart(0, 5), Exit::Devices);
        assert_eq!(rig.harts[0].reg(5), expected, "{instruction:#x}");
    };
    check(load(0, T0, A0, 0), 0xffff_ffff_ffff_ff80);
    check(load(1, T0, A0, 0), 0xffff_ffff_ffff_9180);
    check(load(2, T0, A0, 0), 0xffff_ffff_b3a2_9180);
    check(load(3, T0, A0, 0), 0xf7e6_d5c4_b3a2_9180);
    check(load(4, T0, A0, 0), 0x80);
    check(load(5, T0, A0, 0), 0x9180);
    check(load(6, T0, A0, 0), 0xb3a2_9180);
}

#[test]
fn nothing_answers_elsewhere() {
    let check = |instruction: u32, addr: u64, cause: Cause| {
        let mut rig = Rig::new(&[instruction]);
        rig.hart().set_reg(10, addr);
        assert_eq!(rig.expect_trap(cause).0, addr, "{instruction:#x} at {addr:#x}");
    };
    for addr in [0, DEVICE + 16, CODE - 8, END, 1 << 55, u64::MAX - 7] {
        check(ld(T0, A0, 0), addr, Cause::LoadAccess);
        check(sd(A1, A0, 0), addr, Cause::StoreAccess);
        check(lr(3, T0, A0), addr, Cause::LoadAccess);
        check(amoadd(3, T0, A0, A1), addr, Cause::StoreAccess);
    }
    // Half in RAM: neither memory nor a device takes it.
    check(ld(T0, A0, 0), END - 4, Cause::LoadMisaligned);
    check(sd(A1, A0, 0), CODE - 4, Cause::StoreMisaligned);
    // Over the end of the address space.
    check(ld(T0, A0, 0), u64::MAX - 3, Cause::LoadMisaligned);
}

#[test]
fn fetches_need_ram() {
    let check = |addr: u64| {
        let mut rig = Rig::new(&[jalr(ZERO, A0, 0)]);
        rig.hart().set_reg(10, addr);
        let (tval, epc) = rig.expect_trap(Cause::InstructionAccess);
        assert_eq!((tval, epc), (addr, addr));
    };
    for addr in [0, DEVICE, END, u64::MAX - 1] {
        check(addr);
    }
}
