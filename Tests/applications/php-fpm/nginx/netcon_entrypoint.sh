#!/usr/bin/env bash
. "$LIB"

random_file big 10M
bigfile_tx big
php-fpm8.2 --nodaemonize --fpm-config "$TEST_DIR/fpm.conf" &
fpm=$!
wait_for 30 "start of PHP-FPM" grep -q "ready to handle connections" fpm.log
cp "$TEST_DIR/nginx.conf" .
nginx -p "$PWD" -c "$PWD/nginx.conf" &
nginx=$!

await reload 300
step "PHP-FPM starts itself anew and keeps its listening sockets"
kill -USR2 "$fpm"
wait_for 30 "second start" eval '(($(grep -c "ready to handle connections" fpm.log) == 2))'
publish reloaded
serve_until_done "$nginx" "$fpm"
cat fpm.log nginx.log
# That a pool which grows is busy is no trouble.
if grep -E 'ERROR|ALERT|WARNING|exited on signal' fpm.log | grep -v 'seems busy'; then fail "trouble in PHP-FPM's log"; fi
if grep -E '\[(emerg|alert|crit|error)\]' nginx.log; then fail "trouble in nginx's error log"; fi
