#!/usr/bin/env bash
. "$LIB"

# 60 texts of 100 bytes: no answer by UDP holds them, whatever the client allows (dnsmasq itself: 4,096).
long_texts() { for number in $(seq 10 69); do printf 'txt-record=long.nc.test,%s%098d\n' "$number" 0; done; }
long_texts >long.conf

await upstream >/dev/null
# Listening on "any", dnsmasq wants the address of a TCP connection to be on an interface that it knows by netlink, which
# shows the container's (docs/compatibility.md); so it is told its addresses.
dnsmasq --conf-file="$TEST_DIR/local.conf" --conf-file="$PWD/long.conf" --listen-address="$ADDR,$ADDR6" --server="/up.test/$PEER" --server="/up.test/$PEER6" \
  >dnsmasq.log 2>&1 &
server=$!
publish serving
serve_until_done "$server"
check "forwarded queries were seen" yes "$(grep -q "forwarded far.up.test to $PEER" dnsmasq.log && echo yes || tail -5 dnsmasq.log)"
if grep -iE 'failed|error|refused ' dnsmasq.log; then fail "dnsmasq complains: $(grep -iE -m1 'failed|error' dnsmasq.log)"; fi
