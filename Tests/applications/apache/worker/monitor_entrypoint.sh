#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/client.sh"

wait_port "$PEER" 80
transfers "http://$PEER" "http://[$PEER6]"
uploads 20
step "load by wrk"
wrk -t 2 -c 48 -d "$(size 1 10)s" "http://[$PEER6]/small" >wrk.txt
cat wrk.txt
if grep -E 'Non-2xx|Socket errors' wrk.txt; then fail "errors under load"; fi
load_and_restarts
