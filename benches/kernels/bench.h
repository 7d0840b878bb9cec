/* What the kernels share: a seeded generator and the marker lines the host times. */
#ifndef BENCH_H
#define BENCH_H
#include <stdint.h>
#include <stdio.h>

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Prints the marker before the work, so that start-up is not timed, and the checksum after it. */
#define BENCH_MAIN(name, work)                                         \
    int main(void) {                                                   \
        printf("@begin %s\n", name);                                   \
        fflush(stdout);                                                \
        uint64_t sum = (work);                                         \
        printf("@end %s %016llx\n", name, (unsigned long long)sum);    \
        return 0;                                                      \
    }
#endif
