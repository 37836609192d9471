# Sourced by both sides.

readonly datagrams_port=7002 ports=$(size 2000 10000)
ulimit -n $((ports + 100)) # a socket for each port

serve() {
  python3 "$TEST_DIR/datagrams.py" serve "$1" "$datagrams_port" >served &
  server=$!
  wait_for 30 "listening datagrams program" grep -q listening served
}

# stop_serving: nothing was wrong at the server's end.
stop_serving() {
  stop "$server"
  check "wrong datagrams at the server" 0 "$(awk '/^echoed/ { print $4 }' served)"
}

# ask WAY COUNT ADDRESS: lost are at most 1 % of the datagrams, the machine may be loaded.
ask() {
  local said
  said=$(python3 "$TEST_DIR/datagrams.py" "$1" "$3" "$datagrams_port" "$2" 2>&1) || fail "$1: $said"
  echo "$1 to $3: $said"
  read -r _ count _ lost <<<"$said"
  ((lost * 100 <= count)) || fail "$1: $lost of $count datagrams lost"
  note "$SIDE asked $count by $1, $lost lost"
}
