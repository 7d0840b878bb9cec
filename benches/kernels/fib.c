/* Calls and returns: the naive recursion. */
#include "bench.h"

__attribute__((noinline)) static uint64_t fib(uint64_t n) {
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

/* Unseen by the compiler, which would otherwise unroll the recursion to its end. */
static volatile uint64_t n = 34;

BENCH_MAIN("fib", fib(n))
