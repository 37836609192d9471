#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

names=(--host-record="peer.example,$ADDR,$ADDR6" --mx-host=peer.example,mail.example,10)
for number in {10..49}; do names+=(--txt-record="long.example,$number$(printf '%0198d' 0)"); done
dnsmasq --keep-in-foreground --user=root --conf-file=/dev/null --pid-file --no-resolv --no-hosts --local=/example/ \
  "${names[@]}" 2>dnsmasq.log &
dnsmasq=$!
wait_port 127.0.0.1 53
publish names_served

peer_serve
drive 7000 "$(size 300 3000)"
drive 7010 "$(size 300 3000)"
drive_udp 7000
peer_end
stop "$dnsmasq"
