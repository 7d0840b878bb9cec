#include "chase.h"

BENCH_MAIN("chase32m", chase(33554432, 6000000))
