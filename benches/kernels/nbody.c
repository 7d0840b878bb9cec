/* Five bodies under gravity, in double precision: multiplications, divisions, square roots. */
#include <math.h>
#include <string.h>
#include "bench.h"

enum { BODIES = 5, STEPS = 400000 };

static double position[BODIES][3] = {
    {0, 0, 0}, {4.84, -1.16, -0.10}, {8.34, 4.12, -0.40}, {12.89, -15.11, -0.22}, {15.37, -25.91, 0.17},
};
static double velocity[BODIES][3] = {
    {0, 0, 0}, {0.60, 2.81, -0.02}, {-1.01, 1.82, 0.008}, {1.08, 0.86, -0.01}, {0.97, 0.59, -0.03},
};
static const double mass[BODIES] = {39.47, 0.037, 0.011, 0.0017, 0.0020};

static void step(double dt) {
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            double d[3], square = 0;
            for (int k = 0; k < 3; k++) {
                d[k] = position[i][k] - position[j][k];
                square += d[k] * d[k];
            }
            double pull = dt / (square * sqrt(square));
            for (int k = 0; k < 3; k++) {
                velocity[i][k] -= d[k] * mass[j] * pull;
                velocity[j][k] += d[k] * mass[i] * pull;
            }
        }
    }
    for (int i = 0; i < BODIES; i++)
        for (int k = 0; k < 3; k++) position[i][k] += dt * velocity[i][k];
}

static uint64_t work(void) {
    for (int i = 0; i < STEPS; i++) step(0.001);
    uint64_t sum = 0, bits;
    for (int i = 0; i < BODIES; i++) {
        memcpy(&bits, &position[i][0], 8);
        sum = sum * 31 + bits;
    }
    return sum;
}

BENCH_MAIN("nbody", work())
