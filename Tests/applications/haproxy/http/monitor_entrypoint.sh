#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

serves_generation() { [[ $(header X-Generation "http://$PEER/small") == "$1" ]]; }
# who ADDRESS: which backends twenty answers are of.
who() { header X-Backend "$1/small?[1-20]" | sort | uniq -c | awk '{ print $2, $1 }'; }

start_backend kernel
wait_port "$PEER" 80
wait_port "$PEER" 443
for server in container kernel; do wait_for 30 "$server UP" state_of "$server" UP; done

step "10 MB down and up by each backend, IPv4 and IPv6, HTTP/1.1 and HTTP/2"
container=$(await md5_container) kernel=$(await md5_kernel)
for way in container kernel; do
  fetch --output big "http://$PEER/$way/big"
  check "md5 from $way" "${!way}" "$(md5 big)"
  fetch --output big "http://[$PEER6]/$way/big"
  check "md5 from $way by IPv6" "${!way}" "$(md5 big)"
  fetch --cacert "$EXCHANGE/server.pem" --http2 --output big "https://$PEER/$way/big"
  check "md5 from $way by HTTP/2" "${!way}" "$(md5 big)"
  fetch --upload-file big "http://$PEER/$way/up/1"
done
publish uploads
check "md5 of the upload to the container's backend" "$container" "$(await uploaded_md5)"
check "md5 of the upload to the kernel's backend" "$kernel" "$(md5 served/up/1)"

step "both backends in turn"
check "backends" "container 10
kernel 10" "$(who "http://$PEER")"

step "health checks: the kernel's backend goes, and comes back"
stop "$backend" QUIT
wait_for 30 "kernel DOWN" state_of kernel DOWN
check "backends" "container 20" "$(who "http://[$PEER6]")"
start_backend kernel
wait_for 30 "kernel UP" state_of kernel UP
check "backends" "container 10
kernel 10" "$(who "http://$PEER")"

step "load, and reloads under it, a connection for each request"
ab -q -c 16 -t "$(size 2 20)" -n 10000000 "http://$PEER/small" >ab.txt 2>&1 &
load=$!
wait_for 20 "established connections" sh -c 'ss -Htn state established | grep -q :80'
for ((number = 2; number <= $(restarts) + 1; number++)); do
  publish "restart.$number"
  wait_for 30 "generation $number" serves_generation "$number"
  kill -0 "$load" 2>/dev/null || fail "the load was over before reload $number: $(<ab.txt)"
done
wait "$load" || fail "ab: $(tail -n 3 ab.txt)"
cat ab.txt
check "failed requests" 0 "$(sed -n 's/^Failed requests: *//p' ab.txt)"
if grep 'Non-2xx' ab.txt; then fail "answers other than 200"; fi

step "load by keepalive"
wrk -t 2 -c 32 -d "$(size 1 10)s" "http://$PEER/small" >wrk.txt
cat wrk.txt
if grep -E 'Non-2xx|Socket errors' wrk.txt; then fail "errors under load"; fi
note "$(sed -n 's/^Requests\/sec: *\([0-9]*\).*/\1/p' wrk.txt) requests/s to both backends"
stop "$backend" QUIT
