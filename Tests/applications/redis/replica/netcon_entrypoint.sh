#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
. "$TEST_DIR/common.sh"

start_redis master "$ADDR" 6379 --repl-backlog-size 200mb
master=$redis
fill "$ADDR" 6379
publish netcon_filled
await monitor_filled >/dev/null

step "synchronization"
start_redis replica "$ADDR" 6380 --replicaof "$ADDR" 6379
replica=$redis
start_redis replica6 "$ADDR" 6381 --replicaof "$PEER6" 6379
replica6=$redis
write_more "$ADDR" 6379
same "$ADDR" 6380 "$ADDR" 6379
check "md5 of the large value" "$(md5 big)" "$(redis-cli -h "$ADDR6" -p 6380 get big | head -c -1 | md5)"
publish netcon_synchronized
await monitor_synchronized >/dev/null
check "md5 of the other side's large value" "$(await big-of-monitor)" "$(redis-cli -h "$ADDR" -p 6381 get big | head -c -1 | md5)"

step "broken links"
cut_links "$ADDR" 6379 2
write_more "$ADDR" 6379
same "$ADDR" 6380 "$ADDR" 6379
check "full synchronizations of the master here" 2 "$(field "$ADDR" 6379 stats sync_full)"
check "partial ones" 2 "$(field "$ADDR" 6379 stats sync_partial_ok)"
publish netcon_resynchronized
# Replicas end before their masters: else they complain.
await monitor_compared 120 >/dev/null
stop "$replica6"
stop "$replica"
publish netcon_stopped
serve_until_done "$master"
for log in master replica replica6; do no_complaints "$log/redis.log"; done
