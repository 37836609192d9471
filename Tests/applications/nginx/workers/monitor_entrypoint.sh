#!/usr/bin/env bash
. "$LIB"

wait_port "$PEER" 80
step "10 MB, IPv4 and IPv6"
curl --fail --silent --show-error --output big "http://$PEER/big"
bigfile_rx big
curl --fail --silent --show-error --output big6 "http://[$PEER6]/big"
check "md5 by IPv6" "$(md5 big)" "$(md5 big6)"

step "load, and a reload under it"
wrk -t 2 -c 32 -d "$(size 2 20)s" "http://$PEER/small" >wrk.txt &
load=$!
wait_for 20 "established connections" sh -c 'ss -Htn state established | grep -q :80'
publish reload
wait "$load"
cat wrk.txt
if grep Non-2xx wrk.txt; then fail "$(grep Non-2xx wrk.txt)"; fi
# A reload closes each keepalive connection once, which wrk counts as an error of reading; natively it does, too.
read -r connect read write timeout < <(sed -n 's/.*connect \([0-9]*\), read \([0-9]*\), write \([0-9]*\), timeout \([0-9]*\)/\1 \2 \3 \4/p' wrk.txt) || true
if ((${connect:-0} + ${write:-0} + ${timeout:-0} > 0 || ${read:-0} > 32)); then
  fail "errors under load: connect $connect, read $read, write $write, timeout $timeout"
fi
note "$(sed -n 's/^Requests\/sec: *\([0-9]*\).*/\1/p' wrk.txt) requests/s"
