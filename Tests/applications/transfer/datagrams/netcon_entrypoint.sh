#!/usr/bin/env bash
. "$LIB"
. "$TEST_DIR/ask.sh"

serve "$ADDR"
publish serving
await monitor_asked 300 >/dev/null
stop_serving

ask sizes 0 "$PEER"
ask ports "$ports" "$PEER6"
serve "$ADDR6"
publish asked
await monitor_asked6 300 >/dev/null
stop_serving
