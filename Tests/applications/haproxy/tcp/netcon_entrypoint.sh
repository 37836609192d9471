#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

start_backend container
await md5_kernel >/dev/null # the backend there is up
configure 1
haproxy -db -f haproxy.cfg &
haproxy=$!
await uploads 300
publish uploaded_md5 "$(md5 served/up/1)"
for ((number = 2; number <= $(restarts) + 1; number++)); do
  await "restart.$number" 300
  configure "$number"
  # The listening sockets come by the old process's unix socket. With sockets of its own beside the old ones (SO_REUSEPORT),
  # connections that wait in the queue of a socket that closes are reset, natively as well.
  step "process $number ends process $haproxy when it serves"
  old=$haproxy
  haproxy -db -f haproxy.cfg -x /tmp/admin.sock -sf "$old" &
  haproxy=$!
  publish "restarted.$number"
  await "download_ended.$number" 300
  wait_for 60 "end of process $old" not_running "$old"
done
serve_until_done "$haproxy" "$backend"
