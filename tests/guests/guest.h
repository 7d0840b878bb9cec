// What the guests share: the UART, the finisher, CSRs, and checks.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

#define UART ((volatile u8 *)0x10000000)
#define FINISHER ((volatile u32 *)0x100000)
#define CLINT_MSIP(hart) ((volatile u32 *)(0x2000000ul + 4 * (hart)))
#define CLINT_MTIMECMP(hart) ((volatile u64 *)(0x2004000ul + 8 * (hart)))
#define CLINT_MTIME ((volatile u64 *)0x200bff8ul)

#define csr_read(csr) ({ u64 v; asm volatile("csrr %0, " #csr : "=r"(v)); v; })
#define csr_write(csr, v) asm volatile("csrw " #csr ", %0" ::"r"((u64)(v)) : "memory")
#define csr_set(csr, v) asm volatile("csrs " #csr ", %0" ::"r"((u64)(v)) : "memory")
#define csr_clear(csr, v) asm volatile("csrc " #csr ", %0" ::"r"((u64)(v)) : "memory")

static inline void put(char c) { *UART = c; }

static inline void print(const char *text)
{
    while (*text)
        put(*text++);
}

static inline void print_hex(u64 value)
{
    for (int shift = 60; shift >= 0; shift -= 4)
        put("0123456789abcdef"[value >> shift & 15]);
}

// Powers the machine off; 0 is success.
static inline void __attribute__((noreturn)) finish(u32 code)
{
    *FINISHER = code ? code << 16 | 0x3333 : 0x5555;
    for (;;)
        ;
}

#define check(condition)                                                     \
    do {                                                                     \
        if (!(condition)) {                                                  \
            print(__FILE_NAME__ ": not so: " #condition "\n");               \
            finish(1);                                                       \
        }                                                                    \
    } while (0)

#define check_equal(value, expected)                                         \
    do {                                                                     \
        u64 v_ = (u64)(value), e_ = (u64)(expected);                         \
        if (v_ != e_) {                                                      \
            print(__FILE_NAME__ ": " #value " is ");                         \
            print_hex(v_);                                                   \
            print(", not ");                                                 \
            print_hex(e_);                                                   \
            print("\n");                                                     \
            finish(1);                                                       \
        }                                                                    \
    } while (0)
