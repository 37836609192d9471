#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

self_signed server
cp server.pem "$EXCHANGE"
start_redis data "$ADDR" 6379 --tls-port 6380 --tls-cert-file "$PWD/server.pem" --tls-key-file "$PWD/server.key" --tls-auth-clients no
publish serving

check "md5 of what the client set" "$(await set)" "$(redis-cli -h "$ADDR" get big | head -c -1 | md5)"
await ready 120 >/dev/null
check "receivers of 500 messages" "500 1" \
  "$(seq 500 | sed 's/.*/publish answers message-&/' | redis-cli -h "$ADDR6" | sort | uniq -c | xargs)"
check "RPUSH" 1 "$(redis-cli -h "$ADDR" rpush queue "pushed by the kernel side")"
serve_until_done "$redis"
no_complaints data/redis.log
