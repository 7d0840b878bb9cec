# Read by login shells of the image `tiny`.
export PATH=/usr/local/bin:/bin HOME=/root
export TERM=${TERM:-xterm-256color}
PS1='\u@\h:\w\$ '
