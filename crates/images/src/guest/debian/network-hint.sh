# Says at login why there is no network, if there is none.
if [ ! -e /sys/class/net/eth0 ] && [ -t 0 ]; then
    echo 'No network: this machine was started without it (--net user turns it on).'
fi
