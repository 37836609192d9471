#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/http_half.sh"

offer
step "the container serves"
ask
publish monitor_asked
serve_until_done "${servers[@]}"
check_logs
