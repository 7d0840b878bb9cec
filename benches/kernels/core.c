/* Linked list, small integer matrix, state machine and CRC: the mix that embedded benchmarks use. */
#include "bench.h"

enum { NODES = 256, SIDE = 24, ROUNDS = 20000 };

struct node {
    struct node *next;
    uint16_t key, data;
};

static struct node nodes[NODES];
static int16_t left[SIDE][SIDE], right[SIDE][SIDE];
static int32_t product[SIDE][SIDE];

static uint16_t crc16(uint16_t crc, uint32_t value) {
    for (int bit = 0; bit < 32; bit++) {
        uint16_t carry = (crc ^ value) & 1;
        crc >>= 1;
        value >>= 1;
        if (carry) crc ^= 0xa001;
    }
    return crc;
}

static struct node *reverse(struct node *list) {
    struct node *done = 0;
    while (list) {
        struct node *next = list->next;
        list->next = done;
        done = list;
        list = next;
    }
    return done;
}

static uint32_t find_all(struct node *list, uint16_t key) {
    uint32_t found = 0;
    for (; list; list = list->next)
        if ((list->key & 0xff) == (key & 0xff)) found += list->data;
    return found;
}

static uint32_t multiply(int16_t bias) {
    uint32_t sum = 0;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            int32_t cell = 0;
            for (int k = 0; k < SIDE; k++) cell += (left[i][k] + bias) * right[k][j];
            product[i][j] = cell;
            sum += cell >> 4;
        }
    return sum;
}

/* Scans decimal numbers, hexadecimal ones and words in a text. */
static uint32_t scan(const char *text) {
    enum { START, NUMBER, WORD, OTHER } state = START;
    uint32_t counts[4] = {0};
    for (; *text; text++) {
        char c = *text;
        switch (state) {
        case START:
            state = c >= '0' && c <= '9' ? NUMBER : c >= 'a' && c <= 'z' ? WORD : OTHER;
            break;
        case NUMBER:
            if (c == ' ') state = START;
            else if ((c < '0' || c > '9') && c != '.' && c != 'x') state = OTHER;
            break;
        case WORD:
            if (c == ' ') state = START;
            else if (c < 'a' || c > 'z') state = OTHER;
            break;
        case OTHER:
            if (c == ' ') state = START;
            break;
        }
        counts[state]++;
    }
    return counts[0] + 3 * counts[1] + 5 * counts[2] + 7 * counts[3];
}

static uint64_t work(void) {
    uint64_t seed = 42;
    for (int i = 0; i < NODES; i++)
        nodes[i] = (struct node){i + 1 < NODES ? &nodes[(i * 97 + 97) % NODES] : 0,
                                 (uint16_t)next_random(&seed), (uint16_t)next_random(&seed)};
    /* One list through all nodes, in scattered order. */
    for (int i = 0; i < NODES; i++)
        nodes[(i * 97) % NODES].next = i + 1 < NODES ? &nodes[((i + 1) * 97) % NODES] : 0;
    for (int i = 0; i < SIDE; i++)
        for (int j = 0; j < SIDE; j++) {
            left[i][j] = (int16_t)next_random(&seed);
            right[i][j] = (int16_t)next_random(&seed);
        }
    struct node *list = &nodes[0];
    uint16_t crc = 0;
    for (int round = 0; round < ROUNDS; round++) {
        crc = crc16(crc, find_all(list, (uint16_t)round));
        list = reverse(list);
        if (round % 4 == 0) crc = crc16(crc, multiply((int16_t)round));
        crc = crc16(crc, scan("12 0x7f foo bar9 3.14 +5 qux 99999 zz a1b2 -7 end 0 1 2 three"));
    }
    return crc;
}

BENCH_MAIN("core", work())
