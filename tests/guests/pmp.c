// PMP: what U-mode may do, what a lock does to M-mode, and that locked entries stay.
#include "guest.h"

#define NAPOT 0x18
#define LOCKED 0x80

static volatile u64 cause, value;
static volatile u64 area[1024] __attribute__((aligned(8192)));

// Skips the instruction at fault; returns to M-mode always.
static void __attribute__((interrupt, aligned(4))) on_trap(void)
{
    cause = csr_read(mcause);
    value = csr_read(mtval);
    u64 pc = csr_read(mepc);
    csr_write(mepc, pc + ((*(u16 *)pc & 3) == 3 ? 4 : 2));
    csr_set(mstatus, 3 << 11);
}

static u64 napot(volatile void *base, u64 bytes) { return (u64)base >> 2 | (bytes / 8 - 1); }

// Loads and stores with the rights of U-mode, through MPRV.
static u64 load_as_user(volatile u64 *at)
{
    u64 got;
    csr_clear(mstatus, 3 << 11);
    asm volatile("csrs mstatus, %1\n.option push\n.option norvc\nld %0, 0(%2)\n.option pop\n"
                 "csrc mstatus, %1"
                 : "=&r"(got) : "r"(1ul << 17), "r"(at) : "memory");
    return got;
}

static void store_as_user(volatile u64 *at)
{
    csr_clear(mstatus, 3 << 11);
    asm volatile("csrs mstatus, %0\n.option push\n.option norvc\nsd zero, 0(%1)\n.option pop\n"
                 "csrc mstatus, %0" ::"r"(1ul << 17), "r"(at) : "memory");
}

static u64 cause_of_load(volatile u64 *at) { cause = 0; load_as_user(at); return cause; }
static u64 cause_of_store(volatile u64 *at) { cause = 0; store_as_user(at); return cause; }

void main(u64 hart)
{
    if (hart != 0)
        return;
    csr_write(mtvec, on_trap);
    // No entry matches: M-mode may, U-mode may not.
    check_equal(cause_of_load(area), 5);
    check_equal(value, (u64)area);
    check_equal(cause_of_store(area), 7);
    // Entry 1 allows everything; entry 0 makes 64 bytes read-only, and wins.
    csr_write(pmpaddr1, -1ul);
    csr_write(pmpaddr0, napot(&area[8], 64));
    csr_write(pmpcfg0, (NAPOT | 7) << 8 | NAPOT | 1);
    check_equal(cause_of_load(&area[8]), 0);
    check_equal(cause_of_store(&area[8]), 7);
    check_equal(cause_of_store(&area[15]), 7);
    check_equal(cause_of_store(&area[7]), 0);
    check_equal(cause_of_store(&area[16]), 0);
    // Half in, half out: fails, whatever the entry allows.
    check_equal(cause_of_store((volatile u64 *)((u64)&area[15] + 4)), 7);
    // Not locked: M-mode is not bound by it.
    area[8] = 1;
    check_equal(area[8], 1);
    // Locked: M-mode is bound, and the entry does not change any more.
    csr_write(pmpcfg0, (NAPOT | 7) << 8 | LOCKED | NAPOT | 1);
    cause = 0;
    *(volatile u64 *)&area[8] = 2;
    check_equal(cause, 7);
    check_equal(area[8], 1);
    csr_write(pmpcfg0, (NAPOT | 7) << 8);
    check_equal(csr_read(pmpcfg0) & 0xff, LOCKED | NAPOT | 1);
    u64 before = csr_read(pmpaddr0);
    csr_write(pmpaddr0, 0);
    check_equal(csr_read(pmpaddr0), before);
    print("ok\n");
    finish(0);
}
