#!/usr/bin/env bash
. "$LIB"

dnsmasq --conf-file="$TEST_DIR/upstream.conf" >upstream.log 2>&1 &
upstream=$!
wait_port "$ADDR" 53
publish upstream
await serving
wait_port "$PEER" 53

ask() { dig +short +tries=2 +timeout=10 "@$server" "$@"; }

for server in "$PEER" "$PEER6"; do
  for way in +notcp +tcp; do
    step "$server $way"
    check "A" 10.20.30.40 "$(ask $way A plain.nc.test)"
    check "AAAA" fd00::40 "$(ask $way AAAA plain.nc.test)"
    check "CNAME" "plain.nc.test. 10.20.30.40" "$(ask $way A alias.nc.test | xargs)"
    check "MX" "10 plain.nc.test." "$(ask $way MX nc.test)"
    check "SRV" "0 0 8080 plain.nc.test." "$(ask $way SRV _http._tcp.nc.test)"
    check "PTR" plain.nc.test. "$(ask $way -x 10.20.30.40)"
    check "forwarded A" 192.0.2.7 "$(ask $way A far.up.test)"
    check "forwarded AAAA" 2001:db8::7 "$(ask $way AAAA far.up.test)"
    check "forwarded TXT" '"over the network"' "$(ask $way TXT short.up.test)"
  done
  step "an answer that is too long for UDP, and goes on by TCP"
  dig +ignore +bufsize=512 "@$server" TXT long.nc.test >cut.txt
  check "TC is set" yes "$(grep -q '^;; flags:.* tc' cut.txt && echo yes || cat cut.txt)"
  dig "@$server" TXT long.nc.test >whole.txt
  check "dig asked again" yes "$(grep -q 'Truncated, retrying in TCP' whole.txt && echo yes || cat whole.txt)"
  check "texts" 60 "$(grep -c '^long\.nc\.test\..*TXT' whole.txt)"
done

step "load"
printf '%s\n' 'plain.nc.test A' 'plain.nc.test AAAA' 'nc.test MX' 'far.up.test A' '_http._tcp.nc.test SRV' >queries
# By UDP only: dnsmasq ends a TCP connection after 100 queries, whatever else is asked on it.
dnsperf -s "$PEER" -d queries -l "$(size 1 10)" -c 8 -q 50 -t 5 >dnsperf.txt
cat dnsperf.txt
check "queries lost" 0 "$(sed -n 's/.*Queries lost: *\([0-9]*\) .*/\1/p' dnsperf.txt)"
check "answers: NOERROR" "100.00%" "$(sed -n 's/.*Response codes: *NOERROR.*(\(.*\))$/\1/p' dnsperf.txt)"
note "$(sed -n 's/.*Queries per second: *\([0-9]*\).*/\1/p' dnsperf.txt) queries/s by UDP"
stop "$upstream"
