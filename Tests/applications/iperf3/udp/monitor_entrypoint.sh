#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/client.sh"

await serving >/dev/null
wait_for 60 "iperf3 server" iperf3 --client "$PEER" --bytes 1
step "the kernel's client"
measure_udp
iperf3 --server >server.log 2>&1 &
server=$!
wait_for 60 "iperf3 server" iperf3 --client "$ADDR" --bytes 1
publish monitor_measured
serve_until_done "$server"
