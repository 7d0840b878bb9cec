// Reservations: what breaks one, and that counting with LR/SC and AMOs on all harts loses nothing.
#include "guest.h"

#define ROUNDS 20000

static volatile u64 count_lrsc, count_amo, arrived, turn, word, done;

static u64 lr(volatile u64 *at)
{
    u64 value;
    asm volatile("lr.d %0, %1" : "=r"(value) : "A"(*at) : "memory");
    return value;
}

// 0 when the store happened.
static u64 sc(volatile u64 *at, u64 value)
{
    u64 failed;
    asm volatile("sc.d %0, %2, %1" : "=r"(failed), "+A"(*at) : "r"(value) : "memory");
    return failed;
}

static void __attribute__((interrupt, aligned(4))) on_trap(void)
{
    csr_write(mepc, csr_read(mepc) + 4);
}

static void rules(u64 harts)
{
    csr_write(mtvec, on_trap);
    lr(&word);
    check_equal(sc(&word, 1), 0);
    check_equal(word, 1);
    // Used up.
    check(sc(&word, 2) != 0);
    check_equal(word, 1);
    // Another address.
    lr(&word);
    check(sc(&count_amo, 3) != 0);
    check_equal(count_amo, 0);
    // A trap in between.
    lr(&word);
    asm volatile(".4byte 0x00000073"); // ecall
    check(sc(&word, 4) != 0);
    check_equal(word, 1);
    if (harts > 1) {
        // Another hart's store, though it writes the same value.
        lr(&word);
        turn = 1;
        while (turn != 2)
            ;
        check(sc(&word, 5) != 0);
        check_equal(word, 1);
    } else {
        turn = 2;
    }
}

// HARTS is defined by the test.
void main(u64 hart)
{
    u64 harts = HARTS;
    if (hart == 0) {
        rules(harts);
    } else if (hart == 1) {
        while (turn != 1)
            ;
        word = word;
        turn = 2;
    } else {
        while (turn != 2)
            ;
    }
    for (u64 round = 0; round < ROUNDS; round++) {
        u64 value;
        do
            value = lr(&count_lrsc);
        while (sc(&count_lrsc, value + 1));
        __atomic_fetch_add(&count_amo, 1, __ATOMIC_SEQ_CST);
    }
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
    if (hart != 0)
        return;
    while (done != harts)
        ;
    check_equal(count_lrsc, harts * ROUNDS);
    check_equal(count_amo, harts * ROUNDS);
    print("ok\n");
    finish(0);
}
