# Both sides have an upstream, and it is the same; sourced behind $LIB.

# start_upstream NAME: sets $upstream, its master.
start_upstream() {
  mkdir -p served/up
  chmod 777 served/up # nginx's workers are nobody
  random_file served/big 10M
  random_file served/small 1K
  publish "md5_$1" "$(md5 served/big)"
  printf 'add_header X-Upstream %s always;\n' "$1" >which.conf
  cp "$EXCHANGE/upstream.pem" "$EXCHANGE/upstream.key" "$TEST_DIR/upstream.conf" .
  nginx -p "$PWD" -c "$PWD/upstream.conf" &
  upstream=$!
}
