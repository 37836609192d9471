#!/usr/bin/env bash
. "$LIB"

fetch() { curl --fail --silent --show-error "$@"; }

random_file kernel 10M
busybox httpd -f -p '[::]:8000' -h . &
server=$!
wait_port "$ADDR" 8000
publish md5_kernel "$(md5 kernel)"

wait_port "$PEER" 80
fetch --output big "http://$PEER/big"
bigfile_rx big
fetch --output big6 "http://[$PEER6]/big"
check "md5 by IPv6" "$(md5 big)" "$(md5 big6)"
check "md5 the program got" "$(md5 big)" "$(fetch --data-binary @big "http://$PEER/cgi-bin/md5")"
step "many at once"
fetch --parallel --parallel-max 20 --output 'copy#1' "http://$PEER/big?[1-$(size 5 20)]"
check "distinct md5 sums of the copies" "$(md5 big)" "$(md5 copy* | sort -u)"
ab -q -c 16 -n "$(size 500 10000)" "http://$PEER/small" >ab.txt 2>&1 || fail "ab: $(tail -n 3 ab.txt)"
cat ab.txt
check "failed requests" 0 "$(sed -n 's/^Failed requests: *//p' ab.txt)"
note "$(sed -n 's/^Requests per second: *\([0-9]*\).*/\1/p' ab.txt) requests/s, a process each"
await fetched >/dev/null
stop "$server"
