#!/usr/bin/env bash
. "$LIB"

fetch() { curl --fail --silent --show-error "$@"; }
generation() { curl --silent --head "http://$PEER/small" | tr -d '\r' | sed -n 's/^X-Generation: //p'; }
serves() { [[ $(generation) == "$1" ]]; }
# Twenty answers in a row, of both families.
serves_only() {
  local number
  for ((number = 0; number < 20; number++)); do serves "$1" || return; done
}

wait_port "$PEER" 80
fetch --output big "http://[$PEER6]/big" &
download=$!
step "load: a connection for each request, until the upgrades are done"
ab -q -c 8 -t "$(size 20 60)" -n 10000000 "http://$PEER/small" >ab.txt 2>&1 &
load=$!
wait_for 20 "established connections" sh -c 'ss -Htn state established | grep -q :80'
publish upgrade
await upgraded
wait_for 30 "answer of the new master's worker" serves 2
publish seen_new
wait_for 30 "run of answers of the new master's workers alone" serves_only 2
publish only_new
wait_for 30 "answer of the old master's worker" serves 1
publish seen_old
await back
wait_for 30 "run of answers of the old master's workers alone" serves_only 1
publish only_old
await upgraded_again
wait_for 30 "run of answers of the last master's workers alone" serves_only 3
wait "$download"
bigfile_rx big
kill -0 "$load" 2>/dev/null || fail "the load was over before the upgrades: $(<ab.txt)"
kill -INT "$load" # ab tells its figures then
wait "$load" || true
cat ab.txt
check "failed requests" 0 "$(sed -n 's/^Failed requests: *//p' ab.txt)"
if grep Non-2xx ab.txt; then fail "answers other than 200"; fi
