# Sourced by the scripts of the transfer tests: what their two sides share.

readonly streams_port=7000

# build PROGRAM: from C, for both sides (prepare.sh).
build() { gcc -O2 -Wall -Wextra -o "$EXCHANGE/$1" "$APP_DIR/$1.c"; }

# listen_streams NAME STREAMS AMOUNT [ADDRESS]: in the background, its words in NAME.listen; its pid in $listener.
listen_streams() {
  "$EXCHANGE/streams" listen "${4:-$ADDR}" "$streams_port" "$2" "$3" >"$EXCHANGE/$1.listen" &
  listener=$!
  wait_for 30 "listening streams program" grep -q listening "$EXCHANGE/$1.listen"
}

# connect_streams NAME STREAMS AMOUNT [ADDRESS]: its words in NAME.connect.
connect_streams() { "$EXCHANGE/streams" connect "${4:-$PEER}" "$streams_port" "$2" "$3" >"$EXCHANGE/$1.connect"; }

word() { awk -v key="$2" -v column="$3" '$1 == key { print $column }' "$EXCHANGE/$1"; }

# compare_streams NAME: both directions' bytes and hashes, as the two ends have them.
compare_streams() {
  local way
  for way in sent received; do
    check "$1: bytes $way by the one who listens" "$(word "$1.connect" "$(other_way $way)" 2)" "$(word "$1.listen" $way 2)"
    check "$1: their hash" "$(word "$1.connect" "$(other_way $way)" 3)" "$(word "$1.listen" $way 3)"
  done
}
other_way() { if [[ $1 == sent ]]; then echo received; else echo sent; fi; }

# check_fair NAME.listen|NAME.connect FACTOR: when the first stream had ended, the fastest had received at most that many
# times the bytes of the slowest.
check_fair() {
  local least most factor
  least=$(word "$1" fairness 2) most=$(word "$1" fairness 3)
  factor=$(awk -v least="$least" -v most="$most" 'BEGIN { printf "%.2f", least ? most / least : 1e9 }')
  check "$1: fastest stream by slowest: $factor ($most by $least bytes), under $2" yes \
    "$(awk -v factor="$factor" -v limit="$2" 'BEGIN { print factor <= limit ? "yes" : "no" }')"
  note "$1: fastest by slowest stream $factor"
}

# watch_daemon SECONDS: notes the daemon's memory (KiB) and descriptors that often, until stop_watching. Natively: nothing.
watch_daemon() {
  [[ -n $DAEMON_PID ]] || return 0
  while sample_daemon; do sleep "$1"; done >daemon.samples &
  watcher=$!
}
sample_daemon() { printf '%s %s\n' "$(awk '/^VmRSS/ { print $2 }' "/proc/$DAEMON_PID/status")" "$(ls "/proc/$DAEMON_PID/fd" | wc -l)"; }
stop_watching() {
  [[ -n $DAEMON_PID ]] || return 0
  kill "$watcher"
  wait "$watcher" || true # by the signal
}

# check_flat KIB: after the first third of the samples, memory grows no further than that, and descriptors not at all.
check_flat() {
  [[ -n $DAEMON_PID ]] || return 0
  local samples memory later descriptors later_descriptors
  samples=$(wc -l <daemon.samples)
  ((samples >= 6)) || fail "only $samples samples of the daemon"
  read -r memory descriptors < <(head -n $((samples / 3)) daemon.samples | most)
  read -r later later_descriptors < <(tail -n +$((samples / 3 + 1)) daemon.samples | most)
  check "daemon's memory: $memory KiB, later at most $later KiB, $1 KiB more allowed" yes \
    "$( ((later <= memory + $1)) && echo yes || echo no)"
  check "daemon's descriptors: $descriptors, later at most $later_descriptors" yes \
    "$( ((later_descriptors <= descriptors)) && echo yes || echo no)"
  note "daemon's memory $((memory / 1024)), later at most $((later / 1024)) MiB"
}
most() { awk '{ if ($1 > memory) memory = $1; if ($2 > fds) fds = $2 } END { print memory, fds }'; }
