// A virtio-blk driver from nothing: reads and writes, with chains of odd pieces that cross pages,
// and requests that a device must refuse.
#include "guest.h"

#define SLOT ((volatile u32 *)0x10001000ul)
#define SECTOR 512
#define QUEUE 8

enum {
    MAGIC = 0, VERSION = 1, DEVICE = 2, FEATURES = 4, FEATURES_SEL = 5, DRIVER = 8, DRIVER_SEL = 9,
    QUEUE_SEL = 12, QUEUE_MAX = 13, QUEUE_NUM = 14, QUEUE_READY = 17, NOTIFY = 20, IRQ_STATUS = 24,
    IRQ_ACK = 25, STATUS = 28, DESC = 32, AVAIL = 36, USED = 40, CONFIG = 64,
};

struct desc {
    u64 addr;
    u32 len;
    u16 flags, next;
};

static struct desc descs[QUEUE] __attribute__((aligned(16)));
static struct { u16 flags, idx, ring[QUEUE]; } avail __attribute__((aligned(2)));
static volatile struct { u16 flags, idx; struct { u32 id, len; } ring[QUEUE]; } used
    __attribute__((aligned(4)));
static struct { u32 type, reserved; u64 sector; } header;
static volatile u8 status;
static u8 data[4 * 4096] __attribute__((aligned(4096)));

static void set_address(u32 reg, volatile void *at)
{
    SLOT[reg] = (u32)(u64)at;
    SLOT[reg + 1] = (u64)at >> 32;
}

static void start(void)
{
    check_equal(SLOT[MAGIC], 0x74726976);
    check_equal(SLOT[VERSION], 2);
    check_equal(SLOT[DEVICE], 2);
    SLOT[STATUS] = 0;
    SLOT[STATUS] = 1 | 2;
    SLOT[FEATURES_SEL] = 1;
    check(SLOT[FEATURES] & 1); // VERSION_1
    SLOT[DRIVER_SEL] = 1;
    SLOT[DRIVER] = 1;
    SLOT[DRIVER_SEL] = 0;
    SLOT[DRIVER] = 0;
    SLOT[STATUS] = 1 | 2 | 8;
    check(SLOT[STATUS] & 8);
    SLOT[QUEUE_SEL] = 0;
    check(SLOT[QUEUE_MAX] >= QUEUE);
    SLOT[QUEUE_NUM] = QUEUE;
    set_address(DESC, descs);
    set_address(AVAIL, &avail);
    set_address(USED, &used);
    SLOT[QUEUE_READY] = 1;
    SLOT[STATUS] = 1 | 2 | 8 | 4;
}

// One request over `pieces` of `data`, given as offset and length; returns how many bytes the
// device wrote.
static u32 request(u32 type, u64 sector, const u32 (*pieces)[2], u32 count)
{
    header.type = type;
    header.sector = sector;
    status = 0xff;
    descs[0] = (struct desc){ (u64)&header, 16, 1, 1 };
    u32 at = 1;
    for (u32 i = 0; i < count; i++, at++)
        descs[at] = (struct desc){ (u64)data + pieces[i][0], pieces[i][1],
                                   type == 0 ? 3 : 1, at + 1 };
    descs[at] = (struct desc){ (u64)&status, 1, 2, 0 };
    u16 seen = used.idx;
    avail.ring[avail.idx % QUEUE] = 0;
    __sync_synchronize();
    avail.idx++;
    __sync_synchronize();
    SLOT[NOTIFY] = 0;
    while (used.idx == seen)
        asm volatile("wfi");
    check(SLOT[IRQ_STATUS] & 1);
    SLOT[IRQ_ACK] = 1;
    check_equal(SLOT[IRQ_STATUS] & 1, 0);
    check_equal(used.ring[seen % QUEUE].id, 0);
    return used.ring[seen % QUEUE].len;
}

void main(u64 hart)
{
    if (hart != 0)
        return;
    // WFI returns when the device's interrupt is pending, though it is not taken.
    *(volatile u32 *)0xc000004ul = 1;
    *(volatile u32 *)0xc002000ul = 1 << 1;
    csr_set(mie, 1 << 11);
    start();
    check_equal(SLOT[CONFIG], 64); // sectors
    // The disk of the test holds the sector's number in every byte.
    static const u32 odd[][2] = { { 4096 - 100, 333 }, { 100, 1 }, { 8192 - 3, 690 } };
    check_equal(request(0, 5, odd, 3), 1024 + 1);
    check_equal(status, 0);
    check_equal(data[4096 - 100], 5);
    check_equal(data[4096 - 100 + 332], 5);
    check_equal(data[4096 - 100 + 333], 0);
    check_equal(data[100], 5);
    check_equal(data[8192 - 3], 5);
    check_equal(data[8192 - 3 + 177], 5);
    check_equal(data[8192 - 3 + 178], 6);
    check_equal(data[8192 - 3 + 689], 6);
    // Written and read back.
    for (u32 i = 0; i < 1024; i++)
        data[i] = i * 7;
    static const u32 whole[][2] = { { 0, 1024 } }, back[][2] = { { 9000, 1024 } };
    check_equal(request(1, 62, whole, 1), 1);
    check_equal(status, 0);
    check_equal(request(0, 62, back, 1), 1025);
    for (u32 i = 0; i < 1024; i++)
        check_equal(data[9000 + i], (u8)(i * 7));
    // Beyond the end, and a request nobody knows.
    request(0, 63, whole, 1);
    check_equal(status, 1);
    request(1, ~0ul, whole, 1);
    check_equal(status, 1);
    request(99, 0, whole, 1);
    check_equal(status, 2);
    // Memory that is not there: an error or a device that needs a reset, never more.
    data[0] = 1;
    header.type = 0;
    header.sector = 0;
    descs[0] = (struct desc){ (u64)&header, 16, 1, 1 };
    descs[1] = (struct desc){ 0x7000000000ul, 512, 3, 2 };
    descs[2] = (struct desc){ (u64)&status, 1, 2, 0 };
    avail.ring[avail.idx % QUEUE] = 0;
    avail.idx++;
    SLOT[NOTIFY] = 0;
    for (volatile u32 i = 0; i < 100000; i++)
        ;
    // A reset cures everything.
    u16 before = avail.idx;
    (void)before;
    avail.idx = 0;
    used.idx = 0;
    start();
    check_equal(request(0, 5, whole, 1), 1025);
    check_equal(data[0], 5);
    print("ok\n");
    finish(0);
}
