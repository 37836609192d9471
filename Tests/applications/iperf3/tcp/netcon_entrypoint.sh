#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/client.sh"

iperf3 --server >server.log 2>&1 &
server=$!
publish serving
await monitor_measured 300 >/dev/null
step "the container's client"
measure_tcp
stop "$server"
if grep -i error server.log; then fail "the server complains: $(grep -i -m1 error server.log)"; fi
