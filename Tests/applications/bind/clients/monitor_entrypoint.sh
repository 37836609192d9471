#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/zones.sh"

zone nc.test 3000 >nc.zone
named_options 'allow-transfer { any; };'
printf 'zone "nc.test" { type primary; file "nc.zone"; allow-update { any; }; };\n' >>named.conf
named -g -c "$PWD/named.conf" >named.log 2>&1 &
server=$!
wait_zone "$ADDR" nc.test
publish axfr "$(sorted_transfer "$ADDR" nc.test | md5sum)"
await updated >/dev/null
check "a name that nsupdate made" 10.9.9.77 "$(dig +short "@$ADDR" A dynamic77.nc.test)"
publish update_seen
serve_until_done "$server"
