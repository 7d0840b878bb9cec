/* An interpreter of a small bytecode, running a sieve and a checksum: dispatch by switch. */
#include "bench.h"

enum { PUSH, LOAD, STORE, ADD, SUB, MUL, AND, XOR, SHR, LESS, JUMP, JUMP_IF_NOT, GET, PUT, HALT };
enum { CELLS = 8192, STEPS_OUTER = 60 };

static int64_t memory[CELLS];
static int64_t variables[16];
static int64_t stack[64];

static uint64_t run(const int32_t *code) {
    int64_t *sp = stack;
    const int32_t *pc = code;
    uint64_t executed = 0;
    for (;;) {
        executed++;
        switch (*pc++) {
        case PUSH: *sp++ = *pc++; break;
        case LOAD: *sp++ = variables[*pc++]; break;
        case STORE: variables[*pc++] = *--sp; break;
        case ADD: sp--; sp[-1] += sp[0]; break;
        case SUB: sp--; sp[-1] -= sp[0]; break;
        case MUL: sp--; sp[-1] *= sp[0]; break;
        case AND: sp--; sp[-1] &= sp[0]; break;
        case XOR: sp--; sp[-1] ^= sp[0]; break;
        case SHR: sp--; sp[-1] = (int64_t)((uint64_t)sp[-1] >> (sp[0] & 63)); break;
        case LESS: sp--; sp[-1] = sp[-1] < sp[0]; break;
        case JUMP: pc = code + *pc; break;
        case JUMP_IF_NOT: pc = *--sp ? pc + 1 : code + *pc; break;
        case GET: sp[-1] = memory[sp[-1] & (CELLS - 1)]; break;
        case PUT: sp -= 2; memory[sp[1] & (CELLS - 1)] = sp[0]; break;
        default: return executed;
        }
    }
}

/* for i in 2..CELLS: if memory[i] == 0: for j in 2i..CELLS by i: memory[j] = 1; then a checksum. */
static const int32_t program[] = {
    /*  0 */ PUSH, 2, STORE, 0,
    /*  4 */ LOAD, 0, PUSH, CELLS, LESS, JUMP_IF_NOT, 48,
    /* 11 */ LOAD, 0, GET, JUMP_IF_NOT, 18, JUMP, 39,
    /* 18 */ LOAD, 0, LOAD, 0, ADD, STORE, 1,
    /* 25 */ LOAD, 1, PUSH, CELLS, LESS, JUMP_IF_NOT, 39,
    /* 32 */ PUSH, 1, LOAD, 1, PUT, JUMP, 70,
    /* 39 */ LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 4,
    /* 48 */ PUSH, 0, STORE, 2, JUMP, 79,
    /* 54 */ HALT, HALT, HALT, HALT, HALT, HALT, HALT, HALT, HALT, HALT, HALT, HALT, HALT, HALT,
    /* 68 */ HALT, HALT,
    /* 70 */ LOAD, 1, LOAD, 0, ADD, STORE, 1, JUMP, 25,
    /* 79 */ PUSH, 0, STORE, 0,
    /* 83 */ LOAD, 0, PUSH, CELLS, LESS, JUMP_IF_NOT, 113,
    /* 90 */ LOAD, 2, PUSH, 31, MUL, LOAD, 0, GET, ADD, PUSH, 0xffffff, AND, STORE, 2,
    /* 104 */ LOAD, 0, PUSH, 1, ADD, STORE, 0, JUMP, 83,
    /* 113 */ HALT,
};

static uint64_t work(void) {
    uint64_t sum = 0;
    for (int outer = 0; outer < STEPS_OUTER; outer++) {
        for (int i = 0; i < CELLS; i++) memory[i] = 0;
        sum = sum * 31 + run(program) + (uint64_t)variables[2];
    }
    return sum;
}

BENCH_MAIN("vm", work())
