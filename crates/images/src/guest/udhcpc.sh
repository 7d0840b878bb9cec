#!/bin/sh
# Called by busybox's udhcpc with what it learned in the environment.
case $1 in
    deconfig)
        ip addr flush dev "$interface"
        ip link set "$interface" up
        ;;
    bound | renew)
        ip addr flush dev "$interface"
        ip addr add "$ip/${mask:-24}" dev "$interface"
        for gateway in $router; do
            ip route add default via "$gateway" dev "$interface" && break
            # A gateway outside the prefix is reached on the link.
            ip route add "$gateway" dev "$interface"
            ip route add default via "$gateway" dev "$interface" && break
        done
        {
            [ -n "$domain" ] && echo "search $domain"
            for server in $dns; do echo "nameserver $server"; done
        } >/etc/resolv.conf
        ;;
esac
