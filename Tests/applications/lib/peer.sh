# Sourced behind test.sh by the tests of languages: the peers of their programs, on the kernel's stack (peer.py, peer_http.py),
# and the client of their HTTP servers. What the servers and clients of all languages speak is told there.
#
#   port 7000   TCP and UDP of peer.py      port 7001   closed      port 7002   a listener whose queue is full
#   port 8000   HTTP of peer_http.py        port 8443   HTTPS

ulimit -n 8192
readonly peer_folder=${LIB%/*}
# Nobody has these: the first is on the network, the second is nowhere, as there is no default route.
readonly UNREACHABLE=10.90.0.99 UNREACHABLE6=fd90::99 NO_ROUTE=192.0.2.1
readonly TRANSFER_BYTES=$(size 10000000 100000000)
export UNREACHABLE UNREACHABLE6 NO_ROUTE TRANSFER_BYTES

# Monitor's: the server for clients of sockets, until client_done.
peer_serve() {
  python3 "$peer_folder/peer.py" serve 7000 >peer.log 2>&1 &
  peer_pid=$!
  wait_port 127.0.0.1 7000
  publish peer_serves
}

# Monitor's: HTTP, and HTTPS by a certificate of an authority, which the clients find in $EXCHANGE/ca.pem. Until client_done.
peer_serve_http() {
  authority
  python3 "$peer_folder/peer_http.py" 8000 8443 server.pem server.key >peer_http.log 2>&1 &
  peer_http_pid=$!
  wait_port 127.0.0.1 8443
  wait_port 127.0.0.1 8000
  cp ca.pem "$EXCHANGE/"
  publish peer_serves_http
}

# Monitor's: the end of both, after netcon has published client_done.
peer_end() {
  await client_done 3600
  if [[ -n ${peer_pid-} ]]; then stop "$peer_pid"; fi
  if [[ -n ${peer_http_pid-} ]]; then stop "$peer_http_pid"; fi
  if [[ -e peer_http.log ]] && grep -A 20 Traceback peer_http.log; then fail "the kernel's HTTP server failed"; fi
}

# authority: ca.pem signs server.pem with server.key, for the addresses of both sides.
authority() {
  openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 30 -subj "/CN=netcond-test authority" 2>/dev/null
  openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=netcond-test 2>/dev/null
  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -out server.pem \
    -extfile <(printf 'subjectAltName=IP:%s,IP:%s,IP:%s,IP:%s,DNS:localhost' "$ADDR" "$ADDR6" "$PEER" "$PEER6") 2>/dev/null
}

# drive PORT CONNECTIONS: a server of sockets there, by IPv4 and IPv6.
drive() {
  wait_port "$PEER" "$1" 30
  wait_port "$PEER6" "$1" 30
  python3 "$peer_folder/peer.py" drive "$1" "$TRANSFER_BYTES" "$2" "$PEER" "$PEER6"
}

# drive_udp PORT [SMALLEST]: a server that sends each datagram back.
drive_udp() { python3 "$peer_folder/peer.py" drive-udp "$1" "${2-0}" "$PEER" "$PEER6"; }

# drive_http URL FILES [CURL OPTION…]: a server of HTTP there: big both ways, and FILES in all, 32 at once.
drive_http() {
  local url=$1 files=$2
  shift 2
  local fetch=(curl --fail --silent --show-error --max-time 240 "$@")
  "${fetch[@]}" --output got "$url/random/$TRANSFER_BYTES"
  check_tail got
  random_file put "$TRANSFER_BYTES"
  check "md5 of what $url has got" "$(md5 put)" "$("${fetch[@]}" --upload-file put "$url/hash")"
  rm -rf many && mkdir many
  "${fetch[@]}" --no-progress-meter --parallel --parallel-max 32 --output 'many/#1' "$url/random/[1001-$((1000 + files))]"
  check "files from $url" "$files" "$(find many -type f | wc -l)"
  check_tail many/*
}

# check_tail FILE…: each ends with the md5 of what is before.
check_tail() {
  python3 - "$@" <<'END' || fail "md5 sums of $# files"
import hashlib, sys
for name in sys.argv[1:]:
    data = open(name, "rb").read()
    if hashlib.md5(data[:-32]).hexdigest().encode() != data[-32:]:
        sys.exit(f"{name}: {len(data)} bytes with another md5 than their last 32 say")
print("ok: md5 sums of", len(sys.argv) - 1, "files")
END
}
