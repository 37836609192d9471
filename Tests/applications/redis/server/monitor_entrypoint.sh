#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

cli() { redis-cli -h "$PEER" "$@"; }
# redis-cli ends what it prints with a newline.
get() { redis-cli "$@" | head -c -1 | md5; }
forks_are_over() { field_is "$PEER" 6379 persistence rdb_bgsave_in_progress 0 && field_is "$PEER" 6379 persistence aof_rewrite_in_progress 0; }

await started 30 >/dev/null
step "large values"
random_file big "$(size 8M 100M)"
check "SET of a large value" OK "$(cli -x set big <big)"
check "md5 by IPv4" "$(md5 big)" "$(get -h "$PEER" get big)"
check "md5 by IPv6" "$(md5 big)" "$(get -h "$PEER6" get big)"
check "SET by TLS" OK "$(cli -p 6380 --tls --cacert "$EXCHANGE/server.pem" -x set tls <big)"
check "md5 by TLS" "$(md5 big)" "$(get -h "$PEER6" -p 6380 --tls --cacert "$EXCHANGE/server.pem" get tls)"

step "pub/sub"
count=$(size 2000 50000)
redis-cli -h "$PEER6" --csv subscribe news >heard &
subscriber=$!
wait_for 20 "subscriber" sh -c "redis-cli -h $PEER pubsub numsub news | grep -qx 1"
# The last message is what the subscriber is waited for with.
seq "$count" | sed 's/^/publish news message-/' | cli >receivers
wait_for 30 "last message" grep -q "\"message-$count\"" heard
stop "$subscriber"
check "receivers of each message" "$count 1" "$(sort receivers | uniq -c | xargs)"
check "messages in order" "$(seq "$count" | sed 's/^/message-/' | md5)" \
  "$(sed -n 's/.*"news","\(message-[0-9]*\)"/\1/p' heard | md5)"

step "50 clients, and 50 clients with 16 requests each on the way"
load "$PEER" -c 50 -n "$(size 5000 100000)" -t "$(size set,get set,get,incr,lpush,lrange_100)" -r 10000 >plain.csv
load "$PEER6" -c 50 -n "$(size 20000 1000000)" -t set,get -P 16 -d 100 -r 10000 >pipelined.csv
cat plain.csv pipelined.csv
note "$(rate plain.csv GET) GET/s, $(rate pipelined.csv GET) with -P 16"

step "BGSAVE and BGREWRITEAOF under load"
load "$PEER" -c 50 -n "$(size 30000 500000)" -t set -d 200 -P 4 -r 20000 >while.csv &
writers=$!
wait_for 20 "load" sh -c "redis-cli -h $PEER info clients | grep -q ^connected_clients:[1-9][0-9]"
check "BGREWRITEAOF" "Background append only file rewriting started" "$(cli bgrewriteaof)"
wait_for 60 "end of the rewriting" forks_are_over
check "BGSAVE" "Background saving started" "$(cli bgsave)"
wait_for 60 "end of the saving" forks_are_over
wait "$writers"
check "BGREWRITEAOF's status" ok "$(field "$PEER" 6379 persistence aof_last_bgrewrite_status)"
check "BGSAVE's status" ok "$(field "$PEER" 6379 persistence rdb_last_bgsave_status)"
# Once more at rest: what the restart must find.
check "SAVE" OK "$(cli save)"
publish saved "$(digest "$PEER" 6379)"
publish loaded

await restarted 60 >/dev/null
check "md5 after the restarts" "$(md5 big)" "$(get -h "$PEER" get big)"
