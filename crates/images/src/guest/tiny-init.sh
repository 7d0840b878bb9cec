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

# A login shell in a session of its own on a terminal, again and again. What a shell runs with `&`
# ignores interrupts, and so would all that comes after it: `login` ends that, so that Ctrl-C works.
log_in() {
    while :; do
        setsid -c login -p -f root <"$1" >"$1" 2>&1
        sleep 1
    done
}
cd /root
terminal=/dev/hvc0
[ -c "$terminal" ] || terminal=/dev/ttyS0
log_in "$terminal" &

# There is no udev: the named ports of the virtio console get their links here. They arrive one
# by one, so links are made once two looks find the same number of them.
link_ports() {
    before=0 looks=0
    while [ "$looks" -lt 100 ]; do
        count=0
        for name in /sys/class/virtio-ports/*/name; do
            [ -e "$name" ] && count=$((count + 1))
        done
        [ "$count" -gt 0 ] && [ "$count" -eq "$before" ] && break
        before=$count looks=$((looks + 1))
        usleep 20000
    done
    mkdir -p /dev/virtio-ports
    for name in /sys/class/virtio-ports/*/name; do
        read -r label <"$name" 2>/dev/null || continue
        port=${name%/name}
        [ -n "$label" ] && ln -sf "../${port##*/}" "/dev/virtio-ports/$label"
    done
}

agent() {
    link_ports
    port=/dev/virtio-ports/org.qemu.guest_agent.0
    while [ -e "$port" ]; do
        qemu-ga -m virtio-serial -p "$port" -t /run >/dev/null 2>&1
        sleep 1
    done
}

network() {
    ip link set lo up
    [ -n "$net" ] && ip link set eth0 up && udhcpc -i eth0 -b -S -s /etc/udhcpc.sh
}

behind() {
    mkdir -p /dev/pts /dev/shm
    mount -t devpts -o mode=0620,ptmxmode=0666 devpts /dev/pts
    mount -t tmpfs -o mode=1777 shm /dev/shm
    agent &
    [ -n "$net$blk$rng" ] && modprobe -a $net $blk $rng
    network
}
behind </dev/null >/dev/null 2>&1 &

# Reaps what others leave; a signal ends a wait, and its trap runs.
while :; do
    wait
done
