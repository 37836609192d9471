#!/usr/bin/env bash
. "$LIB"

mkdir -p served/cgi-bin
random_file served/big 10M
random_file served/small 1K
install -m 755 "$TEST_DIR/md5" served/cgi-bin/md5
bigfile_tx served/big
busybox httpd -f -p '[::]:80' -h served &
server=$!

kernel=$(await md5_kernel)
for host in "$PEER" "[$PEER6]"; do
  step "wget from the kernel's stack, $host"
  busybox wget -q -O fetched "http://$host:8000/kernel"
  check "md5" "$kernel" "$(md5 fetched)"
done
for host in 127.0.0.1 '[::1]' "$ADDR"; do
  step "wget from itself, $host"
  busybox wget -q -O fetched "http://$host/big"
  check "md5" "$(md5 served/big)" "$(md5 fetched)"
done
publish fetched
serve_until_done "$server"
