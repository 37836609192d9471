#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
. "$APP_DIR/exercise.sh"

await serving >/dev/null
exercise "$PEER" "$PEER6"

step "a unix socket at the same time"
pgbench --client=4 --time=60 --host="$PEER" --no-vacuum postgres >load.txt 2>&1 &
load=$!
wait_for 30 "load" sql_says "$PEER" "SELECT count(*) > 3 FROM pg_stat_activity WHERE client_addr = '$ADDR' AND query LIKE 'UPDATE%'" t
publish unix_socket
await unix_socket_served >/dev/null

step "immediate stop"
publish stop_now
if wait "$load"; then fail "pgbench did not notice the stop"; fi
grep -E 'connection to server was lost|terminating connection|server closed the connection' load.txt | sort | uniq -c
grep -qE 'connection to server was lost|terminating connection|server closed the connection' load.txt || fail "pgbench: $(tail -n 1 load.txt)"
await recovered >/dev/null
check "balances after recovery" t "$(sql "$PEER6" "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta) FROM pgbench_history")"
sql "$PEER" "\copy (SELECT line FROM lines ORDER BY n) TO recovered"
check "md5 of the lines after recovery" "$(md5 lines)" "$(md5 recovered)"
