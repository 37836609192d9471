#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"
. "$TEST_DIR/ask.sh"

serve "$ADDR"
publish serving
await monitor_asked 600 >/dev/null
stop "$server"
check "served" "$count" "$(served)"

step "the container connects"
ask both $((count / 2))
note "as client $rate connections/s"
ask both $((count / 2)) "$PEER6"
note "by IPv6 $rate"
publish asked
