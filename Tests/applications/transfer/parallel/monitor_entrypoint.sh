#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/transfer.sh"

# finish NAME: what the two programs said.
finish() {
  wait_for 60 "report of the container" grep -q rate "$EXCHANGE/$1.$2"
  compare_streams "$1"
  note "$1: into the container $(word "$1.$2" rate 2), out of it $(word "$1.$3" rate 2) Gbit/s at once"
  # Within the seconds of the short form the streams' buffers, a megabyte each, weigh more than their shares.
  if is_full; then
    check_fair "$1.listen" 3
    check_fair "$1.connect" 3
  fi
}

await listening >/dev/null
step "the container listens, IPv4"
connect_streams server 256 "$(size 1 30)s"
finish server listen connect

step "the container connects, IPv6"
listen_streams client 256 "$(size 1 30)s" "$ADDR6"
publish monitor_listens
wait "$listener"
finish client connect listen
