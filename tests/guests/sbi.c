// Every extension of the built-in firmware, on all harts.
#include "sbi.h"

void second_start(void);

static volatile u64 started[4], ipis[4];

static void __attribute__((interrupt("supervisor"), aligned(4))) on_trap(void)
{
    u64 cause = csr_read(scause);
    if (cause == (1ul << 63 | 1)) {
        csr_clear(sip, 1 << 1);
        u64 hart;
        asm volatile("mv %0, tp" : "=r"(hart));
        ipis[hart]++;
    } else if (cause == (1ul << 63 | 5)) {
        // Until the next call the timer stays pending; this disarms it.
        sbi(SBI_TIME, 0, -1ul, 0, 0, 0);
        ipis[0] |= 1ul << 32;
    } else {
        print("unexpected trap ");
        print_hex(cause);
        finish(2);
    }
}

static void enable(u64 hart)
{
    asm volatile("mv tp, %0" ::"r"(hart));
    csr_write(stvec, on_trap);
    csr_set(sie, 1 << 1 | 1 << 5);
    csr_set(sstatus, 1 << 1);
}

void second_main(u64 hart, u64 opaque)
{
    check_equal(opaque, 0x1000 + hart);
    check_equal(csr_read(satp), 0);
    check_equal(csr_read(sstatus) & 2, 0);
    enable(hart);
    started[hart] = 1;
    while (!ipis[hart])
        asm volatile("wfi");
    sbi(SBI_HSM, 1, 0, 0, 0, 0);
    print("a stopped hart runs\n");
    finish(3);
}

static void base(void)
{
    check_equal(sbi(SBI_BASE, 0, 0, 0, 0, 0).error, SBI_OK);
    check(sbi(SBI_BASE, 0, 0, 0, 0, 0).value >= 2ul << 24);
    static const u64 present[] = {
        SBI_BASE, SBI_TIME, SBI_IPI, SBI_RFENCE, SBI_HSM, SBI_SRST, SBI_DBCN,
    };
    for (u64 i = 0; i < sizeof present / sizeof *present; i++)
        check(sbi(SBI_BASE, 3, present[i], 0, 0, 0).value != 0);
    check_equal(sbi(SBI_BASE, 3, 0x12345678, 0, 0, 0).value, 0);
    check_equal(sbi(0x12345678, 0, 0, 0, 0, 0).error, SBI_NOT_SUPPORTED);
    check_equal(sbi(SBI_TIME, 99, 0, 0, 0, 0).error, SBI_NOT_SUPPORTED);
}

static void harts(void)
{
    check_equal(sbi(SBI_HSM, 2, 0, 0, 0, 0).value, 0);
    check_equal(sbi(SBI_HSM, 0, 0, (u64)second_start, 0, 0).error, SBI_ALREADY_AVAILABLE);
    check_equal(sbi(SBI_HSM, 0, 77, (u64)second_start, 0, 0).error, SBI_INVALID_PARAM);
    for (u64 round = 0; round < 3; round++) {
        for (u64 hart = 1; hart < HARTS; hart++) {
            started[hart] = ipis[hart] = 0;
            check_equal(sbi(SBI_HSM, 2, hart, 0, 0, 0).value, 1);
            check_equal(sbi(SBI_HSM, 0, hart, (u64)second_start, 0x1000 + hart, 0).error, SBI_OK);
        }
        for (u64 hart = 1; hart < HARTS; hart++) {
            while (!started[hart])
                ;
            check_equal(sbi(SBI_HSM, 2, hart, 0, 0, 0).value, 0);
        }
        check_equal(sbi(SBI_RFENCE, 0, -1ul, -1ul, 0, 0).error, SBI_OK);
        check_equal(sbi(SBI_RFENCE, 1, (1 << HARTS) - 1, 0, 0, -1ul).error, SBI_OK);
        u64 mask = ((1ul << HARTS) - 1) & ~1ul;
        check_equal(sbi(SBI_IPI, 0, mask, 0, 0, 0).error, SBI_OK);
        for (u64 hart = 1; hart < HARTS; hart++) {
            while (!ipis[hart])
                ;
            while (sbi(SBI_HSM, 2, hart, 0, 0, 0).value != 1)
                ;
        }
    }
}

static void timer(void)
{
    // TIME, then the legacy call for the same.
    for (u64 extension = 0; extension < 2; extension++) {
        ipis[0] = 0;
        u64 due = csr_read(time) + 5000;
        sbi(extension ? 0 : SBI_TIME, 0, due, 0, 0, 0);
        while (!ipis[0])
            asm volatile("wfi");
        check(csr_read(time) >= due);
    }
}

static void legacy(void)
{
    sbi(1, 0, '!', 0, 0, 0);
    sbi(1, 0, '\n', 0, 0, 0);
    check_equal(sbi(2, 0, 0, 0, 0, 0).error, -1); // getchar: nothing typed
    u64 self = 1;
    ipis[0] = 0;
    check_equal(sbi(4, 0, (u64)&self, 0, 0, 0).error, 0);
    while (!ipis[0])
        ;
    check_equal(sbi(3, 0, 0, 0, 0, 0).error, 0); // clear_ipi
    check_equal(sbi(5, 0, (u64)&self, 0, 0, 0).error, 0);
    check_equal(sbi(6, 0, (u64)&self, 0, -1ul, 0).error, 0);
    check_equal(sbi(7, 0, (u64)&self, 0, -1ul, 0).error, 0);
}

void main(u64 hart)
{
    check_equal(hart, 0);
    enable(0);
    base();
    harts();
    timer();
    legacy();
    debug_print("ok\n");
    sbi(8, 0, 0, 0, 0, 0); // legacy shutdown
    for (;;)
        ;
}
