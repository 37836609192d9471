#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

cli() { redis-cli -h "$PEER" "$@"; }
cli6() { redis-cli -h "$PEER6" "$@"; }
tls() { redis-cli -h "$PEER" -p 6380 --tls --cacert "$EXCHANGE/server.pem" "$@"; }
# redis-cli ends what it prints with a newline.
value() { "$@" | head -c -1 >"value"; }

await serving >/dev/null
step "large values"
random_file big "$(size 10M 100M)"
check "SET" OK "$(cli -x set big <big)"
publish set "$(md5 big)"
for way in cli cli6 tls; do
  value "$way" get big
  check "md5 by $way" "$(md5 big)" "$(md5 value)"
done
check "SET by TLS" OK "$(tls -x set tls <big)"
value cli6 get tls
check "md5 of what TLS set" "$(md5 big)" "$(md5 value)"

step "mass insertion"
count=$(size 20000 500000)
seq "$count" | sed 's/.*/set key:& value-of-&/' | cli6 --pipe | tee pipe.txt
check "replies" "errors: 0, replies: $count" "$(tail -n 1 pipe.txt)"
check "a transaction" "OK QUEUED QUEUED value-of-7 8" \
  "$(printf '%s\n' multi 'get key:7' 'incrby counter 8' exec | cli | xargs)"

step "blocking pop and pub/sub"
cli --csv blpop queue 30 >popped &
popper=$!
cli6 --csv subscribe answers >heard &
subscriber=$!
wait_for 20 "blocked client" field_is "$PEER" 6379 clients blocked_clients 1
wait_for 20 "subscriber" sh -c "redis-cli -h $PEER pubsub numsub answers | grep -qx 1"
publish ready
wait "$popper"
check "what was pushed" '"queue","pushed by the kernel side"' "$(cat popped)"
wait_for 20 "the last message" grep -q '"message-500"' heard
stop "$subscriber"
check "messages in order" "$(seq 500 | md5)" "$(sed -n 's/.*"answers","message-\([0-9]*\)"/\1/p' heard | md5)"

step "a copy of all by --rdb"
cli --rdb copy.rdb 2>/dev/null
check "redis-check-rdb" 0 "$(redis-check-rdb copy.rdb >check.txt && echo 0)"
check "keys in it" "$(cli dbsize) keys read" "$(grep -o '[0-9]* keys read' check.txt)"

step "redis-benchmark"
load "$PEER" -c 50 -n "$(size 5000 300000)" -t set,get -r 10000 >plain.csv
load "$PEER6" -c 50 -n "$(size 30000 1000000)" -t set,get -P 16 --threads 2 -d 100 -r 10000 >pipelined.csv
cat plain.csv pipelined.csv
note "$(rate plain.csv GET) GET/s, $(rate pipelined.csv GET) with -P 16"
