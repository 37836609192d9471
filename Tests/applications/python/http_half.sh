# Sourced by both sides of python/http, which do the same: serve, and ask the other side's server.

# offer: two servers in the background, and files; sets servers.
offer() {
  mkdir served
  random_file served/big "$(size 10M 100M)"
  random_file served/small 1K
  self_signed mine
  cp mine.pem "$EXCHANGE/$SIDE.pem"
  publish "$SIDE.md5" "$(md5 served/big)"
  python3 -m http.server --bind :: --directory served 8000 2>http.log &
  servers=($!)
  (cd served && exec python3 "$TEST_DIR/server.py" ../mine) 2>https.log &
  servers+=($!)
  wait_port "$ADDR" 8000
  wait_port "$ADDR" 8443
  publish "$SIDE.serves"
}

# ask: everything from the other side.
ask() {
  local other=monitor address
  if [[ $SIDE == monitor ]]; then other=netcon; fi
  await "$other.serves" >/dev/null
  for address in "$PEER" "[$PEER6]"; do
    curl --fail --silent --show-error --output big.sent "http://$address:8000/big"
    check "md5 of http://$address:8000/big" "$(await "$other.md5")" "$(md5 big.sent)"
  done
  for address in "$PEER" "$PEER6"; do
    python3 "$TEST_DIR/client.py" "$address" "$EXCHANGE/$other.pem" "$(md5 big.sent)" "$(size 160 1600)"
  done
}

# A client that refuses our certificate is all that may be complained of.
check_logs() {
  if grep -v -e '" 200 -' http.log; then fail "http.server complains: $(grep -v -m1 '" 200 -' http.log)"; fi
  check "clients that took no certificate of nobody's" 2 "$(grep -c 'TLSV1_ALERT_UNKNOWN_CA' https.log)"
}
