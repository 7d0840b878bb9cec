// Writes pseudo-random values to every register of every device, again and again, and sets queues
// up in memory full of pseudo-random descriptors. It only has to survive; the finisher is spared.
#include "guest.h"

static u64 state = SEED;
static u64 junk[8192] __attribute__((aligned(4096)));

static u64 next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void __attribute__((interrupt, aligned(4))) on_trap(void)
{
    u64 cause = csr_read(mcause);
    if (cause >> 63) {
        csr_clear(mie, 1ul << (cause & 63));
        return;
    }
    u64 pc = csr_read(mepc);
    csr_write(mepc, pc + ((*(u16 *)pc & 3) == 3 ? 4 : 2));
}

// Mostly numbers that mean something to a device.
static u64 value(void)
{
    switch (next() % 6) {
    case 0: return next();
    case 1: return (u64)junk + next() % sizeof junk;
    case 2: return next() % 8;
    case 3: return 1ul << next() % 64;
    case 4: return 0x80000000ul + next() % 0x1000000;
    default: return next() % 1024;
    }
}

static void access(u64 at)
{
    u64 v = value();
    switch (next() % 12) {
    case 0: *(volatile u8 *)at = v; break;
    case 1: *(volatile u16 *)at = v; break;
    case 2: *(volatile u64 *)at = v; break;
    case 3: (void)*(volatile u8 *)at; break;
    case 4: (void)*(volatile u16 *)at; break;
    case 5: (void)*(volatile u64 *)at; break;
    case 6: (void)*(volatile u32 *)at; break;
    default: *(volatile u32 *)at = v; break;
    }
}

// A queue of a virtio slot, driven far enough that the device reads it.
static void drive(volatile u32 *slot)
{
    for (u32 i = 0; i < 64; i++)
        junk[next() % 8192] = value();
    // The available ring's index moves, and its entries are small.
    u16 *avail = (u16 *)junk + 2048;
    avail[1]++;
    for (u32 i = 2; i < 18; i++)
        avail[i] = next() % 9;
    struct { u64 addr; u32 len; u16 flags, next; } *desc = (void *)junk;
    for (u32 i = 0; i < 8; i++) {
        desc[i].addr = next() % 4 ? (u64)junk + next() % sizeof junk : value();
        desc[i].len = next() % 4 ? next() % 5000 : value();
        desc[i].flags = next() % 8;
        desc[i].next = next() % 9;
    }
    if (next() % 16 == 0) {
        slot[28] = 0;
        slot[28] = 3;
        slot[9] = 1;
        slot[8] = 1;
        slot[9] = 0;
        slot[8] = next() % 4 ? 0 : next();
        slot[28] = 11;
        for (u32 queue = 0; queue < 4; queue++) {
            slot[12] = queue;
            slot[14] = 8;
            slot[32] = (u32)(u64)junk;
            slot[33] = 0;
            slot[36] = (u32)(u64)avail;
            slot[37] = 0;
            slot[40] = (u32)(u64)junk + 8192 + queue * 4096;
            slot[41] = 0;
            slot[17] = 1;
        }
        slot[28] = 15;
    }
    slot[20] = next() % 5;
}

void main(u64 hart)
{
    csr_write(mtvec, on_trap);
    state += hart * 0x9e3779b97f4a7c15ul;
    for (u64 round = 0; round < ROUNDS; round++) {
        csr_write(mie, next() % 4 ? 0 : 0x888);
        csr_write(mstatus, next() % 2 ? 8 : 0);
        u64 slot = 0x10001000ul + next() % 8 * 0x1000;
        switch (next() % 8) {
        case 0: access(0x2000000ul + next() % 0x10000); break;
        case 1: access(0xc000000ul + next() % 0x400000); break;
        case 2: access(0x10000000ul + next() % 0x100); break;
        case 3: access(0x101000ul + next() % 0x30); break;
        case 4: access(0x102000ul + next() % 0x20); break;
        case 5: access(slot + next() % 0x200); break;
        default: drive((volatile u32 *)slot); break;
        }
    }
    if (hart == 0)
        finish(0);
}
