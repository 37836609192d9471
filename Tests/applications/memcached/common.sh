# Sourced after $LIB: what memcached's tests share.

# start_memcached: with 4 threads, TCP and UDP, and -M: too little memory is an error, and not forgotten values. Its pid is
# in $memcached then.
start_memcached() {
  memcached -u root -t 4 -c 4096 -m 768 -M -I 16m -p 11211 -U 11211 -l 0.0.0.0,:: -v 2>memcached.log &
  memcached=$!
  wait_port "$ADDR" 11211
  wait_port "$ADDR6" 11211
}

clients() { python3 "$APP_DIR/memcached_check.py" "$@"; }

# exercise ADDRESS ADDRESS6: what a server gets to do; libmemcached's own tools among it.
exercise() {
  step "large values, and many clients, which pipeline"
  clients tcp "$2" 11211 "$(size 8 32)" 50 1000000
  clients tcp "$1" 11211 "$(size 64 256)" "$(size 100 300)" 20000 | tee clients.txt
  note "$(sed -n 's/\(.* clients\), .* right, \(.*\)/\1: \2/p' clients.txt)"

  step "UDP"
  clients udp "$1" 11211 "$(size 300 5000)" 100 20000
  clients udp "$2" 11211 "$(size 300 5000)" 100 20000

  step "libmemcached's tools"
  random_file big 15M
  memccp --servers="$1:11211" big
  memccat --servers="$1:11211" --file=got big
  check "md5 of a large value" "$(md5 big)" "$(md5 got)"
  memcstat --servers="$1:11211" | grep -q 'threads: 4' || fail "memcstat shows no 4 threads"
  memcaslap --servers="$1:11211" -T 2 -c 64 -x "$(size 20000 1000000)" --verify=0.1 --win_size=1k >memcaslap.txt
  tail -n 5 memcaslap.txt
  check "what memcaslap missed" "get_misses: 0 verify_misses: 0 verify_failed: 0" \
    "$(grep -E '^(get_misses|verify_misses|verify_failed)' memcaslap.txt | xargs)"
  note "memcaslap: $(sed -n 's/.*TPS: \([0-9]*\).*/\1 requests\/s/p' memcaslap.txt)"
}
