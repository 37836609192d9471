#!/usr/bin/env bash
. "$LIB"
. "$TEST_DIR/upstream.sh"

fetch() { curl --fail --silent --show-error "$@"; }

start_upstream kernel
wait_port "$ADDR" 8080
wait_port "$PEER" 80
container=$(await md5_container) kernel=$(await md5_kernel)

step "10 MB through the proxy, from each upstream"
for way in loopback loopback6 own next; do
  fetch --output big "http://$PEER/$way/big"
  check "md5 of $way, of the container's upstream" "$container" "$(md5 big)"
done
for way in kernel kernel6 kernel_tls unbuffered; do
  fetch --output big "http://[$PEER6]/$way/big"
  check "md5 of $way, of the kernel's upstream" "$kernel" "$(md5 big)"
done

step "uploads through the proxy"
random_file up.1 10M
random_file up.2 3M
mkdir -p expected
fetch --upload-file up.1 "http://$PEER/loopback/up/1"
fetch --upload-file up.2 "http://[$PEER6]/own/up/2"
publish uploads
check "md5 of the uploads to the container's upstream" "$(printf '%s  up/1\n%s  up/2' "$(md5 up.1)" "$(md5 up.2)")" "$(await uploaded_md5)"
for way in kernel kernel6 kernel_tls unbuffered; do
  fetch --upload-file up.1 "http://$PEER/$way/up/$way"
  check "md5 of the upload by $way" "$(md5 up.1)" "$(md5 "served/up/$way")"
done

step "both upstreams in turn"
fetch --head "http://$PEER/both/small?[1-40]" | tr -d '\r' | sed -n 's/^X-Upstream: //p' |
  sort | uniq -c | awk '{ print $2, ($1 >= 10 ? "10 of 40 at least" : $1) }' >turns
check "turns" "container 10 of 40 at least
kernel 10 of 40 at least" "$(<turns)"

step "load"
for way in loopback kernel both; do
  wrk -t 2 -c 32 -d "$(size 1 10)s" "http://$PEER/$way/small" >wrk.txt
  cat wrk.txt
  if grep -E 'Non-2xx|Socket errors' wrk.txt; then fail "errors under load, $way"; fi
  note "$(sed -n 's/^Requests\/sec: *\([0-9]*\).*/\1/p' wrk.txt) requests/s, upstream $way"
done
stop "$upstream" QUIT # what the load left under way ends well, and so no proxy complains
