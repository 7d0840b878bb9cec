#!/bin/sh
# What can wait until there is a prompt. $1, $2, $3: modules of network, disks, entropy.

net=$1 blk=$2 rng=$3

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

mkdir -p /dev/pts /dev/shm
mount -t devpts -o mode=0620,ptmxmode=0666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
{
    [ -n "$net$blk$rng" ] && modprobe -a $net $blk $rng
    network
} &
agent
