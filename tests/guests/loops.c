// Loops whose addresses move by constants, over pages that lie anywhere: into pages that are not
// there, that are tables or code, that change under the loop; interrupted all the while. S-mode,
// and never an sfence.vma.
#include "sbi.h"

enum { V = 1, R = 2, W = 4, X = 8, A = 64, D = 128 };
enum { PAGES = 8, BYTES = PAGES << 12, HOT = 60, TIMER_TICKS = 377 };

static u64 root[512] __attribute__((aligned(4096)));
static u64 middle[512] __attribute__((aligned(4096)));
static u64 leaves[512] __attribute__((aligned(4096)));
static u8 pages[PAGES][4096] __attribute__((aligned(4096)));
static const u8 order[PAGES] = { 3, 0, 6, 1, 7, 2, 5, 4 };

static volatile u64 cause, value, faults, interrupts;

#define VA 0x100000000ul
#define TABLE (VA + BYTES)

// A fault goes on at t6, which is behind the loop.
static void __attribute__((interrupt("supervisor"), aligned(4))) on_trap(void)
{
    if (csr_read(scause) >> 63) {
        u64 now;
        asm volatile("csrr %0, time" : "=r"(now));
        sbi(SBI_TIME, 0, now + TIMER_TICKS, 0, 0, 0);
        interrupts++;
        return;
    }
    cause = csr_read(scause);
    value = csr_read(stval);
    faults++;
    u64 back;
    asm volatile("mv %0, t6" : "=r"(back));
    csr_write(sepc, back);
}

static u64 leaf(void *page, u64 flags) { return (u64)page >> 2 | flags | V | A | D; }

static void map(u64 flags)
{
    for (u64 page = 0; page < PAGES; page++)
        leaves[page] = leaf(pages[order[page]], flags);
}

static u8 pattern(u64 index) { return index * 167 + (index >> 8) * 13; }

// What is at VA + `index`, by where the page lies.
static volatile u8 *byte(u64 index) { return &pages[order[index >> 12]][index & 4095]; }

static void fill(void)
{
    for (u64 index = 0; index < BYTES; index++)
        *byte(index) = pattern(index);
}

static u64 expected(u64 from, u64 turns, long stride, u64 bytes)
{
    u64 sum = 0;
    for (u64 turn = 0; turn < turns; turn++, from += stride)
        for (u64 at = 0; at < bytes; at++)
            sum += (u64)pattern(from + at) << 8 * at;
    return sum;
}

// Where a loop stood when it ended or faulted.
struct end {
    u64 result, at, left;
};

#define SUM(name, load, stride)                                                                   \
    static struct end __attribute__((noinline)) name(u64 at, u64 left)                            \
    {                                                                                             \
        u64 result = 0;                                                                           \
        asm volatile("la t6, 2f\n"                                                                \
                     "1: " load " t0, 0(%1)\n add %0, %0, t0\n addi %1, %1, " #stride "\n"        \
                     "addi %2, %2, -1\n bnez %2, 1b\n2:"                                          \
                     : "+r"(result), "+r"(at), "+r"(left)                                         \
                     :                                                                            \
                     : "t0", "t6", "memory");                                                     \
        return (struct end){ result, at, left };                                                  \
    }

SUM(up_1, "lbu", 1)
SUM(down_1, "lbu", -1)
SUM(up_2, "lhu", 2)
SUM(up_8, "ld", 8)
SUM(down_8, "ld", -8)
SUM(up_48, "lhu", 48)
SUM(down_300, "lbu", -300)
SUM(up_340, "lwu", 340)
SUM(up_7, "lwu", 7)
SUM(nowhere, "lbu", 0)

static void one_sum(struct end (*sum)(u64, u64), u64 from, u64 turns, long stride, u64 bytes)
{
    struct end end = sum(VA + from, turns);
    check_equal(end.result, expected(from, turns, stride, bytes));
    check_equal(end.at, VA + from + turns * stride);
    check_equal(end.left, 0);
}

static void sums(void)
{
    for (u64 i = 0; i < HOT; i++) {
        one_sum(up_1, 4000 + i, 300, 1, 1);
        one_sum(down_1, 8200 + i, 300, -1, 1);
        one_sum(up_2, 2 * i, 100 + i, 2, 2);
        one_sum(up_8, 8 * i, 1 + i, 8, 8);
        one_sum(down_8, BYTES - 8 - 8 * i, 700, -8, 8);
        one_sum(up_48, 2 * i, 600, 48, 2);
        one_sum(down_300, BYTES - 1 - i, 100, -300, 1);
        one_sum(up_340, 4 * i, 90, 340, 4);
        one_sum(nowhere, i, 70, 0, 1);
        // Across a page's end the bytes come from two pages.
        one_sum(up_7, i, 1500, 7, 4);
    }
}

// A page is not there: the loop stands where it is touched, with all of its registers.
static void one_fault(struct end (*sum)(u64, u64), u64 page, u64 before, long stride, u64 bytes)
{
    u64 from = (page << 12) - before * stride + (stride < 0 ? 4095 : 0);
    faults = 0;
    struct end end = sum(VA + from, before + 500);
    check_equal(faults, 1);
    check_equal(cause, 13);
    check_equal(end.at, VA + from + before * stride);
    check_equal(value, end.at);
    check_equal(end.left, 500);
    check_equal(end.result, expected(from, before, stride, bytes));
}

