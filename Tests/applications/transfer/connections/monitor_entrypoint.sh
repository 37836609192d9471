#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"
. "$TEST_DIR/ask.sh"

await serving >/dev/null
step "the container accepts"
if [[ -n $DAEMON_PID ]]; then sample_daemon >before; fi
ask client "$client_closes"
note "as server $rate connections/s closed by the client"
ask server $((count - client_closes))
note "$rate closed by the server"
serve ::
publish monitor_asked
await asked 600 >/dev/null
stop "$server"
check "served" "$count" "$(served)"
if [[ -n $DAEMON_PID ]]; then
  sample_daemon >after
  # A connection in TIME_WAIT takes some 300 bytes in a table that doubles when it is full.
  allowed=$((16384 + count * 2))
  grown=$(($(cut -d ' ' -f 1 after) - $(cut -d ' ' -f 1 before)))
  check "daemon's memory grew by $grown KiB, $allowed allowed" yes "$( ((grown <= allowed)) && echo yes || echo no)"
  note "the daemon's memory grew by $((grown / 1024)) MiB"
fi
