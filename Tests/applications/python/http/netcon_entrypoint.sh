#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/http_half.sh"

offer
step "the other side serves"
ask
await monitor_asked 300 >/dev/null
check_logs
for server in "${servers[@]}"; do stop "$server"; done
