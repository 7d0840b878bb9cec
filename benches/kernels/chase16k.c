#include "chase.h"

BENCH_MAIN("chase16k", chase(16384, 100000000))
