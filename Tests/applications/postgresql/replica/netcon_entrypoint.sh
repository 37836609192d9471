#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"
. "$TEST_DIR/standby.sh"

await primary 90 >/dev/null
step "two standbys, in a chain"
new_standby first "$PEER6" 5432
start_postgres first "$ADDR" 5433
first=$postgres
publish standby
new_standby second "$ADDR6" 5433
start_postgres second "$ADDR" 5434
second=$postgres
wait_for 60 "second and third standby" sql_says "$ADDR" "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'" 2 --port=5433
publish second

read -r position digest < <(await written 240)
follows "$ADDR" 5433 "$position" "$digest"
follows "$ADDR6" 5434 "$position" "$digest"
fails_with "read-only transaction" sql "$ADDR" "CREATE TABLE notes (note text)" --port=5433
publish compared

await primary_ended >/dev/null
step "promotion"
check "pg_promote" t "$(sql "$ADDR" "SELECT pg_promote()" --port=5433)"
sql "$ADDR" "CREATE TABLE notes (note text); INSERT INTO notes VALUES ('after the promotion')" --port=5433
publish promoted
wait_for 60 "what the promoted server has written" sql_says "$ADDR6" "SELECT note FROM notes" "after the promotion" --port=5434
await third_ended >/dev/null
stop "$second" INT
stop "$first" INT
if grep -E 'PANIC' ./*.log; then fail "complaints in a server's log"; fi
