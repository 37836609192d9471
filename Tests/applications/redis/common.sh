# Sourced after $LIB: what Redis's tests share.

# start_redis FOLDER ADDRESS PORT OPTION…: a server in a folder of its own; its pid is in $redis then.
start_redis() {
  local folder=$1 address=$2 port=$3
  shift 3
  mkdir -p "$folder"
  redis-server "$APP_DIR/redis.conf" --dir "$PWD/$folder" --port "$port" "$@" &
  redis=$!
  wait_for 30 "PONG of the server in $folder" answers "$address" "$port"
}

answers() { [[ $(redis-cli -h "$1" -p "$2" ping) == PONG ]]; }

# field ADDRESS PORT SECTION NAME: one line of INFO.
field() { redis-cli -h "$1" -p "$2" info "$3" | tr -d '\r' | sed -n "s/^$4://p"; }
field_is() { [[ $(field "$1" "$2" "$3" "$4") == "$5" ]]; }

digest() { redis-cli -h "$1" -p "$2" debug digest; }

# load ADDRESS OPTION…: redis-benchmark, as csv on stdout. It exits with 0 after errors, too, but says so.
load() {
  local address=$1
  shift
  redis-benchmark -h "$address" --csv "$@" 2>load.err
  # It has nothing to warn of here: whatever is said is an error.
  if [[ -s load.err ]]; then fail "redis-benchmark: $(tail -n 1 load.err)"; fi
}

# rate CSV COMMAND: its requests per second.
rate() { sed -n "s/^\"$2\",\"\([0-9]*\).*/\1/p" "$1"; }

# no_complaints LOG: Redis marks with # what should be looked at. Allowed are its start (the machine's settings), its end,
# and what replication tells.
no_complaints() {
  if grep ' # ' "$1" | grep -vE 'oO0O|Redis version=|Configuration loaded|WARNING|Server initialized|shutdown|ready to exit|'\
'Diskless rdb transfer, done|Connection with (master|replica .*) lost|client id #'; then
    fail "complaints in $1"
  fi
}
