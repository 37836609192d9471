#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

step "server"
perl "$TEST_DIR/server.pl" 7000 2>server.log &
server=$!
publish serving

step "clients"
await peer_serves
perl "$TEST_DIR/client.pl" "$(size 200 2000)"
await peer_serves_http
perl "$TEST_DIR/http.pl"
publish client_done

serve_until_done "$server"
check "the server's complaints" "" "$(cat server.log)"
