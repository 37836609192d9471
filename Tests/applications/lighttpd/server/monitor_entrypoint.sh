#!/usr/bin/env bash
. "$LIB"

fetch() { curl --fail --silent --show-error --cacert "$EXCHANGE/server.pem" "$@"; }

wait_port "$PEER" 80
step "10 MB down and up"
fetch --output big "http://$PEER/big"
bigfile_rx big
fetch --output big6 "http://[$PEER6]/big"
check "md5 by IPv6" "$(md5 big)" "$(md5 big6)"
check "protocol" 2 "$(fetch --http2 --output big2 --write-out '%{http_version}' "https://$PEER/big")"
check "md5 by HTTP/2" "$(md5 big)" "$(md5 big2)"
check "md5 the program got" "$(md5 big)" "$(fetch --data-binary @big "http://[$PEER6]/md5")"
check "md5 the program got by TLS" "$(md5 big)" "$(fetch --data-binary @big "https://$PEER/md5")"

step "load"
ab -q -c 16 -n "$(size 1000 20000)" "http://$PEER/small" >ab.txt 2>&1 || fail "ab: $(tail -n 3 ab.txt)"
cat ab.txt
check "failed requests" 0 "$(sed -n 's/^Failed requests: *//p' ab.txt)"
wrk -t 2 -c 32 -d "$(size 1 20)s" "http://[$PEER6]/small" >wrk.txt
cat wrk.txt
if grep -E 'Non-2xx|Socket errors' ab.txt wrk.txt; then fail "errors under load"; fi
note "$(sed -n 's/^Requests\/sec: *\([0-9]*\).*/\1/p' wrk.txt) requests/s by keepalive"

step "the end is graceful: what is under way is sent to its end"
fetch --limit-rate 8M --output last "http://$PEER/big" &
download=$!
wait_for 20 "first bytes" test -s last
publish end_gracefully
wait "$download" || fail "the last download broke off"
check "md5 of the last download" "$(md5 big)" "$(md5 last)"
