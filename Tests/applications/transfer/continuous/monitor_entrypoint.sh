#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"

seconds=${TRANSFER_SECONDS:-$(size 3 60)}
await listening >/dev/null
step "$seconds s, the container listens, IPv4"
watch_daemon "$(size 0.1 1)"
connect_streams server 1 "${seconds}s"
stop_watching
wait_for 60 "report of the container" grep -q rate "$EXCHANGE/server.listen"
compare_streams server
note "into the container $(word server.listen rate 2), out of it $(word server.connect rate 2) Gbit/s at once, $(($(word server.connect sent 2) >> 20)) and $(($(word server.connect received 2) >> 20)) MiB"
# Pools touch their buffers as they need them, so a later burst may add some MiB, once. Of the million frames of a minute, 25 bytes
# lost with each would be more than this.
check_flat 32768

step "the container connects, IPv6"
listen_streams client 1 "$(size 1 10)s" "$ADDR6"
publish monitor_listens
wait "$listener"
wait_for 60 "report of the container" grep -q rate "$EXCHANGE/client.connect"
compare_streams client
