#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

start_mariadb
publish serving
by_unix_socket=0
until [[ -e $EXCHANGE/exercised ]]; do
  as_root "SELECT COUNT(*) FROM mysql.user" >/dev/null
  by_unix_socket=$((by_unix_socket + 1))
  sleep "$poll_seconds"
done
printf '%s connections by the unix socket meanwhile\n' "$by_unix_socket"
step "restart"
stop "$mariadb"
start_mariadb
publish restarted
serve_until_done "$mariadb"
no_complaints
check "proper ends" 2 "$(grep -c 'Shutdown complete$' mariadb.log)"
