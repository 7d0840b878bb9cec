/* Starts a program that ends at once, again and again: fork, exec, exit, wait. */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "bench.h"

enum { ROUNDS = 300 };

static uint64_t work(char *self) {
    uint64_t sum = 0;
    for (int i = 0; i < ROUNDS; i++) {
        pid_t child = fork();
        if (child == 0) {
            execl(self, self, "child", (char *)0);
            _exit(1);
        }
        int status = -1;
        waitpid(child, &status, 0);
        sum += status == 7 << 8;
    }
    return sum;
}

int main(int argc, char **argv) {
    if (argc > 1) return 7;
    printf("@begin forkexec\n");
    fflush(stdout);
    uint64_t sum = work(argv[0]);
    printf("@end forkexec %016llx\n", (unsigned long long)sum);
    return 0;
}
