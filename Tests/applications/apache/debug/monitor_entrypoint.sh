#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/client.sh"

wait_port "$PEER" 80
transfers "http://$PEER" "http://[$PEER6]"
# One process serves one connection at a time: the others wait in the listener's queue.
step "load, each request by a connection of its own"
ab -q -c 4 -n "$(size 1000 10000)" "http://$PEER/small" >ab.txt 2>&1 || fail "ab: $(tail -n 3 ab.txt)"
ab_is_clean ab.txt
keepalive_load 1
