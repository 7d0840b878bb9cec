/* Quicksort with a final insertion sort over a million words of random data. */
#include "bench.h"

enum { COUNT = 1 << 20, ROUNDS = 2, SMALL = 12 };

static uint32_t values[COUNT];

static void insertion(uint32_t *v, long n) {
    for (long i = 1; i < n; i++) {
        uint32_t x = v[i];
        long j = i;
        for (; j > 0 && v[j - 1] > x; j--) v[j] = v[j - 1];
        v[j] = x;
    }
}

static void quick(uint32_t *v, long n) {
    while (n > SMALL) {
        uint32_t a = v[0], b = v[n / 2], c = v[n - 1];
        uint32_t pivot = a < b ? (b < c ? b : a < c ? c : a) : (a < c ? a : b < c ? c : b);
        long i = 0, j = n - 1;
        for (;;) {
            while (v[i] < pivot) i++;
            while (v[j] > pivot) j--;
            if (i >= j) break;
            uint32_t t = v[i];
            v[i++] = v[j];
            v[j--] = t;
        }
        long split = j + 1;
        if (split < n - split) {
            quick(v, split);
            v += split;
            n -= split;
        } else {
            quick(v + split, n - split);
            n = split;
        }
    }
    insertion(v, n);
}

static uint64_t work(void) {
    uint64_t seed = 99, sum = 0;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < COUNT; i++) values[i] = (uint32_t)next_random(&seed);
        quick(values, COUNT);
        for (int i = 1; i < COUNT; i++) sum += (values[i - 1] <= values[i]) * (uint64_t)values[i];
    }
    return sum;
}

BENCH_MAIN("sort", work())
