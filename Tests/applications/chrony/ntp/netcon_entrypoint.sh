#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/chrony.sh"

await serving >/dev/null
# The first packets wait for neighbour discovery, which would count as their way.
for server in "$PEER" "$PEER6"; do wait_for 30 "answer of $server" chronyc -h "$server" tracking; done
step "one query"
printf '1 SHA256 HEX:%064d\n' 7 >keys
for server in "$PEER" "$PEER6" "$PEER key 1"; do
  offset=$(ask_once "$server")
  check "offset to $server, of the same clock: $offset s" yes "$(is_small "$offset" && echo yes || echo no)"
done

step "a server that follows another"
start_chronyd "server $PEER iburst key 1 minpoll -2 maxpoll 0" "server $PEER6 iburst minpoll -2 maxpoll 0"
wait_for 40 "synchronised chronyd" sh -c "chronyc -h $ADDR tracking | grep -q 'Leap status *: Normal'"
both_answer() { [[ $(chronyc -h "$ADDR" -n sources | awk '/^\^/ && $5 > 0' | wc -l) == 2 ]]; }
wait_for 30 "answers of both sources" both_answer
chronyc -h "$ADDR" -n sources
publish synchronised
await asked >/dev/null
stop "$chronyd"
if grep -iE 'could not|fatal|failed' chronyd.log; then fail "chronyd complains: $(grep -iE -m1 'could not|fatal|failed' chronyd.log)"; fi
