// Sleeps until something is typed, then works: hart 0 fills memory, wakes the other harts, which
// stir their part of it, and prints a sum. A timer ticks meanwhile. `q` ends it, `r` asks for a
// reset.
#include "guest.h"

#define UART_IRQ 10
#define PLIC_PRIORITY(irq) ((volatile u32 *)(0xc000000ul + 4 * (irq)))
#define PLIC_ENABLE ((volatile u32 *)0xc002000ul)
#define PLIC_CLAIM ((volatile u32 *)0xc200004ul)
#define UART_IER 1
#define UART_LSR 5
#define TICK 10000
#define PART 8192

static u64 memory[HARTS][PART] __attribute__((aligned(4096)));
static volatile u64 done, ticks, typed[256], head, tail;

static void __attribute__((interrupt, aligned(4))) on_trap(void)
{
    u64 cause = csr_read(mcause) & 63;
    if (cause == 7) {
        ticks++;
        *CLINT_MTIMECMP(0) += TICK;
        return;
    }
    check_equal(cause, 11);
    check_equal(*PLIC_CLAIM, UART_IRQ);
    while (UART[UART_LSR] & 1)
        typed[head++ % 256] = UART[0];
    *PLIC_CLAIM = UART_IRQ;
}

static void stir(u64 hart)
{
    u64 state = memory[hart][0] | 1;
    for (u64 i = 0; i < PART; i++) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        memory[hart][i] += state;
    }
    __atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
}

static void work(char c)
{
    done = 0;
    for (u64 hart = 0; hart < HARTS; hart++)
        for (u64 i = 0; i < (u64)c * 16; i++)
            memory[hart][i * 3 % PART] ^= c + i;
    for (u64 hart = 1; hart < HARTS; hart++)
        *CLINT_MSIP(hart) = 1;
    stir(0);
    while (done != HARTS)
        ;
    u64 sum = ticks;
    for (u64 hart = 0; hart < HARTS; hart++)
        for (u64 i = 0; i < PART; i++)
            sum = sum * 31 + memory[hart][i];
    put(c);
    print(" sum ");
    print_hex(sum);
    print("\n");
}

void main(u64 hart)
{
    if (hart != 0) {
        csr_set(mie, 1 << 3);
        for (;;) {
            while (!(csr_read(mip) & 1 << 3))
                asm volatile("wfi");
            *CLINT_MSIP(hart) = 0;
            stir(hart);
        }
    }
    csr_write(mtvec, on_trap);
    *PLIC_PRIORITY(UART_IRQ) = 1;
    *PLIC_ENABLE = 1 << UART_IRQ;
    UART[UART_IER] = 1;
    *CLINT_MTIMECMP(0) = *CLINT_MTIME + TICK;
    csr_set(mie, 1 << 11 | 1 << 7);
    csr_set(mstatus, 1 << 3);
    print("ready\n");
    for (;;) {
        while (tail == head)
            asm volatile("wfi");
        char c = typed[tail++ % 256];
        if (c == 'q')
            finish(0);
        if (c == 'r')
            *FINISHER = 0x7777;
        work(c);
    }
}
