// Hot code with an instruction of which one half is on the next page, as that page changes, is
// exchanged for another, and goes away. S-mode, and never an sfence.vma.
#include "sbi.h"

enum { V = 1, R = 2, W = 4, X = 8, A = 64, D = 128 };
enum { HOT = 100 };

static u64 root[512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096)));
static u64 leaves[512] __attribute__((aligned(4096)));
static u16 first[2048] __attribute__((aligned(4096)));
static u16 second[2][2048] __attribute__((aligned(4096)));

static volatile u64 cause, value, at, faults;

#define VA 0x100000000ul
#define LAST (VA + 4094)

// Returns to the caller of the code that faulted.
static void __attribute__((interrupt("supervisor"), aligned(4))) on_trap(void)
{
    cause = csr_read(scause);
    value = csr_read(stval);
    at = csr_read(sepc);
    faults++;
    u64 back;
    asm volatile("mv %0, t6" : "=r"(back));
    csr_write(sepc, back);
}

static u64 leaf(void *page, u64 flags) { return (u64)page >> 2 | flags | V | A | D; }

static u32 addi_a0(u32 n) { return 0x00050513 | n << 20; }
static const u32 ADDI_A1 = 0xfff58593, RET = 0x00008067, LD = 0x0005b503;

// Calls `from` with a0 = `n` and a1 = `m`; returns a0. A fault comes back here.
static u64 call(u64 from, u64 n, u64 m)
{
    register u64 a0 asm("a0") = n;
    register u64 a1 asm("a1") = m;
    asm volatile("la t6, 1f\n jalr ra, 0(%2)\n1:" : "+r"(a0), "+r"(a1) : "r"(from) : "ra", "t6", "memory");
    return a0;
}

static void put_word(u16 *to, u32 word)
{
    to[0] = word;
    to[1] = word >> 16;
}

// The instruction on both pages, in two ways how it goes on.
static void straddle(u32 word, u32 other)
{
    first[2047] = word;
    second[0][0] = word >> 16;
    second[1][0] = other >> 16;
    asm volatile("fence.i" ::: "memory");
}

// What is there is what counts, however hot it was before: from before the instruction, and from it.
static void runs(u64 n)
{
    for (u64 i = 0; i < HOT; i++) {
        check_equal(call(LAST - 4, i, 0), i + n + 1);
        check_equal(call(LAST, i, 0), i + n);
    }
}

static void changes(void)
{
    put_word(&first[2045], addi_a0(1));
    put_word(&second[0][1], RET);
    put_word(&second[1][1], RET);
    straddle(addi_a0(5), addi_a0(21));
    runs(5);
    second[0][0] = addi_a0(37) >> 16;
    asm volatile("fence.i" ::: "memory");
    runs(37);
    leaves[1] = leaf(second[1], R | X);
    runs(21);
    leaves[1] = leaf(second[0], R | X);
    runs(37);
    // Something else on the page changes.
    second[0][2000]++;
    asm volatile("fence.i" ::: "memory");
    runs(37);
    leaves[1] = 0;
    for (u64 i = 0; i < HOT; i++) {
        faults = 0;
        call(LAST - 4, i, 0);
        check_equal(faults, 1);
        check_equal(cause, 12);
        check_equal(value, VA + 4096);
        check_equal(at, LAST);
    }
    leaves[1] = leaf(second[0], R | X);
    runs(37);
}

static void loads(void)
{
    u64 here = 77;
    straddle(LD, LD);
    for (u64 i = 0; i < HOT; i++)
        check_equal(call(LAST, 0, (u64)&here), 77);
    faults = 0;
    call(LAST, 0, VA + 8192);
    check_equal(faults, 1);
    check_equal(cause, 13);
    check_equal(value, VA + 8192);
    check_equal(at, LAST);
}

// A loop whose head is the instruction.
static void loops(void)
{
    straddle(addi_a0(3), addi_a0(4));
    put_word(&second[0][1], ADDI_A1);
    put_word(&second[0][3], 0xfe059ce3); // bne a1, zero, -8
    put_word(&second[0][5], RET);
    put_word(&second[1][1], ADDI_A1);
    put_word(&second[1][3], 0xfe059ce3);
    put_word(&second[1][5], RET);
    asm volatile("fence.i" ::: "memory");
    check_equal(call(LAST, 0, 1000), 3000);
    leaves[1] = leaf(second[1], R | X);
    check_equal(call(LAST, 0, 1000), 4000);
}

void main(u64 hart)
{
    (void)hart;
    csr_write(stvec, on_trap);
    for (u64 giga = 0; giga < 4; giga++)
        root[giga] = giga << 28 | R | W | X | A | D | V;
    root[VA >> 30] = (u64)middle >> 2 | V;
    middle[0] = (u64)leaves >> 2 | V;
    leaves[0] = leaf(first, R | X);
    leaves[1] = leaf(second[0], R | X);
    csr_write(satp, 8ul << 60 | (u64)root >> 12);
    asm volatile("sfence.vma" ::: "memory");
    changes();
    loads();
    loops();
    debug_print("ok\n");
    shut_down();
}
