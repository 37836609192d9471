# Sourced by both sides.

readonly connections_port=7001 count=$(size 2000 100000)
# A Linux client that closes first keeps each of its 28,232 ports in TIME_WAIT for a minute: no more of those to one server.
readonly client_closes=$(size 1000 20000)

# Two kernel stacks (--native) may use a port again after a second, as netcond does.
if [[ -n ${NATIVE:-} ]]; then sysctl -qw net.ipv4.tcp_tw_reuse=1; fi

# ask CLOSES COUNT [ADDRESS]: so many connections; who closes them first. Their rate in $rate.
ask() {
  local said
  said=$("$EXCHANGE/connections" ask "${3:-$PEER}" "$connections_port" "$2" 64 "$1" 2>&1) || fail "$2 connections, closed by $1: $said"
  echo "closed by $1: $said"
  check "connections" "$2" "$(cut -d ' ' -f 2 <<<"$said")"
  rate=$(awk '{ printf "%d", $2 / $3 }' <<<"$said")
}

serve() {
  "$EXCHANGE/connections" serve "$1" "$connections_port" >served &
  server=$!
  wait_for 30 "listening connections program" grep -q listening served
}
served() { sed -n 's/^served //p' served; }
