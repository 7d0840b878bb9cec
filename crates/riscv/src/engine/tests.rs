//! The caches never show: random programs that change their own code and page tables compute the
//! same with caches that are kept, and with new ones for every instruction.

use crate::bus::PAGE_BYTES;
use crate::engine::Engine;
use crate::hart::Privilege;
use crate::testing::asm::*;
use crate::testing::{DATA, HANDLER, LEAF_TABLE, PAGES, ROOT, Random, Rig, leaf_entry, pte};

const STEPS: u64 = 500;
/// Where the program is, by virtual and physical address.
const CODE_VA: u64 = 0x5000;
const CODE_PA: u64 = DATA + 4 * PAGE_BYTES;
const WORDS: u64 = 96;

/// Registers with addresses, then those with something worth storing there.
const BASES: [(u32, u64); 7] = [
    (10, CODE_VA),
    (11, 0x6000),
    (12, LEAF_TABLE + 0x20),
    (13, 0x6ff4),
    (14, CODE_PA),
    (15, ROOT + 8),
    (16, CODE_VA + PAGE_BYTES - 0x44),
];
const VALUES: [(u32, u64); 7] = [
    (20, 0x0013_8393_0013_8393), // addi x7, x7, 1, twice
    (21, 0),
    (22, DATA >> 12 << 10 | 0xcf),
    (23, (DATA + PAGE_BYTES) >> 12 << 10 | 0xf),
    (24, CODE_PA >> 12 << 10 | 0xcf),
    (25, 0x0001_0001_0001_0001), // c.nop, four times
    (26, (DATA + 2 * PAGE_BYTES) >> 12 << 10 | 0xc7),
];

fn pick<T: Copy>(random: &mut Random, from: &[T]) -> T {
    from[(random.next() % from.len() as u64) as usize]
}

fn instruction(random: &mut Random) -> u32 {
    let (base, _) = pick(random, &BASES);
    let (value, _) = pick(random, &VALUES);
    let size = (random.next() % 4) as u32;
    let offset = (random.next() % 16 * 4) as i32;
    let scratch = 5 + (random.next() % 4) as u32;
    match random.next() % 16 {
        0..4 => store(size.max(2), value, base, offset & !7),
        4 => store(size, value, base, offset),
        5..8 => load(size, scratch, base, offset),
        8 => lr(3, scratch, base),
        9 => sc(3, scratch, base, value),
        10 => amoadd(3, scratch, base, ZERO),
        11 => bne(scratch, ZERO, 8),
        12 => beq(scratch, ZERO, 12 - offset.min(36)),
        13 => pick(random, &[FENCE_I, SFENCE_VMA, NOP, jal(ZERO, 8)]),
        _ => addi(scratch, scratch, offset - 30),
    }
}

fn rig(seed: u64) -> Rig {
    let mut random = Random(seed);
    let mut rig = Rig::new(&[]);
    let program: Vec<u32> = (0..WORDS).map(|_| instruction(&mut random)).collect();
    rig.poke(CODE_PA, &bytes(&program));
    rig.poke(CODE_PA + PAGE_BYTES - 0x48, &bytes(&program[..18]));
    // Traps skip the instruction; every so often they begin anew.
    let handler = [
        csrrs(31, 0x341, ZERO),
        addi(31, 31, 4),
        addi(30, 30, 1),
        slli(29, 30, 60),
        bne(29, ZERO, 8),
        addi(31, 28, 0),
        csrrw(ZERO, 0x341, 31),
        MRET,
    ];
    rig.poke(HANDLER, &bytes(&handler));
    rig.enable_paging(Privilege::Supervisor);
    rig.map(CODE_VA, CODE_PA, 0xcf);
    for (page, flags) in [(1, 0xc7), (2, 0xf), (3, 0xcf)] {
        rig.map(CODE_VA + page * PAGE_BYTES, DATA + page * PAGE_BYTES, flags);
    }
    for (register, value) in BASES.into_iter().chain(VALUES) {
        rig.hart().set_reg(register as u8, value);
    }
    rig.hart().set_reg(28, CODE_VA);
    rig.hart().set_pc(CODE_VA);
    rig
}

#[test]
fn kept_caches_compute_the_same_as_none() {
    let mut progressed = 0;
    for seed in 0..200 {
        let (mut kept, mut none) = (rig(seed), rig(seed));
        let mut random = Random(seed);
        while kept.harts[0].steps() < STEPS {
            let steps = random.next() % 40;
            kept.run(steps);
            for _ in 0..steps {
                none.engine = Engine::new(1, PAGES);
                none.run(1);
            }
            let (kept, none) = (kept.harts[0].save(), none.harts[0].save());
            assert!(kept == none, "seed {seed}: {kept:x?} and {none:x?}");
        }
        for page in 0..u64::from(PAGES) {
            for at in (0..PAGE_BYTES).step_by(8) {
                let addr = crate::bus::RAM_BASE + page * PAGE_BYTES + at;
                assert_eq!(kept.peek(addr), none.peek(addr), "seed {seed} at {addr:#x}");
            }
        }
        let changed = kept.peek(leaf_entry(0x6000)) != pte(DATA + PAGE_BYTES, 0xc7);
        progressed += u32::from(changed && kept.harts[0].retired() > STEPS / 3);
    }
    assert!(progressed > 20, "{progressed} programs changed a table and went on");
}
