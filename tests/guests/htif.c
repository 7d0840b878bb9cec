// Ends through HTIF, as the community's ISA tests do, with exit code 7.
#include "guest.h"

volatile u64 tohost __attribute__((aligned(64), section(".data"))) = 0;
volatile u64 fromhost __attribute__((aligned(64), section(".data"))) = 0;

void main(u64 hart)
{
    if (hart != 0)
        return;
    print("htif\n");
    tohost = 7 << 1 | 1;
    for (;;)
        ;
}
