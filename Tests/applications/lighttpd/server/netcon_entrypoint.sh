#!/usr/bin/env bash
. "$LIB"

mkdir served
random_file served/big 10M
random_file served/small 1K
install -m 755 "$TEST_DIR/md5" served/md5
self_signed server
install -m 644 server.pem "$EXCHANGE/server.pem"
bigfile_tx served/big
lighttpd -D -f "$TEST_DIR/lighttpd.conf" &
lighttpd=$!

await end_gracefully 300
stop "$lighttpd" INT
cat /tmp/error.log
if grep -iE 'error|fail|abort' /tmp/error.log; then fail "trouble in lighttpd's /tmp/error.log"; fi
