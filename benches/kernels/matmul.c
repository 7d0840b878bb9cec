/* Multiplies matrices of 200 by 200 doubles. */
#include <string.h>
#include "bench.h"

enum { N = 200, ROUNDS = 6 };

static double a[N][N], b[N][N], c[N][N];

static uint64_t work(void) {
    uint64_t seed = 7, sum = 0, bits;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            a[i][j] = (double)(next_random(&seed) % 1000) / 7;
            b[i][j] = (double)(next_random(&seed) % 1000) / 11;
        }
    }
    for (int round = 0; round < ROUNDS; round++) {
        memset(c, 0, sizeof c);
        for (int i = 0; i < N; i++)
            for (int k = 0; k < N; k++)
                for (int j = 0; j < N; j++) c[i][j] += a[i][k] * b[k][j];
        a[round][round] += c[N - 1][round] / 1e6;
    }
    for (int i = 0; i < N; i++) {
        memcpy(&bits, &c[i][i], 8);
        sum = sum * 31 + bits;
    }
    return sum;
}

BENCH_MAIN("matmul", work())
