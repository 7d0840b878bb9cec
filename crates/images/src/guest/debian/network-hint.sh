# Says at login why there is no network, if there is none. The device is looked for, not its
# interface, whose driver may still be loading (1 is a network device: virtio 1.2, section 5).
if [ -t 0 ] && ! grep -qsx 0x0001 /sys/bus/virtio/devices/*/device; then
    echo 'No network: this machine was started without it (--net user turns it on).'
fi
