#!/bin/sh
# Process 1 of the image `tiny`. The prompt comes first; all that can wait starts behind it.

export PATH=/usr/local/bin:/bin HOME=/root TERM=xterm-256color

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo tiny >/proc/sys/kernel/hostname

# busybox's halt, poweroff and reboot signal process 1.
stop() {
    sync
    umount -a -r 2>/dev/null
    busybox "$1" -f
}
trap 'stop poweroff' USR1 USR2
trap 'stop reboot' TERM

release=$(uname -r)
insmod "/lib/modules/$release/virtio_mmio.ko"

# Which devices there are decides what is worth loading (virtio 1.2, section 5).
net='' blk='' rng=''
for device in /sys/bus/virtio/devices/*/device; do
    read -r id <"$device" 2>/dev/null || continue
    case $id in
        0x0001) net=virtio_net ;;
        0x0002) blk='virtio_blk crc32c_generic ext4' ;;
        0x0004) rng=virtio_rng ;;
    esac
done
if [ -z "$net" ]; then
    echo 'No network: this machine was started without it (--net user turns it on).' >/etc/motd
fi

# What a shell runs with `&` ignores interrupts (Ctrl-C, Ctrl-\) for good, and so does all that comes
# after it. What people's programs come after is begun by a program instead.
begin() {
    script=$1
    shift
    # The file is not there, so nobody looks for this among all processes.
    start-stop-daemon -S -b -p /run/none.pid -x "$script" -- "$@"
}
cd /root
terminal=/dev/hvc0
[ -c "$terminal" ] || terminal=/dev/ttyS0
begin /etc/tiny/log-in "$terminal"
begin /etc/tiny/behind "$net" "$blk" "$rng"

# Reaps what others leave; a signal ends a wait, and its trap runs. There must be something to wait
# for.
while :; do
    sleep 1000000000 &
    wait
done
