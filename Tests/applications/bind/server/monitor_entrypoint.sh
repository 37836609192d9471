#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/zones.sh"

records=$(($(await records) - 1)) # a line of the zone's file is no record
wait_port "$PEER" 53
ask() { dig +short +tries=2 +timeout=10 "@$server" "$@"; }

for server in "$PEER" "$PEER6"; do
  for way in +notcp +tcp; do
    step "$server $way"
    check "A" 192.0.2.1 "$(ask $way A plain.nc.test)"
    check "AAAA" 2001:db8::1 "$(ask $way AAAA plain.nc.test)"
    check "CNAME" "plain.nc.test. 192.0.2.1" "$(ask $way A alias.nc.test | xargs)"
    check "MX" "10 plain.nc.test." "$(ask $way MX nc.test)"
    check "no such name" NXDOMAIN "$(dig +tries=2 $way "@$server" A none.nc.test | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')"
  done
  step "an answer that is too long for UDP, and goes on by TCP"
  dig +ignore "@$server" TXT long.nc.test >cut.txt
  check "TC is set" yes "$(grep -q '^;; flags:.* tc' cut.txt && echo yes || cat cut.txt)"
  dig "@$server" TXT long.nc.test >whole.txt
  check "dig asked again" yes "$(grep -q 'Truncated, retrying in TCP' whole.txt && echo yes || cat whole.txt)"
  check "texts" 60 "$(grep -c '^long\.nc\.test\..*TXT' whole.txt)"
  step "AXFR"
  sorted_transfer "$server" nc.test >axfr.txt
  check "records" "$records" "$(grep -c . axfr.txt)"
  check "the last host" 1 "$(grep -c "^host$(size 5000 50000)\.nc\.test\. " axfr.txt)"
done

step "load"
seq -f 'host%g.nc.test A' 1 5000 >queries
for way in udp tcp; do
  dnsperf -m "$way" -s "$PEER" -d queries -l "$(size 1 10)" -c 8 -q 100 -t 5 >"dnsperf.$way"
  cat "dnsperf.$way"
  check "queries lost by $way" 0 "$(sed -n 's/.*Queries lost: *\([0-9]*\) .*/\1/p' "dnsperf.$way")"
  check "answers by $way: NOERROR" "100.00%" "$(sed -n 's/.*Response codes: *NOERROR.*(\(.*\))$/\1/p' "dnsperf.$way")"
  note "$(sed -n 's/.*Queries per second: *\([0-9]*\).*/\1/p' "dnsperf.$way") queries/s by $way"
done
