// S-mode over the built-in SBI: Sv39, the timer of Sstc, the debug console; and a guest that
// forgets sfence.vma sees its new mapping at once.
#include "sbi.h"

enum { V = 1, R = 2, W = 4, X = 8, U = 16, A = 64, D = 128 };

static u64 root[512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096)));
static u64 leaves[512] __attribute__((aligned(4096)));
static u64 one[512] __attribute__((aligned(4096)));
static u64 two[512] __attribute__((aligned(4096)));

static volatile u64 cause, value, interrupts;

#define VA 0x100000000ul

static void __attribute__((interrupt("supervisor"), aligned(4))) on_trap(void)
{
    cause = csr_read(scause);
    value = csr_read(stval);
    if (cause >> 63) {
        interrupts++;
        csr_write(0x14d, -1ul); // stimecmp
        return;
    }
    u64 pc = csr_read(sepc);
    csr_write(sepc, pc + ((*(u16 *)pc & 3) == 3 ? 4 : 2));
}

static u64 leaf(void *page, u64 flags) { return (u64)page >> 2 | flags; }

static u64 load(u64 at)
{
    u64 got = 0;
    cause = 0;
    asm volatile("ld %0, 0(%1)" : "+r"(got) : "r"(at) : "memory");
    return got;
}

static void store(u64 at, u64 what)
{
    cause = 0;
    asm volatile("sd %0, 0(%1)" ::"r"(what), "r"(at) : "memory");
}

static void paging(void)
{
    for (u64 giga = 0; giga < 4; giga++)
        root[giga] = giga << 28 | V | R | W | X | A | D;
    root[VA >> 30] = leaf(middle, V);
    middle[0] = leaf(leaves, V);
    leaves[0] = leaf(one, V | R | W | A | D);
    one[0] = 111;
    two[0] = 222;
    csr_write(satp, 8ul << 60 | (u64)root >> 12);
    asm volatile("sfence.vma" ::: "memory");
    check_equal(load(VA), 111);
    // No sfence.vma from here on.
    leaves[0] = leaf(two, V | R | W | A | D);
    check_equal(load(VA), 222);
    leaves[0] = leaf(two, V | R | A | D);
    store(VA, 1);
    check_equal(cause, 15);
    check_equal(value, VA);
    check_equal(two[0], 222);
    leaves[0] = 0;
    load(VA);
    check_equal(cause, 13);
    // Accessed and dirty are set by the hart.
    leaves[0] = leaf(two, V | R | W);
    check_equal(load(VA), 222);
    check_equal(leaves[0], leaf(two, V | R | W | A));
    store(VA, 223);
    check_equal(leaves[0], leaf(two, V | R | W | A | D));
    check_equal(two[0], 223);
    // A whole table taken away and put back.
    middle[0] = 0;
    load(VA);
    check_equal(cause, 13);
    middle[0] = leaf(leaves, V);
    check_equal(load(VA), 223);
    // A user page, without and with SUM.
    leaves[0] |= U;
    load(VA);
    check_equal(cause, 13);
    csr_set(sstatus, 1 << 18);
    check_equal(load(VA), 223);
    csr_clear(sstatus, 1 << 18);
    // A misaligned store over the end of the mapped page writes nothing.
    leaves[0] &= ~(u64)U;
    two[511] = 7;
    store(VA + 4092, -1ul);
    check_equal(cause, 15);
    check_equal(value, VA + 4096);
    check_equal(two[511], 7);
}

void main(u64 hart)
{
    (void)hart;
    csr_write(stvec, on_trap);
    paging();
    // The timer, one millisecond from now, straight from S-mode.
    u64 due = csr_read(time) + 10000;
    csr_write(0x14d, due);
    csr_set(sie, 1 << 5);
    csr_set(sstatus, 1 << 1);
    while (!interrupts)
        asm volatile("wfi");
    check_equal(cause, 1ul << 63 | 5);
    check(csr_read(time) >= due && csr_read(time) < due + 100);
    debug_print("ok\n");
    shut_down();
}
