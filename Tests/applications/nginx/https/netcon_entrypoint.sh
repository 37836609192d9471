#!/usr/bin/env bash
. "$LIB"

mkdir -p served/up
chmod 777 served/up # nginx's workers are nobody
random_file served/big 10M
random_file served/small 1K
self_signed server
install -m 644 server.pem "$EXCHANGE/server.pem"
bigfile_tx served/big
cp "$TEST_DIR/nginx.conf" . # beside what it includes
nginx -p "$PWD" -c "$PWD/nginx.conf" &
master=$!

publish uploaded_md5 "$(await uploads 300 >/dev/null && cd served/up && md5sum -- * | sort -k 2)"

await reopen 300
step "the log is moved, and reopened by USR1"
before=$(wc -l <access.log)
mv access.log access.log.1
kill -USR1 "$master"
wait_for 20 "new log" test -e access.log
publish reopened
await after_reopen
# A line is written by the worker behind its answer.
wait_for 20 "line of the request in the new log" grep -q 'GET /small?after-reopen' access.log
if grep 'after-reopen' access.log.1; then fail "the request is in the old log"; fi
check "lines of the old log" "$before" "$(wc -l <access.log.1)"

serve_until_done "$master"
cat error.log
if grep -E '\[(emerg|alert|crit|error)\]' error.log; then fail "trouble in nginx's error log"; fi
