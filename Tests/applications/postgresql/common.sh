# Sourced after $LIB: what PostgreSQL's tests share. The server insists on a user of its own.
PATH=/usr/lib/postgresql/15/bin:$PATH
export PGUSER=postgres PGPASSWORD=secret PGCONNECT_TIMEOUT=30

# No function: what is started in the background would be a shell that waits.
as_postgres=(setpriv --reuid=postgres --regid=postgres --init-groups)

# new_cluster FOLDER: a database cluster with TLS, for anybody with the password.
new_cluster() {
  chmod 755 .
  install -d -o postgres -m 700 "$1"
  echo "$PGPASSWORD" >password
  "${as_postgres[@]}" initdb --pgdata="$1" --no-sync --no-instructions --auth=scram-sha-256 --pwfile=password >initdb.txt
  self_signed server
  install -o postgres -m 600 server.key server.pem "$1"
  cp server.pem "$EXCHANGE"
  "${as_postgres[@]}" tee -a "$1/postgresql.conf" <"$APP_DIR/postgresql.conf" >/dev/null
  printf 'host all,replication all all scram-sha-256\n' | "${as_postgres[@]}" tee -a "$1/pg_hba.conf" >/dev/null
}

# start_postgres FOLDER ADDRESS PORT: its pid is in $postgres then.
start_postgres() {
  "${as_postgres[@]}" postgres -D "$1" -c port="$3" 2>>"$1.log" &
  postgres=$!
  wait_for 60 "server of $1" pg_isready --host="$2" --port="$3"
}

# sql ADDRESS COMMAND: its result, bare.
sql() { psql --no-psqlrc --tuples-only --no-align --quiet --set=ON_ERROR_STOP=1 --host="$1" --command="$2" "${@:3}"; }
sql_says() { [[ $(sql "$1" "$2" "${@:4}") == "$3" ]]; }

# fails_with WORDS COMMAND…: what the server or a broken connection tells the client.
fails_with() {
  local words=$1
  shift
  if "$@" >failed.txt 2>&1; then fail "$*: succeeds"; fi
  grep -q "$words" failed.txt || fail "$*: $(head -n 3 failed.txt | xargs), expected $words"
  printf 'ok: %s\n' "$words"
}
