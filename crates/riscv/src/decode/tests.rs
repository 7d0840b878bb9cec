//! Reserved encodings are illegal instructions, with their bits as `mtval`.

use crate::testing::asm::*;
use crate::testing::{CODE, HANDLER, Random, Rig};
use crate::trap::Cause;

/// A hart for which everything is legal that exists.
fn rig(bits: u32) -> Rig {
    let mut rig = Rig::new(&[bits]);
    rig.hart().csr.mstatus |= 3 << 13;
    rig
}

#[test]
fn reserved_encodings_are_illegal() {
    let check = |what: &str, bits: u32| {
        let mut rig = rig(bits);
        let found = rig.expect_trap(Cause::IllegalInstruction);
        let tval = if bits & 3 == 3 { bits } else { bits & 0xffff };
        assert_eq!(found, (tval.into(), CODE), "{what}: {bits:#010x}");
    };
    // 4 bytes: opcodes that are custom, reserved or longer than 32 bits.
    for opcode in [0x0b, 0x1f, 0x2b, 0x3f, 0x57, 0x5b, 0x5f, 0x6b, 0x77, 0x7b, 0x7f] {
        check("opcode", opcode | 0x0010_0500);
    }
    check("all ones", u32::MAX);
    check("jalr funct3", 0x0000_1067);
    for funct3 in [2, 3] {
        check("branch funct3", 0x63 | funct3 << 12);
    }
    check("load funct3", 0x03 | 7 << 12);
    for funct3 in 4..8 {
        check("store funct3", 0x23 | funct3 << 12);
    }
    for funct3 in [0, 1, 4, 5, 6, 7] {
        check("float load width", 0x07 | funct3 << 12);
        check("float store width", 0x27 | funct3 << 12);
        check("atomic width", 0x2f | funct3 << 12 | 1 << 27);
    }
    for funct5 in [5, 6, 7, 9, 0xa, 0xb, 0xd, 0xf, 0x11, 0x15, 0x19, 0x1d, 0x1f] {
        check("atomic funct5", 0x2f | 2 << 12 | funct5 << 27);
    }
    check("lr with rs2", lr(3, T0, A0) | 1 << 20);
    // Shifts by more than the register holds, and neighbours of Zbb and Zbs.
    for funct6 in [0x01, 0x08, 0x10, 0x1c, 0x20, 0x3f] {
        check("slli funct6", slli(T0, T0, 1) | funct6 << 26);
    }
    for funct6 in [0x01, 0x08, 0x11, 0x1c, 0x20, 0x3f] {
        check("srli funct6", slli(T0, T0, 1) | 4 << 12 | funct6 << 26);
    }
    check("clz neighbour", slli(T0, T0, 3) | 0x18 << 26);
    check("orc.b neighbour", slli(T0, T0, 8) | 4 << 12 | 0x0a << 26);
    check("rev8 of 32 bits", slli(T0, T0, 0x18) | 4 << 12 | 0x1a << 26);
    check("slliw by 32", 0x1b | 1 << 12 | 1 << 25);
    check("sraiw by 32", 0x1b | 5 << 12 | 0x21 << 25);
    for funct3 in [2, 3, 4, 6, 7] {
        check("op-imm-32 funct3", 0x1b | funct3 << 12);
    }
    for funct7 in [0x02, 0x08, 0x21, 0x40, 0x7f] {
        check("op funct7", add(T0, T0, T0) | funct7 << 25);
        check("op-32 funct7", 0x3b | funct7 << 25);
    }
    check("mulh.w", 0x3b | 1 << 12 | 1 << 25);
    check("zext.h with rs2", 0x3b | 4 << 12 | 4 << 25 | 1 << 20);
    // System and memory ordering.
    check("csr funct3 4", 0x73 | 4 << 12);
    check("ecall with rd", ECALL | 1 << 7);
    check("uret", 0x0020_0073);
    check("mret with rs1", MRET | 1 << 15);
    check("sfence.vma with rd", SFENCE_VMA | 1 << 7);
    check("hfence", 0x2200_0073);
    check("sinval.vma", 0x1600_0073);
    for funct3 in 3..8 {
        check("misc-mem funct3", 0x0f | funct3 << 12);
    }
    check("cbo number", cbo(3, A0));
    check("cbo with rd", cbo(0, A0) | 1 << 7);
    // Floating point: formats H and Q, reserved rounding modes and selectors.
    for format in [2, 3] {
        check("fma format", 0x43 | format << 25);
        check("fadd format", op_fp(format, 0, 1, 1, 1));
    }
    for rm in [5, 6] {
        check("fma rounding", 0x43 | rm << 12);
        check("fadd rounding", op_fp(0x01, rm, 1, 1, 1));
        check("fsqrt rounding", op_fp(0x2c, rm, 1, 1, 0));
        check("fcvt.w.s rounding", op_fp(0x60, rm, T0, 1, 0));
        check("fcvt.s.l rounding", op_fp(0x68, rm, 1, T0, 2));
        check("fcvt.d.s rounding", op_fp(0x21, rm, 1, 1, 0));
    }
    check("fsqrt with rs2", op_fp(0x2c, 0, 1, 1, 1));
    check("fsgnj funct3", op_fp(0x10, 3, 1, 1, 1));
    check("fmin funct3", op_fp(0x15, 2, 1, 1, 1));
    check("fcvt.s.s", op_fp(0x20, 0, 1, 1, 0));
    check("fcvt.d.d", op_fp(0x21, 0, 1, 1, 1));
    check("fle funct3", op_fp(0x50, 3, T0, 1, 1));
    check("fcvt selector", op_fp(0x61, 0, T0, 1, 4));
    check("fmv.x.d funct3", op_fp(0x71, 2, T0, 1, 0));
    check("fmv.w.x with rs2", op_fp(0x78, 0, 1, T0, 1));
    // 2 bytes.
    check("all zeroes", 0x0000);
    check("c.addi4spn of 0", 0x0004);
    for funct in [0x8000, 0x8400, 0x9c00] {
        check("quadrant 0, funct3 4", funct);
    }
    check("c.addiw of x0", 0x2001);
    check("c.addi16sp of 0", 0x6101);
    check("c.lui of 0", 0x6281);
    for funct2 in [2, 3] {
        check("c.arithmetic of words", 0x9c01 | funct2 << 5);
    }
    check("c.lwsp to x0", 0x4002);
    check("c.ldsp to x0", 0x6002);
    check("c.jr of x0", 0x8002);
}

