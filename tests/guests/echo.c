// Echoes what is typed, in capitals, by UART interrupts through the PLIC; `q` ends it.
#include "guest.h"

#define UART_IRQ 10
#define PLIC_PRIORITY(irq) ((volatile u32 *)(0xc000000ul + 4 * (irq)))
#define PLIC_PENDING ((volatile u32 *)0xc001000ul)
#define PLIC_ENABLE ((volatile u32 *)0xc002000ul)
#define PLIC_THRESHOLD ((volatile u32 *)0xc200000ul)
#define PLIC_CLAIM ((volatile u32 *)0xc200004ul)
#define UART_IER 1
#define UART_LSR 5

static volatile u32 done;

static void __attribute__((interrupt, aligned(4))) on_trap(void)
{
    check_equal(csr_read(mcause), 1ul << 63 | 11);
    check_equal(*PLIC_CLAIM, UART_IRQ);
    // Claimed: no longer pending, and nobody else gets it.
    check_equal(*PLIC_CLAIM, 0);
    while (UART[UART_LSR] & 1) {
        u8 c = UART[0];
        if (c == 'q')
            done = 1;
        put(c >= 'a' && c <= 'z' ? c - 32 : c);
    }
    *PLIC_CLAIM = UART_IRQ;
}

void main(u64 hart)
{
    if (hart != 0)
        return;
    csr_write(mtvec, on_trap);
    *PLIC_PRIORITY(UART_IRQ) = 1;
    *PLIC_ENABLE = 1 << UART_IRQ;
    *PLIC_THRESHOLD = 0;
    // An empty transmitter interrupts once, whether or not anybody reads why.
    UART[UART_IER] = 2;
    check_equal(*PLIC_PENDING, 1 << UART_IRQ);
    check_equal(*PLIC_CLAIM, UART_IRQ);
    check_equal(*PLIC_PENDING, 0);
    *PLIC_CLAIM = UART_IRQ;
    check_equal(*PLIC_PENDING, 0);
    UART[UART_IER] = 0;
    check_equal(*PLIC_CLAIM, 0);
    UART[UART_IER] = 1;
    csr_set(mie, 1 << 11);
    csr_set(mstatus, 1 << 3);
    print("ready\n");
    while (!done)
        asm volatile("wfi");
    finish(0);
}
