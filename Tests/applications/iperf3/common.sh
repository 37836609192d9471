# Sourced by the tests of iperf3: what both sides do, by TCP and by UDP.

# measure tcp|udp WHAT OPTION…: one run against the peer's server; its figures are noted.
measure() {
  local way=$1 what=$2 figures end=$((SECONDS + 20))
  shift 2
  # The server listens anew for each run: right behind one it refuses the next. That is in the file, and the status is 0.
  while :; do
    iperf3 --json --connect-timeout 10000 "$@" >run.json || true
    if ! grep -q 'Connection refused' run.json || ((SECONDS > end)); then break; fi
    sleep 0.05
  done
  figures=$(python3 "$APP_DIR/figures.py" "$way" run.json 2>&1) || fail "iperf3 $*: $figures"
  note "$SIDE $what: $figures"
}

measure_tcp() {
  local amount=(--bytes 64M)
  if is_full; then amount=(--time 5); fi
  measure tcp sends --client "$PEER" "${amount[@]}"
  measure tcp receives --client "$PEER" --reverse "${amount[@]}"
  measure tcp 'sends IPv6' --client "$PEER6" "${amount[@]}"
  measure tcp 'sends by 8' --client "$PEER" --parallel 8 "${amount[@]}"
  measure tcp 'receives by 8, IPv6' --client "$PEER6" --parallel 8 --reverse "${amount[@]}"
  # A number of bytes ends a --bidir run before its second direction has counted: by time.
  measure tcp 'both ways' --client "$PEER" --bidir --time "$(size 1 5)"
}

measure_udp() {
  local amount=(--bytes 4M)
  if is_full; then amount=(--time 5); fi
  measure udp '50 Mbit/s' --client "$PEER" --udp --bitrate 50M "${amount[@]}"
  measure udp '50 Mbit/s back, IPv6' --client "$PEER6" --udp --reverse --bitrate 50M "${amount[@]}"
  measure udp '8 KB datagrams' --client "$PEER" --udp --length 8K --bitrate 20M "${amount[@]}"
  if is_full; then
    measure udp '64-byte datagrams, IPv6' --client "$PEER6" --udp --length 64 --bitrate 2M "${amount[@]}"
    measure udp '8 streams back' --client "$PEER" --udp --reverse --parallel 8 --bitrate 20M "${amount[@]}"
  fi
}

# container_side MEASURE: serves, then measures as the client.
container_side() {
  iperf3 --server >server.log 2>&1 &
  server=$!
  publish serving
  await monitor_measured 300 >/dev/null
  step "the container's client"
  "$1"
  stop "$server"
  if grep -i error server.log; then fail "the server complains: $(grep -i -m1 error server.log)"; fi
}

# kernel_side MEASURE: measures as the client, then serves.
kernel_side() {
  await serving >/dev/null
  wait_for 60 "iperf3 server" iperf3 --client "$PEER" --bytes 1
  step "the kernel's client"
  "$1"
  iperf3 --server >server.log 2>&1 &
  server=$!
  wait_for 60 "iperf3 server" iperf3 --client "$ADDR" --bytes 1
  publish monitor_measured
  serve_until_done "$server"
}
