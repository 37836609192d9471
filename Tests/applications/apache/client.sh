# The client's side of Apache's tests, sourced behind $LIB.

fetch() { curl --fail --silent --show-error "$@"; }

# transfers BASE BASE6 OPTION-OF-CURL…: 10 MB down by both families, and up, at once with a length and in chunks.
transfers() {
  local base=$1 base6=$2
  shift 2
  step "10 MB, IPv4 and IPv6"
  fetch "$@" --output big "$base/big"
  bigfile_rx big
  fetch "$@" --output big6 "$base6/big"
  check "md5 by IPv6" "$(md5 big)" "$(md5 big6)"
  step "POST of 10 MB"
  check "md5 the program got" "$(md5 big)" "$(fetch "$@" --data-binary @big "$base/cgi-bin/md5")"
  check "md5 the program got by IPv6, in chunks" "$(md5 big)" \
    "$(fetch "$@" --header 'Transfer-Encoding: chunked' --data-binary @big "$base6/cgi-bin/md5")"
}

# uploads NUMBER: so many different POSTs at once, each with its own md5.
uploads() {
  local number arguments=()
  step "$1 POSTs at once"
  for ((number = 1; number <= $1; number++)); do
    random_file "up.$number" $((number * 9973))
    arguments+=(--fail --silent --show-error --data-binary "@up.$number" --output "sum.$number" "http://$PEER/cgi-bin/md5" --next)
  done
  curl --parallel --parallel-max "$1" "${arguments[@]::${#arguments[@]}-1}"
  for ((number = 1; number <= $1; number++)); do
    [[ $(md5 "up.$number") == "$(<"sum.$number")" ]] || fail "POST $number: other md5"
  done
}

# load_and_restarts: ab in the background, a new connection for each request, while the server restarts gracefully.
# No request may fail: the listener outlives the workers.
load_and_restarts() {
  local number load
  step "load, and graceful restarts under it"
  ab -q -c 16 -t "$(size 2 20)" -n 10000000 "http://$PEER/small" >ab.txt 2>&1 &
  load=$!
  wait_for 20 "established connections" sh -c 'ss -Htn state established | grep -q :80'
  for ((number = 2; number <= $(restarts) + 1; number++)); do
    publish "restart.$number"
    wait_for 30 "generation $number" serves_generation "$number"
    kill -0 "$load" 2>/dev/null || fail "the load was over before restart $number: $(<ab.txt)"
  done
  wait "$load" || fail "ab: $(tail -n 3 ab.txt)"
  ab_is_clean ab.txt
}

restarts() { size 1 5; }

serves_generation() { [[ $(curl --silent --head "http://$PEER/small" | tr -d '\r' | sed -n 's/^X-Generation: //p') == "$1" ]]; }

# ab_is_clean FILE: no failed request, no other answer than 200; the rate is a note.
ab_is_clean() {
  cat "$1"
  check "failed requests" 0 "$(sed -n 's/^Failed requests: *//p' "$1")"
  if grep 'Non-2xx' "$1"; then fail "answers other than 200"; fi
  note "$(sed -n 's/^Requests per second: *\([0-9]*\).*/\1/p' "$1") requests/s, each by a connection of its own"
}

# keepalive_load CONNECTIONS: ab once more, over connections that stay.
keepalive_load() {
  step "load by keepalive"
  ab -q -k -c "$1" -n "$(size 2000 30000)" "http://$PEER/small" >abk.txt 2>&1 || fail "ab -k: $(tail -n 3 abk.txt)"
  check "failed requests" 0 "$(sed -n 's/^Failed requests: *//p' abk.txt)"
  check "kept alive" "$(sed -n 's/^Complete requests: *//p' abk.txt)" "$(sed -n 's/^Keep-Alive requests: *//p' abk.txt)"
  note "$(sed -n 's/^Requests per second: *\([0-9]*\).*/\1/p' abk.txt) requests/s by keepalive"
}
