#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

run=(java -cp classes -Xshare:auto -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m)
step "servers"
"${run[@]}" ThreadServer 7000 2>threads.err &
threads=$!
"${run[@]}" SelectorServer 7010 2>selector.err &
selector=$!

step "clients"
await peer_serves
"${run[@]}" Client "$(size 300 3000)"
publish client_done

serve_until_done "$threads" "$selector"
check "the servers' complaints" "" "$(cat threads.err selector.err)"
