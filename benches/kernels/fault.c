/* Touches fresh pages: page faults. */
#include <sys/mman.h>
#include "bench.h"

enum { PAGES = 8192, ROUNDS = 8 };

static uint64_t work(void) {
    uint64_t sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        unsigned char *at = mmap(0, PAGES * 4096L, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        for (long i = 0; i < PAGES; i++) at[i * 4096] = (unsigned char)(i + round);
        for (long i = 0; i < PAGES; i++) sum += at[i * 4096];
        munmap(at, PAGES * 4096L);
    }
    return sum;
}

BENCH_MAIN("fault", work())
