// Calls to the firmware.
#pragma once
#include "guest.h"

struct sbi_result {
    long error;
    u64 value;
};

enum { SBI_OK = 0, SBI_NOT_SUPPORTED = -2, SBI_INVALID_PARAM = -3, SBI_ALREADY_AVAILABLE = -6 };

enum {
    SBI_BASE = 0x10,
    SBI_TIME = 0x54494d45,
    SBI_IPI = 0x735049,
    SBI_RFENCE = 0x52464e43,
    SBI_HSM = 0x48534d,
    SBI_SRST = 0x53525354,
    SBI_DBCN = 0x4442434e,
};

static inline struct sbi_result sbi(u64 extension, u64 function, u64 p0, u64 p1, u64 p2, u64 p3)
{
    register u64 a0 asm("a0") = p0;
    register u64 a1 asm("a1") = p1;
    register u64 a2 asm("a2") = p2;
    register u64 a3 asm("a3") = p3;
    register u64 a4 asm("a4") = 0;
    register u64 a6 asm("a6") = function;
    register u64 a7 asm("a7") = extension;
    asm volatile("ecall"
                 : "+r"(a0), "+r"(a1)
                 : "r"(a2), "r"(a3), "r"(a4), "r"(a6), "r"(a7)
                 : "memory");
    return (struct sbi_result){ (long)a0, a1 };
}

static inline void debug_print(const char *text)
{
    u64 length = 0;
    while (text[length])
        length++;
    struct sbi_result wrote = sbi(SBI_DBCN, 0, length, (u64)text, 0, 0);
    check_equal(wrote.error, SBI_OK);
    check_equal(wrote.value, length);
}

static inline void __attribute__((noreturn)) shut_down(void)
{
    sbi(SBI_SRST, 0, 0, 0, 0, 0);
    for (;;)
        ;
}
