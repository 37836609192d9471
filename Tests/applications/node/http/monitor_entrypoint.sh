#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

node "$TEST_DIR/server.js" "$EXCHANGE" 2>peer.err &
peer_pid=$!
wait_port 127.0.0.1 8444
publish peer_serves

wait_port "$PEER" 8444
drive_http "http://$PEER:8000" "$(size 200 3000)"
drive_http "https://$PEER:8443" "$(size 100 1000)" --cacert "$EXCHANGE/ca.pem"
# Curl 7.88 gives a connection up (error 16) after more streams than some 1,000, natively as well.
drive_http "https://[$PEER6]:8444" "$(size 200 800)" --cacert "$EXCHANGE/ca.pem" --http2
peer_end
check "the peer's complaints" "" "$(cat peer.err)"
