// Address spaces side by side: the same addresses are other data and other code in each, and going
// from one to another needs no fence. More of them than any cache may hold, ASIDs that are given to
// another table, tables that change while their space is not the current one. S-mode.
#include "sbi.h"

enum { V = 1, R = 2, W = 4, X = 8, G = 32, A = 64, D = 128 };
enum { SPACES = 11, ROUNDS = 300 };

static u64 roots[SPACES][512] __attribute__((aligned(4096)));
static u64 middles[SPACES][512] __attribute__((aligned(4096)));
static u64 leaves[SPACES][512] __attribute__((aligned(4096)));
static u64 data[SPACES][512] __attribute__((aligned(4096)));
static u32 code[SPACES][1024] __attribute__((aligned(4096)));

#define VA 0x100000000ul

static u64 leaf(void *page, u64 flags) { return (u64)page >> 2 | flags | V | A | D; }

static void enter(u64 asid, u64 space) { csr_write(satp, 8ul << 60 | asid << 44 | (u64)roots[space] >> 12); }

// The function of whatever space is current: adds its number to a word of that space's data.
static u64 call(u64 offset)
{
    register u64 a0 asm("a0") = VA + offset;
    asm volatile("jalr ra, 0(%1)" : "+r"(a0) : "r"(VA + 4096) : "ra", "t0", "memory");
    return a0;
}

static void put_code(u64 page, u32 number)
{
    code[page][0] = 0x00053283;                // ld t0, 0(a0)
    code[page][1] = 0x00028293 | number << 20; // addi t0, t0, number
    code[page][2] = 0x00553023;                // sd t0, 0(a0)
    code[page][3] = 0x00028513;                // mv a0, t0
    code[page][4] = 0x00008067;                // ret
}

static void make(u64 space, u64 flags)
{
    for (u64 giga = 0; giga < 4; giga++)
        roots[space][giga] = giga << 28 | R | W | X | A | D | V | G;
    roots[space][VA >> 30] = (u64)middles[space] >> 2 | V;
    middles[space][0] = (u64)leaves[space] >> 2 | V;
    leaves[space][0] = leaf(data[space], R | W);
    leaves[space][1] = leaf(code[space], R | X | flags);
    put_code(space, space + 1);
}

// Each space's word, in all of them, as it must be.
static u64 words[SPACES];

static void visit(u64 asid, u64 space, u64 page)
{
    enter(asid, space);
    words[page] += space + 1;
    check_equal(call(8 * 5), words[page]);
    check_equal(data[page][5], words[page]);
}

// One after the other, and two in turns.
static void side_by_side(void)
{
    for (u64 round = 0; round < ROUNDS; round++) {
        for (u64 space = 0; space < 1 + round % SPACES; space++)
            visit(space + 1, space, space);
        visit(2, 1, 1);
        visit(1, 0, 0);
        visit(2, 1, 1);
    }
}

// One ASID for all tables, with the fence that the architecture wants then.
static void one_asid(void)
{
    for (u64 round = 0; round < ROUNDS; round++)
        for (u64 space = 0; space < 3; space++) {
            enter(7, space);
            asm volatile("sfence.vma zero, %0" ::"r"(7ul) : "memory");
            visit(7, space, space);
        }
}

// A table changes while another is current.
static void from_afar(void)
{
    for (u64 round = 0; round < ROUNDS; round++) {
        visit(1, 0, 0);
        enter(2, 1);
        u64 page = 3 + round % 4;
        leaves[0][0] = leaf(data[page], R | W);
        asm volatile("sfence.vma %0, %1" ::"r"(VA), "r"(1ul) : "memory");
        visit(2, 1, 1);
        visit(1, 0, page);
        enter(2, 1);
        leaves[0][0] = leaf(data[0], R | W);
        asm volatile("sfence.vma zero, %0" ::"r"(1ul) : "memory");
    }
}

// A space's code changes while another is current.
static void code_from_afar(void)
{
    for (u64 round = 0; round < ROUNDS; round++) {
        visit(1, 0, 0);
        enter(2, 1);
        u32 number = 100 + round;
        put_code(0, number);
        asm volatile("fence.i" ::: "memory");
        visit(2, 1, 1);
        enter(1, 0);
        words[0] += number;
        check_equal(call(8 * 5), words[0]);
        put_code(0, 1);
        asm volatile("fence.i" ::: "memory");
    }
}

// Code that is global, at one place of all spaces.
static void global(void)
{
    for (u64 space = 0; space < SPACES; space++)
        leaves[space][1] = leaf(code[4], R | X | G);
    asm volatile("sfence.vma" ::: "memory");
    for (u64 round = 0; round < ROUNDS; round++)
        for (u64 space = 0; space < 4; space++) {
            enter(space + 1, space);
            words[space] += 5;
            check_equal(call(8 * 5), words[space]);
        }
}

void main(u64 hart)
{
    (void)hart;
    for (u64 space = 0; space < SPACES; space++)
        make(space, 0);
    enter(1, 0);
    asm volatile("sfence.vma\n fence.i" ::: "memory");
    side_by_side();
    one_asid();
    from_afar();
    code_from_afar();
    global();
    debug_print("ok\n");
    shut_down();
}
