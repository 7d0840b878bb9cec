#!/bin/sh
# Process 1 of the machine in which the image `debian` is put together. /dev/vda is the blank disk
# that becomes the image; /dev/vdb holds the packages: base.tar (what the essential packages
# install, so that dpkg can run at all), e*.deb (those packages), p*.deb (the others) and
# files.tar (configuration and kernel modules). Lines that begin with @ are read by the host.

export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
modprobe -a virtio_mmio virtio_blk crc32c_generic ext4 isofs
[ -c /dev/hvc0 ] && exec </dev/null >/dev/hvc0 2>&1

fail() {
    echo "@failed $*"
    sync
    poweroff -f
}

step() {
    echo "@step $*"
}

# A command inside the new system.
inside() {
    chroot /target /usr/bin/env -i PATH=/usr/sbin:/usr/bin HOME=/root LC_ALL=C TERM=dumb \
        DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true "$@" </dev/null ||
        fail "$*"
}

# The disk is thrown away if this does not finish, so nothing need reach it in order.
dpkg="dpkg --force-unsafe-io --force-depends --force-confnew --no-triggers"

# busybox has a smaller mke2fs of its own, so this one is named by its path.
step 'making the file system'
uuid=5354564d-0000-4000-8000-000000000001
export E2FSPROGS_FAKE_TIME=1767225600
/bin/mke2fs -q -t ext4 -L debian -m 1 -U "$uuid" -J size=32 \
    -E "hash_seed=$uuid,assume_storage_prezeroed=1,root_owner=0:0" /dev/vda || fail mke2fs
mkdir -p /target
mount -t ext4 -o noatime,nobarrier,commit=900,data=writeback /dev/vda /target || fail 'mount vda'

step 'unpacking the essential packages'
mkdir -p /packages
mount -t iso9660 -o ro /dev/vdb /packages || fail 'mount vdb'
tar -x -f /packages/base.tar -C /target || fail 'base.tar'
mkdir -p /target/proc /target/sys /target/dev /target/run /target/tmp /target/mnt
mount -t proc proc /target/proc
mount -t sysfs sys /target/sys
mount -t devtmpfs dev /target/dev
mkdir -p /target/dev/pts
mount -t devpts devpts /target/dev/pts
mount -t tmpfs run /target/run
mount -t tmpfs tmp /target/tmp
mount -t iso9660 -o ro /dev/vdb /target/mnt || fail 'mount vdb'
mkdir -p /target/var/lib/dpkg/info /target/var/lib/dpkg/updates /target/etc/ssh
: >>/target/var/lib/dpkg/status
: >>/target/var/lib/dpkg/available
echo 'debian' >/target/etc/hostname
# No service starts in here.
printf '#!/bin/sh\nexit 101\n' >/target/usr/sbin/policy-rc.d
chmod 755 /target/usr/sbin/policy-rc.d
# An image has no host keys: these keep openssh-server from making any.
for kind in rsa ecdsa ed25519; do echo none >"/target/etc/ssh/ssh_host_${kind}_key"; done
inside /usr/sbin/ldconfig
ln -sf /usr/share/zoneinfo/Etc/UTC /target/etc/localtime

# What essential packages' scripts use without depending on it has to be there first.
inside sh -c "$dpkg --unpack /mnt/e*.deb"
for package in base-passwd base-files dpkg libc6 perl-base mawk debconf; do
    inside $dpkg --configure "$package"
done
inside $dpkg --configure --pending
inside sh -c "$dpkg --unpack /mnt/p*.deb"
inside $dpkg --configure --pending
inside dpkg --force-unsafe-io --configure -a

step 'adding the configuration'
tar -x -f /packages/files.tar -C /target || fail 'files.tar'
inside depmod "$(cat /target/etc/stackvm-kernel)"
inside passwd -d root
mkdir -p /target/etc/systemd/system-generators
inside systemctl -q enable ssh-host-keys.service
inside systemctl -q set-default multi-user.target
# Every unit costs a boot tens of millions of instructions; these have nothing to do here.
inside systemctl -q mask serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer dpkg-db-backup.timer \
    dev-hugepages.mount sys-kernel-config.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount modprobe@configfs.service modprobe@drm.service \
    modprobe@efi_pstore.service proc-sys-fs-binfmt_misc.automount systemd-binfmt.service \
    systemd-udev-load-credentials.service
for generator in gpt-auto hibernate-resume ssh tpm2; do
    ln -s /dev/null "/target/etc/systemd/system-generators/systemd-$generator-generator"
done
inside systemctl -q disable getty@tty1.service

# What a copy must not share, and what differs between two makings.
cd /target || fail target
rm -f usr/sbin/policy-rc.d etc/stackvm-kernel etc/ssh/ssh_host_* var/lib/systemd/random-seed \
    var/lib/dbus/machine-id var/lib/dpkg/*-old var/cache/debconf/*-old var/log/*.log \
    var/log/apt/* var/cache/ldconfig/aux-cache etc/.pwd.lock
rm -f etc/*- var/lib/apt/lists/lock var/cache/apt/*.bin
: >etc/machine-id
# Says that nothing in /usr is newer than what was made from it, which a first boot would redo.
inside /usr/lib/systemd/systemd-update-done
cd /

step 'writing the disk'
for place in mnt tmp run dev/pts dev sys proc; do umount "/target/$place" || umount -l "/target/$place"; done
umount /target || fail 'umount vda'
sync
echo '@done'
poweroff -f
