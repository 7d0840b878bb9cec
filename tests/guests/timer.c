// Three timer interrupts of the CLINT in M-mode, one millisecond apart.
#include "guest.h"

#define TICKS_PER_MS 10000

static volatile u32 ticks;
static volatile u64 late;

static void __attribute__((interrupt, aligned(4))) on_trap(void)
{
    check_equal(csr_read(mcause), 1ul << 63 | 7);
    u64 due = *CLINT_MTIMECMP(0);
    check(*CLINT_MTIME >= due);
    late += *CLINT_MTIME - due;
    *CLINT_MTIMECMP(0) = due + TICKS_PER_MS;
    ticks++;
    print("tick\n");
}

void main(u64 hart)
{
    if (hart != 0)
        return;
    csr_write(mtvec, on_trap);
    *CLINT_MTIMECMP(0) = *CLINT_MTIME + TICKS_PER_MS;
    csr_set(mie, 1 << 7);
    csr_set(mstatus, 1 << 3);
    while (ticks < 3)
        asm volatile("wfi");
    // A machine in WFI wakes at the very instant.
    check(late < 30);
    finish(0);
}
