/* Two processes hand a byte to and fro: context switches. */
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

enum { ROUNDS = 20000 };

static uint64_t work(void) {
    int there[2], back[2];
    if (pipe(there) || pipe(back)) return 0;
    pid_t child = fork();
    unsigned char byte = 0;
    uint64_t sum = 0;
    if (child == 0) {
        for (int i = 0; i < ROUNDS; i++) {
            if (read(there[0], &byte, 1) != 1) _exit(1);
            byte++;
            if (write(back[1], &byte, 1) != 1) _exit(1);
        }
        _exit(0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1) break;
        sum += byte;
    }
    waitpid(child, 0, 0);
    return sum;
}

BENCH_MAIN("pipe", work())
