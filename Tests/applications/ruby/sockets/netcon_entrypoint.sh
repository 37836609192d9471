#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

step "servers"
ruby -W "$TEST_DIR/threads.rb" 7000 2>threads.log &
threads=$!
ruby -W "$TEST_DIR/select.rb" 7010 2>select.log &
select=$!

step "clients"
await peer_serves
await peer_serves_http
ruby -W "$TEST_DIR/client.rb" "$(size 200 2000)"
publish client_done

serve_until_done "$threads" "$select"
check "the servers' complaints" "" "$(cat threads.log select.log)"
