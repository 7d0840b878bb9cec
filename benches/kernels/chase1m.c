#include "chase.h"

BENCH_MAIN("chase1m", chase(1048576, 30000000))
