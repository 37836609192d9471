#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

start_postgres data "$ADDR" 5432
publish serving

await unix_socket 120 >/dev/null
step "by the unix socket, beside the network's load"
check "accounts" 100000 "$(sql /tmp "SELECT least(count(*), 100000) FROM pgbench_accounts")"
check "this connection is local" t "$(sql /tmp "SELECT client_addr IS NULL FROM pg_stat_activity WHERE pid = pg_backend_pid()")"
pgbench --client=4 --jobs=2 --transactions=50 --host=/tmp --no-vacuum postgres >pgbench.txt 2>&1
publish unix_socket_served

await stop_now 120 >/dev/null
step "immediate stop, and recovery"
stop "$postgres" QUIT
if grep -E 'PANIC|could not' data.log; then fail "complaints in the server's log"; fi
start_postgres data "$ADDR" 5432
grep -q 'database system was not properly shut down; automatic recovery in progress' data.log || fail "there was no recovery"
publish recovered
serve_until_done "$postgres"
grep -q 'database system is shut down' data.log || fail "the server did not end properly"
if grep -E 'PANIC|could not' data.log; then fail "complaints in the server's log"; fi
