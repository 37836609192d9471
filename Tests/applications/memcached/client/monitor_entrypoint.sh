#!/usr/bin/env bash
. "$LIB"
. "$APP_DIR/common.sh"

start_memcached
publish serving
serve_until_done "$memcached"
if grep -iE 'error|fail|invalid' memcached.log; then fail "complaints of memcached"; fi
