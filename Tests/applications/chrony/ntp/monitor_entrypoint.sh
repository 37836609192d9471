#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/chrony.sh"

start_chronyd 'local stratum 5'
wait_for 30 "answering chronyd" chronyc -h "$ADDR" tracking
publish serving

await synchronised >/dev/null
# The first packets wait for neighbour discovery, which would count as their way.
for server in "$PEER" "$PEER6"; do wait_for 30 "answer of $server" chronyc -h "$server" tracking; done
step "the container's server, by chronyd -Q and chronyc"
for server in "$PEER" "$PEER6" "$PEER key 1"; do
  offset=$(ask_once "$server")
  check "offset to $server, of the same clock: $offset s" yes "$(is_small "$offset" && echo yes || echo no)"
done
chronyc -h "$PEER6" tracking >tracking.txt
cat tracking.txt
check "stratum of the container's" 6 "$(awk '/^Stratum/ { print $3 }' tracking.txt)"
check "its sources, as chronyc by UDP sees them" 2 "$(chronyc -h "$PEER" -n sources | grep -c "^\^")"
publish asked
serve_until_done "$chronyd"
