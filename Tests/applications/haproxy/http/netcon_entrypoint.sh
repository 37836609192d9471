#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

start_backend container
await md5_kernel >/dev/null # the backend there is up
self_signed server
cat server.pem server.key >server.both.pem
install -m 644 server.pem "$EXCHANGE/server.pem"
configure 1
haproxy -W -db -f haproxy.cfg &
haproxy=$!
await uploads 300
publish uploaded_md5 "$(md5 served/up/1)"
for ((number = 2; number <= $(restarts) + 1; number++)); do
  await "restart.$number" 300
  step "reload $number"
  configure "$number"
  kill -USR2 "$haproxy"
done
serve_until_done "$haproxy" "$backend"
