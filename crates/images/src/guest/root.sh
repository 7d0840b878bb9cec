#!/bin/sh
# Process 1 of the image `debian` until its disk is found: loads what the kernel needs to reach
# it, then hands over.

mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
modprobe -a virtio_mmio virtio_blk crc32c_generic ext4

looks=0
until [ -b /dev/vda ] || [ "$looks" -eq 100 ]; do
    looks=$((looks + 1))
    usleep 20000
done
if ! mount -t ext4 -o noatime /dev/vda /sysroot; then
    echo 'The root file system on /dev/vda cannot be mounted; this is a shell.'
    exec setsid -c sh </dev/console >/dev/console 2>&1
fi
mount --move /dev /sysroot/dev
mount --move /proc /sysroot/proc
mount --move /sys /sysroot/sys
exec switch_root /sysroot /sbin/init
