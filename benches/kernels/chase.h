/* Follows a random cycle of pointers through memory of a given size. */
#include <stdlib.h>
#include "bench.h"

struct cell {
    struct cell *next;
    char rest[56];
};

static uint64_t chase(long bytes, long steps) {
    long count = bytes / (long)sizeof(struct cell);
    struct cell *cells = aligned_alloc(4096, (size_t)bytes);
    long *order = malloc((size_t)count * sizeof *order);
    uint64_t seed = 12345;
    for (long i = 0; i < count; i++) order[i] = i;
    for (long i = count - 1; i > 0; i--) {
        long j = (long)(next_random(&seed) % (uint64_t)(i + 1)), t = order[i];
        order[i] = order[j];
        order[j] = t;
    }
    for (long i = 0; i < count; i++) cells[order[i]].next = &cells[order[(i + 1) % count]];
    struct cell *at = cells;
    for (long i = 0; i < steps; i++) at = at->next;
    return (uint64_t)(at - cells);
}
