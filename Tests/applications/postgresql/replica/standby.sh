# Sourced by both sides.

# new_standby FOLDER OF-ADDRESS OF-PORT: a copy of a running server, which will follow it.
new_standby() {
  chmod 755 .
  install -d -o postgres -m 700 "$1"
  # The password goes into the copy's configuration, by --write-recovery-conf.
  "${as_postgres[@]}" env PGPASSWORD="$PGPASSWORD" pg_basebackup --pgdata="$1" --host="$2" --port="$3" --write-recovery-conf \
    --wal-method=stream --checkpoint=fast --no-sync
}

# follows ADDRESS PORT POSITION DIGEST: a standby has come to the position of the log, and holds the same.
follows() {
  wait_for 60 "position $3 at the standby of $1 $2" sql_says "$1" "SELECT pg_last_wal_replay_lsn() >= '$3'" t --port="$2"
  check "digest of the standby at $1 $2" "$4" "$(digest "$1" "$2")"
}

# digest ADDRESS PORT: of all rows that pgbench has.
digest() {
  sql "$1" "SELECT md5(string_agg(md5(t::text), '' ORDER BY aid)) || (SELECT count(*) || 'h' || sum(delta) || 'h' || sum(hashtext(h::text))
    FROM pgbench_history h) FROM pgbench_accounts t" --port="$2"
}
