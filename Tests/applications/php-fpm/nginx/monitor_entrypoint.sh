#!/usr/bin/env bash
. "$LIB"

fetch() { curl --fail --silent --show-error "$@"; }
serves() { fetch "http://$PEER/$1"; }

random_file mine 5M
python3 -m http.server --bind :: 8000 &
server=$!
wait_port "$ADDR" 8000
for way in tcp tcp6 unix; do
  wait_for 30 "page by $way" serves "$way"
  step "by $way"
  check "page" "fpm-fcgi $ADDR" "$(fetch "http://$PEER/$way" | cut -d ' ' -f 1-2)"
  check "page by IPv6" "fpm-fcgi $ADDR6" "$(fetch "http://[$PEER6]/$way" | cut -d ' ' -f 1-2)"
  fetch --output big "http://$PEER/$way?do=big"
  [[ $way == tcp ]] && bigfile_rx big
  check "md5 down" "$(await tx_bigfile_md5sum.tmp)" "$(md5 big)"
  check "md5 up" "$(md5 big)" "$(fetch --header 'Content-Type: application/octet-stream' --data-binary @big "http://[$PEER6]/$way?do=md5")"
  check "what PHP fetched by IPv4" "5242880 $(md5 mine)" "$(fetch "http://$PEER/$way?do=fetch&url=http://$ADDR:8000/mine")"
  check "what PHP fetched by IPv6" "5242880 $(md5 mine)" "$(fetch --globoff "http://$PEER/$way?do=fetch&url=http://[$ADDR6]:8000/mine")"
done

load() {
  wrk -t 2 -c 8 -d "$(size 1 10)s" "http://$PEER/$1" >wrk.txt
  cat wrk.txt
  if grep -E 'Non-2xx|Socket errors' wrk.txt; then fail "errors under load, $1"; fi
  note "$(sed -n 's/^Requests\/sec: *\([0-9]*\).*/\1/p' wrk.txt) pages/s by $1"
}
load tcp
load unix
publish reload
await reloaded
step "after the reload"
for way in tcp tcp6 unix; do
  check "page by $way" "fpm-fcgi $ADDR" "$(fetch "http://$PEER/$way" | cut -d ' ' -f 1-2)"
done
load tcp6
stop "$server"
