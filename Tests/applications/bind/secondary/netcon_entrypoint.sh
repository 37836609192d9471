#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/zones.sh"

await primary >/dev/null
named_options 'allow-transfer { any; }; masterfile-format text;'
printf 'zone "nc.test" { type secondary; file "nc.zone"; primaries { %s; %s; }; };\n' "$PEER6" "$PEER" >>named.conf
named -g -c "$PWD/named.conf" >named.log 2>&1 &
server=$!
publish secondary
serve_until_done "$server"
check "transfers" 2 "$(grep -c 'Transfer status: success' named.log)"
check "NOTIFY was heard" yes "$(grep -q 'received notify for zone' named.log && echo yes || tail named.log)"
if grep -E 'critical|failed|unexpected' named.log; then fail "named complains: $(grep -E -m1 'critical|failed|unexpected' named.log)"; fi
