# Makes a forked guest one of its own: $1 is its new host name, $2, if given, the time in seconds
# since 1970. Run through the agent after the machine's identity has changed, so randomness is
# fresh already. It is what a user waits for, so it starts no process that it can do without.
failed=0
need() {
    "$@" || failed=1
}

[ -z "${2-}" ] || need date -s "@$2" >/dev/null

echo "$1" >/proc/sys/kernel/hostname || failed=1
[ ! -w /etc ] || echo "$1" >/etc/hostname || failed=1

# systemd takes another system's id from D-Bus if that is left.
if [ -e /etc/machine-id ]; then
    [ ! -e /var/lib/dbus/machine-id ] || rm -f /var/lib/dbus/machine-id
    if command -v systemd-machine-id-setup >/dev/null; then
        rm -f /etc/machine-id
        need systemd-machine-id-setup
    else
        read -r uuid </proc/sys/kernel/random/uuid || failed=1
        id=
        while [ "$uuid" != "${uuid#*-}" ]; do
            id=$id${uuid%%-*} uuid=${uuid#*-}
        done
        echo "$id$uuid" >/etc/machine-id || failed=1
    fi
fi

if command -v ssh-keygen >/dev/null; then
    rm -f /etc/ssh/ssh_host_*
    # The kinds that are made in no time; an RSA key would take longer than all the rest.
    for kind in ecdsa ed25519; do
        need ssh-keygen -q -t "$kind" -N "" -f "/etc/ssh/ssh_host_${kind}_key"
    done
    if command -v systemctl >/dev/null; then
        systemctl try-restart ssh.service
    fi
fi
[ "$failed" = 0 ]
