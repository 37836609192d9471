#!/usr/bin/env bash
# The first process of a container: folders of its own, proof that there is no network but netcond's, then the test's
# script under the intercept. What the script left running ends with this process.
set -euo pipefail

mount -t proc proc /proc
mount -t sysfs -o ro sysfs /sys 2>/dev/null || true # not allowed in every container; nothing here needs it
for folder in /tmp /run /dev/shm; do mount -t tmpfs -o mode=1777 netcond "$folder"; done
mount -t tmpfs -o mode=700 netcond /root
: >/mnt/netcon/.resolv.conf
mount --bind /mnt/netcon/.resolv.conf "$(readlink -f /etc/resolv.conf)" 2>/dev/null || true # not there on every system

if [[ -n ${NATIVE:-} ]]; then # run.py --native: the kernel's stack, across a veth
  until [[ -e $EXCHANGE/link_is_up ]]; do sleep 0.05; done
  /mnt/test/netcon_entrypoint.sh
  exit
fi

interfaces=$(ip -o link show | awk -F': ' '{ print $2 }' | xargs)
if [[ $interfaces != lo ]]; then
  printf 'container: not only lo is there: %s\n' "$interfaces" | tee "$EXCHANGE/reason" >&2
  exit 1
fi
if [[ $(cat /sys/class/net/lo/operstate 2>/dev/null || echo down) != down ]]; then
  printf 'container: lo is up\n' | tee "$EXCHANGE/reason" >&2
  exit 1
fi

# What containers usually have besides: an interface with addresses, here one that leads nowhere. Programs find it by netlink.
ip link add eth0 type veth peer name nowhere
ip address add 192.0.2.2/24 dev eth0
ip -6 address add 2001:db8::2/64 dev eth0 nodad
ip link set eth0 up

/mnt/scripts/zerotier-intercept /mnt/test/netcon_entrypoint.sh
