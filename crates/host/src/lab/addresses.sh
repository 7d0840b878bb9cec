# Makes a forked guest's interfaces new ones, with their new MAC addresses, and waits for addresses:
# whoever uses the guest expects its network to be there. Run after fresh.sh.
failed=${failed-0}

has_route() {
    while read -r _ destination _; do
        [ "$destination" != 00000000 ] || return 0
    done </proc/net/route
    return 1
}

# The driver reads the MAC address when it takes the device; the interface is then a new one.
drivers=/sys/bus/virtio/drivers/virtio_net
found=
for device in "$drivers"/virtio*; do
    [ -e "$device" ] || continue
    found=1
    name=${device##*/}
    [ -e /etc/udhcpc.sh ] && killall udhcpc
    sh -c 'echo "$0" >"$1/unbind" && echo "$0" >"$1/bind"' "$name" "$drivers" || failed=1
    # Images with systemd renew addresses by themselves; the others have only udhcpc.
    if [ -e /etc/udhcpc.sh ]; then
        ip link set eth0 up
        udhcpc -i eth0 -b -S -t 2 -T 1 -s /etc/udhcpc.sh </dev/null >/dev/null 2>&1
    fi
done 2>/dev/null
tries=80
while [ -n "$found" ] && [ "$tries" -gt 0 ] && ! has_route; do
    sleep 0.1
    tries=$((tries - 1))
done
[ "$failed" = 0 ]
