#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

run=(java -cp classes -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx1g)
step "server"
"${run[@]}" Server . 2>server.err &
server=$!

step "client"
await peer_serves_http
await nginx_serves
"${run[@]}" Client "$EXCHANGE" "$(size 200 3000)"
publish client_done

serve_until_done "$server"
check "the server's complaints" "" "$(cat server.err)"
