// Code that changes itself: after fence.i the new instruction runs, in a loop, in a function that
// was hot before, and across a page boundary.
#include "guest.h"

static u32 code[2048] __attribute__((aligned(4096)));

static u32 addi_a0(u32 n) { return 0x00050513 | n << 20; } // addi a0, a0, n

static u64 run(u32 *at, u64 value)
{
    asm volatile("fence.i" ::: "memory");
    return ((u64(*)(u64))at)(value);
}

void main(u64 hart)
{
    if (hart != 0)
        return;
    for (u32 n = 1; n < 1000; n++) {
        code[0] = addi_a0(n);
        code[1] = 0x00008067; // ret
        check_equal(run(code, 5), 5 + n);
    }
    for (u32 round = 0; round < 1000; round++)
        check_equal(run(code, round), round + 999);
    // An instruction with one half in each of two pages; each half changes by itself.
    u16 *half = (u16 *)&code[1024] - 1;
    half[2] = 0x8067;
    half[3] = 0;
    for (u32 n = 1; n < 100; n++) {
        half[0] = (u16)addi_a0(n);
        half[1] = addi_a0(n) >> 16;
        check_equal(run((u32 *)half, 7), 7 + n);
        half[1] = addi_a0(2 * n) >> 16;
        check_equal(run((u32 *)half, 7), 7 + 2 * n);
    }
    print("ok\n");
    finish(0);
}
