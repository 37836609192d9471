#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

start() {
  start_redis data "$ADDR" 6379 --tls-port 6380 --tls-cert-file "$PWD/server.pem" --tls-key-file "$PWD/server.key" \
    --tls-auth-clients no --appendonly "$1"
}
cp server.pem "$EXCHANGE"
start yes
publish started

await loaded 240 >/dev/null
step "from the append-only file"
before=$(digest "$ADDR" 6379)
stop "$redis"
start yes
check "digest after a restart from the append-only file" "$before" "$(digest "$ADDR" 6379)"
stop "$redis"

step "from BGSAVE's file"
start no
check "digest of what BGSAVE wrote" "$(await saved 60)" "$(digest "$ADDR" 6379)"
publish restarted
serve_until_done "$redis"
no_complaints data/redis.log
