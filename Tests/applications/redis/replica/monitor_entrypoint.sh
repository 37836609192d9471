#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
. "$TEST_DIR/common.sh"

start_redis master "$ADDR" 6379 --repl-backlog-size 200mb
master=$redis
fill "$ADDR" 6379
publish monitor_filled
await netcon_filled >/dev/null

step "synchronization"
start_redis replica "$ADDR" 6380 --replicaof "$PEER" 6379
replica=$redis
write_more "$ADDR" 6379
await netcon_synchronized >/dev/null
same "$PEER" 6381 "$ADDR" 6379
same "$ADDR" 6380 "$PEER" 6379
check "md5 of the other side's large value" "$(await big-of-netcon)" "$(redis-cli -h "$ADDR" -p 6380 get big | head -c -1 | md5)"
publish monitor_synchronized

step "broken links"
cut_links "$ADDR" 6379 1
write_more "$ADDR" 6379
await netcon_resynchronized 120 >/dev/null
same "$PEER" 6381 "$ADDR" 6379
same "$ADDR" 6380 "$PEER" 6379
check "full synchronizations of the master here" 1 "$(field "$ADDR" 6379 stats sync_full)"
check "partial ones" 1 "$(field "$ADDR" 6379 stats sync_partial_ok)"
publish monitor_compared
stop "$replica"
await netcon_stopped >/dev/null
stop "$master"
for log in master replica; do no_complaints "$log/redis.log"; done
