// Harts that sleep in WFI and wake each other in a ring, by CLINT software interrupts.
#include "guest.h"

#define LAPS 100

static volatile u64 laps, awake;

void main(u64 hart)
{
    csr_set(mie, 1 << 3);
    __atomic_fetch_add(&awake, 1, __ATOMIC_SEQ_CST);
    if (hart == 0) {
        while (awake != HARTS)
            ;
        *CLINT_MSIP(1 % HARTS) = 1;
    }
    for (;;) {
        while (!(csr_read(mip) & 1 << 3))
            asm volatile("wfi");
        *CLINT_MSIP(hart) = 0;
        if (hart == 0 && ++laps == LAPS)
            break;
        *CLINT_MSIP((hart + 1) % HARTS) = 1;
    }
    print("ok\n");
    finish(0);
}
