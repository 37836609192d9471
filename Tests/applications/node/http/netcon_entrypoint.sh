#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

step "server"
node --trace-warnings "$TEST_DIR/server.js" "$EXCHANGE" 2>server.err &
server=$!

step "client of the kernel's side"
await peer_serves >/dev/null
node --trace-warnings "$TEST_DIR/client.js" "$EXCHANGE" "$(size 300 3000)" "$PEER" "$PEER6"
step "both ends here"
env TRANSFER_BYTES=1000000 node --trace-warnings "$TEST_DIR/client.js" "$EXCHANGE" 100 "$ADDR"
publish client_done

serve_until_done "$server"
check "the server's complaints" "" "$(cat server.err)"
