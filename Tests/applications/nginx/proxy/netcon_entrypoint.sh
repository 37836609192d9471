#!/usr/bin/env bash
. "$LIB"
. "$TEST_DIR/upstream.sh"

start_upstream container
sed "s/@ADDR@/$ADDR/; s/@PEER@/$PEER/; s/@PEER6@/$PEER6/" "$TEST_DIR/proxy.conf.in" >proxy.conf
await md5_kernel >/dev/null # the upstream there is about to be
nginx -p "$PWD" -c "$PWD/proxy.conf" &
proxy=$!

await uploads 300
publish uploaded_md5 "$(md5sum served/up/* | sed 's,served/,,')"
serve_until_done "$proxy" "$upstream"
cat proxy.log
# Of the upstreams that are not there, as meant, it does tell.
if grep -E '\[(emerg|alert|crit|error)\]' proxy.log | grep -v 'connect() failed (111: Connection refused).*"/\?http://[^/]*:8081/'; then
  fail "trouble in nginx's error log"
fi
check "refusals of either side in the log" 2 "$(grep -o 'Connection refused.*http://[^/]*:8081' proxy.log | grep -o '[0-9.]*:8081$' | sort -u | wc -l)"