static void missing(void)
{
    for (u64 before = 1; before < HOT; before++) {
        leaves[5] = 0;
        one_fault(up_1, 5, before, 1, 1);
        one_fault(up_2, 5, before, 2, 2);
        one_fault(up_8, 5, before, 8, 8);
        one_fault(down_1, 5, before, -1, 1);
        leaves[5] = leaf(pages[order[5]], R | W);
        one_sum(up_8, (5 << 12) - 8 * before, 500, 8, 8);
    }
}

// Copies upwards; where the two overlap, bytes are copied again and again.
static void __attribute__((noinline)) copy(u64 to, u64 from, u64 end)
{
    asm volatile("1: lbu t0, 0(%1)\n addi %1, %1, 1\n sb t0, 0(%0)\n addi %0, %0, 1\n bne %1, %2, 1b"
                 : "+r"(to), "+r"(from)
                 : "r"(end)
                 : "t0", "memory");
}

static void copies(void)
{
    for (u64 i = 0; i < HOT; i++) {
        fill();
        u64 from = 4000 + i, to = from + 1 + i % 9, bytes = 9000;
        copy(VA + to, VA + from, VA + from + bytes);
        for (u64 at = 0; at < bytes; at += 1 + at % 37)
            check_equal(*byte(to + at), pattern(from + at % (to - from)));
        check_equal(*byte(to + bytes), pattern(to + bytes));
    }
    fill();
}

// Looks for a byte; the way out has not run when the loop is compiled.
static u64 __attribute__((noinline)) find(u64 at, u64 end, u64 what, u64 *turns)
{
    u64 found = 0, count = 0;
    asm volatile("1: lbu t0, 0(%1)\n addi %2, %2, 1\n beq t0, %4, 3f\n addi %1, %1, 1\n"
                 "bne %1, %3, 1b\n j 4f\n"
                 "3: mv %0, %1\n4:"
                 : "+r"(found), "+r"(at), "+r"(count)
                 : "r"(end), "r"(what)
                 : "t0", "memory");
    *turns = count;
    return found;
}

static void searches(void)
{
    for (u64 index = 0; index < BYTES; index++)
        *byte(index) = 1;
    for (u64 i = 0; i < HOT; i++) {
        u64 turns = 0;
        check_equal(find(VA + i, VA + 5000, 2, &turns), 0);
        check_equal(turns, 5000 - i);
    }
    for (u64 i = 0; i < HOT; i++) {
        u64 turns = 0, where = 3900 + 7 * i;
        *byte(where) = 2;
        check_equal(find(VA + 3 * i, VA + BYTES, 2, &turns), VA + where);
        check_equal(turns, where - 3 * i + 1);
        *byte(where) = 1;
    }
    fill();
}

// Writes table entries in a loop that reads through them: every read is through what was written.
static u64 __attribute__((noinline)) remap(u64 entries, const u64 *values, u64 at, u64 turns)
{
    u64 sum = 0;
    asm volatile("1: ld t0, 0(%1)\n addi %1, %1, 8\n sd t0, 0(%2)\n lbu t0, 0(%3)\n add %0, %0, t0\n"
                 "addi %4, %4, -1\n bnez %4, 1b"
                 : "+r"(sum), "+r"(values), "+r"(entries), "+r"(at), "+r"(turns)
                 :
                 : "t0", "memory");
    return sum;
}

static void tables(void)
{
    static u64 values[400];
    leaves[PAGES] = leaf(leaves, R | W);
    for (u64 round = 0; round < HOT; round++) {
        u64 sum = 0;
        for (u64 i = 0; i < 400; i++) {
            u64 page = (i * 5 + round) % PAGES;
            values[i] = leaf(pages[page], R | W);
            sum += pages[page][round];
        }
        check_equal(remap(TABLE, values, VA + round, 400), sum);
    }
    map(R | W);
}

// Overwrites code that is hot, by a loop.
static void code(void)
{
    typedef u64 (*function)(u64);
    u32 *words = (u32 *)pages[order[2]];
    map(R | W | X);
    for (u64 round = 1; round < HOT; round++) {
        u32 add = 0x00050513 | round << 20; // addi a0, a0, round
        asm volatile("mv t1, %0\n addi t2, %0, 2000\n1: sw %1, 0(t1)\n addi t1, t1, 4\n bne t1, t2, 1b"
                     :
                     : "r"(words), "r"(add)
                     : "t1", "t2", "memory");
        words[500] = 0x00008067; // ret
        asm volatile("fence.i" ::: "memory");
        for (u64 i = 0; i < 3; i++)
            check_equal(((function)(VA + (2 << 12)))(i), i + 500 * round);
    }
    map(R | W);
    fill();
}

void main(u64 hart)
{
    (void)hart;
    csr_write(stvec, on_trap);
    for (u64 giga = 0; giga < 4; giga++)
        root[giga] = giga << 28 | R | W | X | A | D | V;
    root[VA >> 30] = (u64)middle >> 2 | V;
    middle[0] = (u64)leaves >> 2 | V;
    map(R | W);
    csr_write(satp, 8ul << 60 | (u64)root >> 12);
    asm volatile("sfence.vma" ::: "memory");
    fill();
    csr_set(sie, 1 << 5);
    csr_set(sstatus, 1 << 1);
    sbi(SBI_TIME, 0, 0, 0, 0, 0);
    sums();
    missing();
    copies();
    searches();
    tables();
    code();
    check(interrupts > 100);
    debug_print("ok\n");
    shut_down();
}
