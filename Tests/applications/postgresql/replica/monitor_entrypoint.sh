#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
. "$TEST_DIR/standby.sh"

new_cluster primary
start_postgres primary "$ADDR" 5432
primary=$postgres
pgbench --initialize --quiet --scale="$(size 1 10)" --host="$ADDR" 2>pgbench.txt
publish primary

await standby 120 >/dev/null
new_standby third "$PEER" 5433
start_postgres third "$ADDR" 5435
third=$postgres
check "standbys of the primary" "streaming $PEER6" \
  "$(sql "$ADDR" "SELECT state, client_addr FROM pg_stat_replication" --field-separator=' ')"
await second 120 >/dev/null
step "load"
pgbench --client=4 --jobs=2 --transactions="$(size 50 3000)" --host="$ADDR" --no-vacuum postgres >pgbench.txt 2>&1
position=$(sql "$ADDR" "SELECT pg_current_wal_lsn()")
digest=$(digest "$ADDR" 5432)
publish written "$position $digest"
follows "$ADDR" 5435 "$position" "$digest"
note "$(sed -n 's/^tps = \([0-9]*\).*/\1/p' pgbench.txt) transactions/s followed"

await compared 120 >/dev/null
step "the primary ends"
stop "$primary" INT
publish primary_ended
await promoted 120 >/dev/null
# The third follows the promoted one to its new timeline.
wait_for 60 "what the promoted server has written" sql_says "$ADDR" "SELECT note FROM notes" "after the promotion" --port=5435
stop "$third" INT
publish third_ended
