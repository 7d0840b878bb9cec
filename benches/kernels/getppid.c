/* The way into the kernel and back. */
#include <sys/syscall.h>
#include <unistd.h>
#include "bench.h"

enum { CALLS = 600000 };

static uint64_t work(void) {
    uint64_t sum = 0;
    for (int i = 0; i < CALLS; i++) sum += syscall(SYS_getppid) >= 0;
    return sum;
}

BENCH_MAIN("getppid", work())
