// Prints what device registers hold after what drivers write to them. The test runs this on QEMU
// as well and compares.
#include "guest.h"

#define PLIC 0xc000000ul
#define RTC 0x101000ul

// Noted first and printed at the end: printing is traffic on one of the devices.
static struct {
    const char *what;
    u64 value;
} noted[100];
static u32 count;

static void show(const char *what, u64 value)
{
    noted[count].what = what;
    noted[count++].value = value;
}

static void print_noted(void)
{
    for (u32 i = 0; i < count; i++) {
        print(noted[i].what);
        print(" ");
        print_hex(noted[i].value);
        print("\n");
    }
}

#define show32(what, at) show(what, *(volatile u32 *)(at))
#define set32(at, v) (*(volatile u32 *)(at) = (v))

static void uart(void)
{
    show("lsr", UART[5]);
    show("iir", UART[2]);
    UART[7] = 0x5a;
    show("scr", UART[7]);
    UART[3] = 0x83;
    show("lcr dlab", UART[3]);
    UART[0] = 0x34;
    UART[1] = 0x12;
    show("dll", UART[0]);
    show("dlm", UART[1]);
    UART[3] = 0x03;
    show("lcr", UART[3]);
    show("ier", UART[1]);
    UART[1] = 0x0f;
    show("ier all", UART[1]);
    // The transmitter is empty: an interrupt, which reading IIR acknowledges.
    show("iir thre", UART[2] & 0x0f);
    show("iir after", UART[2] & 0x0f);
    UART[1] = 0;
    UART[2] = 1;
    show("iir fifo", UART[2]);
    UART[2] = 0;
    show("iir no fifo", UART[2]);
    // Loopback: what is sent is received; modem outputs come back as inputs.
    UART[4] = 0x1f;
    show("mcr loop", UART[4]);
    show("msr loop", UART[6] & 0xf0);
    UART[0] = 'x';
    show("lsr loop", UART[5]);
    show("rbr loop", UART[0]);
    show("lsr read", UART[5]);
    UART[4] = 0x0a;
    show("mcr back", UART[4]);
}

static void clint(void)
{
    set32(0x2004000ul, 0x89abcdef);
    set32(0x2004004ul, 0x01234567);
    show("mtimecmp", *CLINT_MTIMECMP(0));
    show32("mtimecmp low", 0x2004000ul);
    show32("mtimecmp high", 0x2004004ul);
    show("mtip", csr_read(mip) & 0x80);
    *CLINT_MTIMECMP(0) = 0;
    show("mtip due", csr_read(mip) & 0x80);
    *CLINT_MTIMECMP(0) = -1ul;
    show("mtip off", csr_read(mip) & 0x80);
    *CLINT_MSIP(0) = 0xffffffff;
    show("msip", *CLINT_MSIP(0));
    show("mip", csr_read(mip) & 0x88);
    *CLINT_MSIP(0) = 0;
    show("mip off", csr_read(mip) & 0x88);
    u64 before = *CLINT_MTIME;
    show("time goes on", csr_read(time) >= before);
}

static void plic(void)
{
    for (u32 source = 0; source < 4; source++) {
        set32(PLIC + 4 * source, 5);
        show32("priority", PLIC + 4 * source);
    }
    set32(PLIC + 4, 0xffffffff);
    show32("priority max", PLIC + 4);
    set32(PLIC + 4 * 95, 2);
    show32("priority 95", PLIC + 4 * 95);
    set32(PLIC + 4 * 200, 2);
    show32("priority 200", PLIC + 4 * 200);
    for (u32 context = 0; context < 2; context++) {
        u64 enable = PLIC + 0x2000 + 0x80 * context, threshold = PLIC + 0x200000 + 0x1000 * context;
        set32(enable, 0xfffffffe); // there is no source 0
        show32("enable", enable);
        set32(enable + 8, 0xffffffff);
        show32("enable 64", enable + 8);
        set32(enable, 0);
        set32(enable + 8, 0);
        set32(threshold, 3);
        show32("threshold", threshold);
        set32(threshold, 0xffffffff);
        show32("threshold max", threshold);
        set32(threshold, 0);
        show32("claim", threshold + 4);
    }
    // The UART's interrupt: pending, masked by the threshold, claimed, completed, pending again.
    set32(PLIC + 4 * 10, 3);
    set32(PLIC + 0x2000, 1 << 10);
    UART[1] = 2;
    show32("pending", PLIC + 0x1000);
    show("meip", csr_read(mip) & 0x800);
    set32(PLIC + 0x200000, 3);
    show("meip masked", csr_read(mip) & 0x800);
    set32(PLIC + 0x200000, 2);
    show("meip again", csr_read(mip) & 0x800);
    show32("claimed", PLIC + 0x200004);
    show32("pending after", PLIC + 0x1000);
    show("meip after", csr_read(mip) & 0x800);
    UART[1] = 0;
    set32(PLIC + 0x200004, 10);
    show32("pending completed", PLIC + 0x1000);
    show32("claim none", PLIC + 0x200004);
}

static void rtc(void)
{
    show32("alarm status", RTC + 0x18);
    set32(RTC + 0x10, 0);
    show32("irq enabled", RTC + 0x10);
    u64 low = *(volatile u32 *)RTC, high = *(volatile u32 *)(RTC + 4);
    show("this century", (high << 32 | low) / 1000000000 > 1600000000);
}

static void empty_slot(void)
{
    volatile u32 *slot = (volatile u32 *)0x10003000ul;
    show("magic", slot[0]);
    show("version", slot[1]);
    show("device", slot[2]);
}

void main(u64 hart)
{
    if (hart != 0)
        return;
    uart();
    clint();
    plic();
    rtc();
    empty_slot();
    print_noted();
    finish(0);
}
