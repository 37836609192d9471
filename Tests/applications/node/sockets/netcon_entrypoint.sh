#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

printf 'nameserver %s\n' "$PEER" >/etc/resolv.conf # c-ares reads it; so does libc, with --native
step "servers"
node --trace-warnings "$TEST_DIR/server.js" 7000 2>single.err &
single=$!
node --trace-warnings "$TEST_DIR/server.js" 7010 4 >cluster.out 2>cluster.err &
cluster=$!

step "clients"
await peer_serves
node --trace-warnings "$TEST_DIR/client.js" "$(size 300 3000)"
await names_served
node --trace-warnings "$TEST_DIR/names.js"
publish client_done

serve_until_done "$single" "$cluster"
tail -n 1 cluster.out
check "the servers' complaints" "" "$(cat single.err cluster.err)"
