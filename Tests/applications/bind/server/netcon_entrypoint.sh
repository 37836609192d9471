#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/zones.sh"

zone nc.test "$(size 5000 50000)" >nc.zone
named_options 'allow-transfer { any; };'
printf 'zone "nc.test" { type primary; file "nc.zone"; };\n' >>named.conf
named-checkzone nc.test nc.zone >/dev/null
named -g -c "$PWD/named.conf" >named.log 2>&1 &
server=$!
wait_for 60 "running named" grep -q ' running$' named.log
publish records "$(grep -c . nc.zone)"
serve_until_done "$server"
if grep -E 'critical|failed|unexpected' named.log; then fail "named complains: $(grep -E -m1 'critical|failed|unexpected' named.log)"; fi