#[test]
fn hints_and_ignored_fields_do_nothing() {
    let check = |what: &str, bits: u32| {
        let mut rig = rig(bits);
        let before = rig.harts[0].save();
        rig.run(1);
        let len = if bits & 3 == 3 { 4 } else { 2 };
        assert_eq!(rig.harts[0].pc(), CODE + len, "{what}: {bits:#x}");
        let regs = |rig: &Rig| (0..32).map(|r| rig.harts[0].reg(r)).collect::<Vec<_>>();
        let mut fresh = Rig::new(&[]);
        fresh.hart().restore(&before).unwrap();
        assert_eq!(regs(&rig), regs(&fresh), "{what}");
    };
    check("fence.tso", 0x8330_000f);
    check("fence with a reserved fm", 0xf0f0_000f);
    check("fence with registers", 0x0ff5_058f);
    check("fence.i with fields", FENCE_I | 0xfff0_0000 | 3 << 15 | 4 << 7);
    check("addi x0", addi(ZERO, A0, 5));
    check("lui x0", lui(ZERO, 0x1000));
    check("prefetch.r", 0x0010_6013);
    check("c.nop with an immediate", 0x0005);
    check("c.li x0", 0x4005);
    check("c.lui x0", 0x6005);
    check("c.slli x0", 0x0006);
    check("c.slli by 0", 0x0282);
    check("c.mv x0", 0x802a);
    check("c.add x0", 0x902a);
    check("c.srli by 0", 0x8001);
}

#[test]
fn any_bits_execute_or_trap() {
    let mut random = Random(1);
    for _ in 0..20_000 {
        let bits = random.next() as u32;
        let mut op = super::decode(bits | 3);
        op.place = 1;
        assert_eq!(op.len(), 4);
        super::compressed::decode((bits as u16 & 0xfffc) | ((bits as u16 >> 2) % 3));
    }
    let mut rig = rig(SPIN);
    let mut illegal = 0;
    for at in 0..3_000 {
        let bits = random.next();
        rig.device_writes(CODE + 8, bits);
        rig.hart().set_pc(CODE + 8);
        rig.hart().mode = crate::Privilege::Machine;
        rig.hart().csr.mtvec = HANDLER;
        rig.hart().set_reg(10, CODE + 0x1000 + at);
        rig.run_hart(0, 2);
        illegal += u32::from(rig.harts[0].csr.mcause == 2);
    }
    assert!(illegal > 0, "some of them are reserved");
}
