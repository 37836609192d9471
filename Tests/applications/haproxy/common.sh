# Both sides of HAProxy's tests, sourced behind $LIB.

# start_backend NAME: an nginx, the same on both sides; sets $backend, its master.
start_backend() {
  mkdir -p served/up
  chmod 777 served/up # nginx's workers are nobody
  [[ -e served/big ]] || random_file served/big 10M
  [[ -e served/small ]] || random_file served/small 1K
  publish "md5_$1" "$(md5 served/big)"
  printf 'add_header X-Backend %s always;\n' "$1" >which.conf
  cp "$APP_DIR/backend.conf" .
  nginx -p "$PWD" -c "$PWD/backend.conf" &
  backend=$!
  wait_port "$ADDR" 8080
}

# configure GENERATION: haproxy.cfg of the test, with this side's addresses and a number that answers show.
configure() {
  sed "s/@ADDR@/$ADDR/; s/@PEER@/$PEER/; s/@PEER6@/$PEER6/; s/@GENERATION@/$1/" "$TEST_DIR/haproxy.cfg" >haproxy.cfg
}

fetch() { curl --fail --silent --show-error "$@"; }

# header NAME URL: of the answer to HEAD.
header() { curl --silent --insecure --head "$2" | tr -d '\r' | sed -n "s/^$1: //pi"; }

restarts() { size 1 5; }

# state_of SERVER STATE: does HAProxy say so of this server?
state_of() { curl --silent "http://$PEER:8404/stats;csv" | grep -q "^web,$1,.*,$2,"; }
