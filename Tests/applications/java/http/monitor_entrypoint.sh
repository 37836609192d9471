#!/usr/bin/env bash
. "$LIB"
. "${LIB%/*}/peer.sh"

peer_serve # its port 7002 is the one that does not answer
peer_serve_http
mkdir -m 777 served served/put
random_file served/big "$TRANSFER_BYTES"
md5 served/big >"$EXCHANGE/big.md5"
random_file served/small 1000
printf '%s' "$(md5 served/small)" >>served/small
cp "$TEST_DIR/nginx.conf" . # certificates are looked up beside it
nginx -p "$PWD" -c "$PWD/nginx.conf" 2>nginx.err &
nginx=$!
wait_port 127.0.0.1 8444 30
publish nginx_serves

wait_port "$PEER" 8443
drive_http "http://$PEER:8000" "$(size 200 3000)"
drive_http "https://[$PEER6]:8443" "$(size 100 1000)" --cacert "$EXCHANGE/server_ca.pem"
peer_end
stop "$nginx"
if grep -E '\[(error|crit|alert|emerg)\]' nginx.err; then fail "nginx complains"; fi
