#!/usr/bin/env bash
. "$LIB"

mkdir served logs
random_file served/big 10M
random_file served/small 1K
bigfile_tx served/big
nginx -p "$PWD" -c "$TEST_DIR/nginx.conf" &
master=$!

while signal=$(await "reload" 60); do
  step "reload"
  kill -HUP "$master"
  break
done
serve_until_done "$master"
