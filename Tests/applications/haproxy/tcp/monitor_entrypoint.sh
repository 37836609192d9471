#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

serves_generation() { [[ $(header X-Generation "http://$PEER:8404/stats") == "$1" ]]; }

start_backend kernel
wait_port "$PEER" 80
for server in container kernel; do wait_for 30 "$server UP" state_of "$server" UP; done

step "10 MB down and up by each backend, IPv4 and IPv6"
container=$(await md5_container) kernel=$(await md5_kernel)
declare -A port=([container]=81 [kernel]=82)
for way in container kernel; do
  fetch --output big "http://$PEER:${port[$way]}/big"
  check "md5 from $way" "${!way}" "$(md5 big)"
  fetch --output big "http://[$PEER6]:${port[$way]}/big"
  check "md5 from $way by IPv6" "${!way}" "$(md5 big)"
  fetch --upload-file big "http://[$PEER6]:${port[$way]}/up/1"
done
publish uploads
check "md5 of the upload to the container's backend" "$container" "$(await uploaded_md5)"
check "md5 of the upload to the kernel's backend" "$kernel" "$(md5 served/up/1)"

step "health checks: the kernel's backend goes, and comes back"
stop "$backend" QUIT
wait_for 30 "kernel DOWN" state_of kernel DOWN
check "backend" container "$(for ((i = 0; i < 10; i++)); do header X-Backend "http://$PEER/small"; done | sort -u)"
start_backend kernel
wait_for 30 "kernel UP" state_of kernel UP
check "backends" "container
kernel" "$(for ((i = 0; i < 10; i++)); do header X-Backend "http://$PEER/small"; done | sort -u)"

step "load and a slow download, and new processes under it, a connection for each request"
ab -q -c 16 -t "$(size 3 30)" -n 10000000 "http://$PEER/small" >ab.txt 2>&1 &
load=$!
wait_for 20 "established connections" sh -c 'ss -Htn state established | grep -q :80'
for ((number = 2; number <= $(restarts) + 1; number++)); do
  fetch --limit-rate 5M --output slow "http://[$PEER6]:81/big" &
  download=$!
  wait_for 20 "first bytes" test -s slow
  publish "restart.$number"
  await "restarted.$number"
  wait_for 30 "process $number" serves_generation "$number"
  wait "$download" || fail "the download does not outlive the change to process $number"
  check "md5 of the download" "$container" "$(md5 slow)"
  rm slow
  publish "download_ended.$number"
done
wait "$load" || fail "ab: $(tail -n 3 ab.txt)"
cat ab.txt
check "failed requests" 0 "$(sed -n 's/^Failed requests: *//p' ab.txt)"
if grep 'Non-2xx' ab.txt; then fail "answers other than 200"; fi
note "$(sed -n 's/^Requests per second: *\([0-9]*\).*/\1/p' ab.txt) requests/s to both backends, each by a connection of its own"
stop "$backend" QUIT
