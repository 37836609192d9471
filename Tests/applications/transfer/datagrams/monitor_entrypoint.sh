#!/usr/bin/env bash
. "$LIB"
. "$TEST_DIR/ask.sh"

await serving >/dev/null
ask sizes 0 "$PEER"
ask ports "$ports" "$PEER"
serve ::
publish monitor_asked
await asked 300 >/dev/null
stop_serving
ask sizes 0 "$PEER6"
publish monitor_asked6
