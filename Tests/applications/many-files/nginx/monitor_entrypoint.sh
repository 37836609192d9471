#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

await files 300
wait_port "$PEER" 80
load_all "http://$PEER" --h1 &
load=$!
fetch_all "http://$PEER"
fetch_all "http://[$PEER6]"
wait "$load" || fail "the load: $(tail -n 5 h2load.txt)"
