# Sourced by the client's side of server and client: what a server gets to do. $1 and $2 are its addresses.

copy() {
  step "COPY in and out"
  head -c "$(size 3M 75M)" /dev/urandom | base64 --wrap=120 >lines
  sql "$1" "CREATE TABLE lines (n serial PRIMARY KEY, line text)"
  sql "$1" "\copy lines (line) FROM lines"
  sql "$2" "\copy (SELECT line FROM lines ORDER BY n) TO copied"
  check "md5 of the lines" "$(md5 lines)" "$(md5 copied)"
  random_file object "$(size 2M 30M)"
  sql "$1" "\lo_import object"
  sql "$2" "\lo_export $(sql "$1" "SELECT oid FROM pg_largeobject_metadata") exported"
  check "md5 of a large object" "$(md5 object)" "$(md5 exported)"
}

tls() {
  step "TLS"
  export PGSSLMODE=verify-full PGSSLROOTCERT=$EXCHANGE/server.pem
  check "connection" "t TLSv1.3" "$(sql "$2" "SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()" --field-separator=' ')"
  sql "$1" "\copy (SELECT line FROM lines ORDER BY n) TO by_tls"
  check "md5 by TLS" "$(md5 lines)" "$(md5 by_tls)"
  fails_with "does not match host name" psql "host=another-name hostaddr=$1" --command="SELECT 1"
  export PGSSLMODE=disable
}

notify() {
  step "LISTEN and NOTIFY"
  mkfifo commands
  sql "$1" "LISTEN news" --file=commands >heard &
  local listener=$! count
  count=$(size 100 2000)
  exec 3>commands
  wait_for 30 "listener" sql_says "$2" "SELECT count(*) FROM pg_stat_activity WHERE query = 'LISTEN news' AND state = 'idle'" 1
  sql "$2" "DO \$\$ BEGIN FOR i IN 1..$count LOOP PERFORM pg_notify('news', i::text); END LOOP; END \$\$"
  heard_all() {
    echo "SELECT 'still here';" >&3 # psql looks for notifications behind each command
    grep -q "payload \"$count\"" heard
  }
  wait_for 30 "notification number $count" heard_all
  exec 3>&-
  wait "$listener"
  check "notifications in order" "$(seq "$count" | md5)" "$(sed -n 's/.*"news" with payload "\([0-9]*\)".*/\1/p' heard | md5)"
}

# sleep_there ADDRESS: a psql whose query waits; its pid is in $sleeper then. Not by sql(): the pid must be psql's own.
sleep_there() {
  psql --no-psqlrc --host="$1" --command="SELECT pg_sleep(600)" >slept 2>&1 &
  sleeper=$!
  wait_for 30 "sleeper" sleeping "$1"
}
sleeping() { sql_says "$1" "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%' AND state = 'active'" 1; }

cancel() {
  step "cancelled queries"
  sleep_there "$1"
  kill -INT "$sleeper" # as Ctrl-C: psql opens another connection for its cancel request
  fails_with "canceling statement due to user request" ended "$sleeper"
  sleep_there "$2"
  check "pg_cancel_backend" t "$(sql "$1" "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")"
  fails_with "canceling statement due to user request" ended "$sleeper"
  sleep_there "$1"
  check "pg_terminate_backend" t "$(sql "$1" "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'")"
  fails_with "terminating connection due to administrator command" ended "$sleeper"
  fails_with "password authentication failed" env PGPASSWORD=wrong psql --host="$1" --command="SELECT 1"
}

# ended PID: the status of a psql whose words are in the file slept, and these words.
ended() {
  local status=0
  wait "$1" || status=$?
  cat slept
  return "$status"
}

# bench ADDRESS ADDRESS6: pgbench's own invariant holds behind it: each balance is the sum of the history.
bench() {
  step "pgbench"
  local address transactions
  transactions=$(size 25 1000)
  pgbench --initialize --quiet --scale="$(size 1 5)" --host="$1" 2>pgbench.txt
  for address in "$1" "$2"; do
    pgbench --client=8 --jobs=2 --transactions="$transactions" --host="$address" --no-vacuum postgres >pgbench.txt 2>&1
    check "transactions" "$((8 * transactions))/$((8 * transactions))" "$(sed -n 's/^number of transactions actually processed: //p' pgbench.txt)"
    check "failed" "0 (0.000%)" "$(sed -n 's/^number of failed transactions: //p' pgbench.txt)"
  done
  pgbench --client=8 --jobs=2 --select-only --protocol=prepared --transactions="$((transactions * 10))" --host="$1" --no-vacuum postgres >select.txt 2>&1
  # A new connection for each transaction.
  pgbench --client=4 --jobs=2 --connect --select-only --transactions=10 --host="$2" --no-vacuum postgres >connect.txt 2>&1
  check "balances" "t" "$(sql "$1" "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta) AND count(*) = $((16 * transactions)) FROM pgbench_history")"
  note "$(tps pgbench.txt) transactions/s, $(tps select.txt) prepared SELECTs/s with 8 clients"
}

tps() { sed -n 's/^tps = \([0-9]*\).*/\1/p' "$1"; }

exercise() {
  export PGSSLMODE=disable
  copy "$@"
  tls "$@"
  notify "$@"
  cancel "$@"
  bench "$@"
}
