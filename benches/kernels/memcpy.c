/* Copies 64 MiB to and fro with the C library's memcpy. */
#include <stdlib.h>
#include <string.h>
#include "bench.h"

enum { BYTES = 64 << 20, ROUNDS = 10 };

static uint64_t work(void) {
    unsigned char *a = malloc(BYTES), *b = malloc(BYTES);
    for (long i = 0; i < BYTES; i++) a[i] = (unsigned char)(i * 7);
    memset(b, 1, BYTES);
    for (int round = 0; round < ROUNDS; round++) {
        memcpy(round & 1 ? a : b, round & 1 ? b : a, BYTES);
        a[round] ^= b[BYTES - 1 - round];
    }
    uint64_t sum = 0;
    for (long i = 0; i < BYTES; i += 4096) sum = sum * 31 + a[i] + b[i];
    return sum;
}

BENCH_MAIN("memcpy", work())
